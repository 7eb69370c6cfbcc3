"""How each wire format is spoken: one file a format, looked up by the name that a candidate carries."""

from __future__ import annotations

from collections.abc import Mapping

from supa_llm.wire.anthropic import AnthropicWire
from supa_llm.wire.base import Wire
from supa_llm.wire.google import GoogleWire
from supa_llm.wire.openai import OpenAIWire

WIRES: Mapping[str, Wire] = {
    "openai": OpenAIWire(),
    "anthropic": AnthropicWire(),
    "google": GoogleWire(),
}
