"""OpenAI's Responses format, for the providers that serve it: ``POST {base_url}/responses``.

Responses are never stored, so a conversation travels in ``input``. Other providers get such requests as
chats: see :mod:`supa_llm.wire.responses_as_chats`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supa_llm.values.routes import Candidate
from supa_llm.wire.base import (
    MAX_EVENT,
    FaultError,
    Json,
    Kind,
    UnsupportedError,
    Wire,
    WireRequest,
    canonical,
    endpoint,
    first_error,
    post,
)
from supa_llm.wire.openai import fault_of, without_refused_sampling
from supa_llm.wire.stream import StreamDecoder

#: Tools that the provider does not run itself, so that the tokens of a request stay within its estimate.
_COUNTABLE = frozenset({"function", "custom"})
#: Begins the encrypted content of reasoning that comes from a chat; see
#: :mod:`supa_llm.wire.responses_as_chats`.
SEAL = "supa-llm:"
#: Codes of failed responses that say that the request is invalid.
_INVALID = re.compile("^invalid_|image|_policy")
#: Items of a conversation that are sent without their IDs. A provider looks for an ID among its stored
#: responses, and an item of another provider has an ID that it does not accept.
_WITHOUT_ID = frozenset({"message", "function_call", "custom_tool_call"})


class ResponsesWire(Wire):
    """The native Responses API."""

    models_path = "/models"
    models_headers: Mapping[str, str] = {}

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        body = {**body, "model": candidate.model, "store": False}
        if isinstance(body["input"], list):
            body["input"] = [_portable(item) for item in body["input"] if _is_readable(item)]
        body = canonical(without_refused_sampling(body, candidate), candidate)
        request = post(endpoint(candidate, "/responses"), body)
        return replace(request, service_tier=body.get("service_tier"))

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        _raise_failure(payload)
        if payload["status"] not in ("completed", "incomplete") or not isinstance(payload["output"], list):
            raise FaultError("invalid_response", "the answer is incomplete")
        return dict(payload)

    def decoder(self, body: Json, candidate: Candidate, max_event: int = MAX_EVENT) -> ResponsesDecoder:
        return ResponsesDecoder(max_event)

    def fault(self, status: int, payload: Any) -> FaultError:
        return fault_of(status, first_error(payload))


class ResponsesDecoder(StreamDecoder):
    """Passes events on unchanged, and reads the usage from the last one."""

    def _read(self, payload: Any) -> list[Json]:
        event: Json = payload
        if event.get("error") or event["type"] == "error":
            raise fault_of(200, first_error(event))
        response = event.get("response") or {}
        _raise_failure(response)
        if event["type"] in ("response.completed", "response.incomplete"):
            self.usage, self.service_tier = response.get("usage"), response.get("service_tier")
            self.finished = self.done = True
        return [event]

    def _ended(self, *, explicitly: bool) -> list[Json]:
        return []


def refuse_uncountable_tools(body: Json) -> None:
    """Raise UnsupportedError for a tool that may use more tokens than the estimate of its request."""
    for tool in body.get("tools") or ():
        if tool["type"] not in _COUNTABLE:
            raise UnsupportedError(
                f"a quota limits its tokens, and cannot count those of {tool['type']!r} tools"
            )


def _raise_failure(response: Json) -> None:
    """Raise the fault of a response that failed."""
    if response.get("error") or response.get("status") in ("failed", "cancelled"):
        error = first_error(response.get("error") or {"message": "the response failed"})
        fault = fault_of(200, error)
        if fault.error_class == "server_error" and _INVALID.search(str(error.get("code"))):
            fault = FaultError("bad_request", fault.message, error=fault.error)
        raise fault


def _is_readable(item: Mapping[str, Any]) -> bool:
    """Whether the provider can read an item; reasoning is stored nowhere, so it travels encrypted."""
    encrypted = item.get("encrypted_content")
    return item.get("type") != "reasoning" or bool(encrypted and not encrypted.startswith(SEAL))


def _portable(item: Mapping[str, Any]) -> Json:
    """An item without fields of one provider, so that a conversation can continue with another."""
    if item.get("type", "message") not in _WITHOUT_ID:
        return dict(item)
    return {name: value for name, value in item.items() if name not in ("id", "extra_content")}
