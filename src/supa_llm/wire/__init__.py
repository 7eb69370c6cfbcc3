"""The wire formats, one file each, looked up by the name in a candidate."""

from __future__ import annotations

from collections.abc import Mapping

from supa_llm.wire.anthropic import AnthropicWire
from supa_llm.wire.base import Wire
from supa_llm.wire.google import GoogleWire
from supa_llm.wire.openai import OpenAIWire
from supa_llm.wire.responses import ResponsesWire

WIRES: Mapping[str, Wire] = {
    "openai": OpenAIWire(),
    "anthropic": AnthropicWire(),
    "google": GoogleWire(),
}

#: For requests for a response to a candidate that serves them itself.
RESPONSES: Wire = ResponsesWire()
