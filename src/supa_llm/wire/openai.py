"""The OpenAI format, as used by OpenAI, Groq, Mistral and many others.

Where they differ is in the catalog: ``parameter_names`` of a candidate renames or drops top-level
parameters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supa_llm.values.receipts import ErrorClass
from supa_llm.values.routes import Candidate
from supa_llm.wire.base import (
    FaultError,
    Json,
    Kind,
    WireRequest,
    canonical,
    class_of,
    endpoint,
    first_error,
    post,
    text_of,
)
from supa_llm.wire.sse import Event, EventParser

#: Codes that say more than the status they come with.
_CODES: Mapping[str, ErrorClass] = {
    "invalid_api_key": "auth",
    "insufficient_quota": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "model_not_found": "not_found",
    "model_decommissioned": "not_found",
    "invalid_model": "not_found",
    "authentication_error": "auth",
    "permission_error": "forbidden",
    "rate_limit_error": "rate_limited",
    "invalid_request_error": "bad_request",
}
_REASONING_MODEL = re.compile(r"(?:o\d|gpt-[5-9])(?!.*chat)")
_SHORT_IDS_MODEL = re.compile(
    r".*(?:mistral|ministral|mixtral|magistral|codestral|devstral|pixtral)", re.IGNORECASE
)
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_PATHS: Mapping[Kind, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}


class OpenAIWire:
    """``POST {base_url}/chat/completions`` and ``/embeddings``."""

    models_path = "/models"
    models_headers: Mapping[str, str] = {}

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        body = {**body, "model": candidate.model}
        if kind == "chat":
            short = bool(_SHORT_IDS_MODEL.match(candidate.model))
            body["messages"] = [_portable(message, short_ids=short) for message in body["messages"]]
            if body.get("stream"):
                body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
            body = without_refused_sampling(body, candidate)
        else:
            # Numbers, which every provider sends unasked, rather than base64, which few know.
            body.pop("encoding_format", None)
        body = canonical(body, candidate)
        request = post(endpoint(candidate, _PATHS[kind]), _renamed(body, candidate.parameter_names))
        return replace(request, service_tier=body.get("service_tier"))

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        if payload.get("error"):
            raise self.fault(200, payload)
        if kind == "embeddings":
            payload["data"] = sorted(payload["data"], key=lambda item: item["index"])
            complete = all(item["embedding"] for item in payload["data"])
        else:
            messages = [choice["message"] for choice in payload["choices"]]
            complete = bool(messages)
            for message in messages:
                _flatten(message)
        if not complete:
            raise FaultError("invalid_response", "the answer is incomplete")
        return dict(payload)

    def decoder(self, body: Json, candidate: Candidate) -> OpenAIDecoder:
        return OpenAIDecoder(choices=body.get("n") or 1)

    def fault(self, status: int, payload: Any) -> FaultError:
        return fault_of(status, first_error(payload))


def without_refused_sampling(body: Json, candidate: Candidate) -> Json:
    """The body without the parameters that OpenAI's reasoning models refuse."""
    if not _REASONING_MODEL.match(candidate.model):
        return body
    return {name: value for name, value in body.items() if name not in _SAMPLING}


def _renamed(body: Json, names: Mapping[str, str | None]) -> Json:
    """The body with the provider's names. A parameter that is renamed replaces one that had its new name."""
    renamed = {new: body[name] for name, new in names.items() if new and name in body}
    kept = {name: value for name, value in body.items() if not names.get(name)}
    return {**kept, **renamed}


def fault_of(status: int, error: Json) -> FaultError:
    """The error for an OpenAI error object; a code that is more specific than the status decides."""
    known = {name: error.get(name) for name in ("message", "type", "param", "code")}
    meaning = class_of(status)
    if status == 200 or meaning == "bad_request" or known["code"] == "insufficient_quota":
        named = (_CODES.get(str(known[name])) for name in ("code", "type"))
        meaning = next((it for it in named if it), "server_error" if status == 200 else meaning)
    return FaultError(meaning, str(known["message"]), error=known)


class OpenAIDecoder:
    """Passes chunks on unchanged, and reads the usage from any chunk that carries it."""

    def __init__(self, choices: int = 1) -> None:
        self.usage: Json | None = None
        self.service_tier: str | None = None
        self.finished = False
        self._choices = choices
        self._done: set[int] = set()
        self._events = EventParser()

    def feed(self, piece: bytes) -> list[Json]:
        return self._chunks(self._events.feed(piece))

    def end(self) -> list[Json]:
        return self._chunks(self._events.end())

    def _chunks(self, events: list[Event]) -> list[Json]:
        return [self._chunk(json.loads(event.data)) for event in events if event.data != "[DONE]"]

    def _chunk(self, payload: Json) -> Json:
        if payload.get("error"):
            raise fault_of(200, first_error(payload))
        self.usage = payload.get("usage") or (payload.get("x_groq") or {}).get("usage") or self.usage
        self.service_tier = payload.get("service_tier") or self.service_tier
        choices = payload.get("choices") or ()
        self._done |= {choice.get("index", 0) for choice in choices if choice.get("finish_reason")}
        self.finished = len(self._done) >= self._choices
        for choice in choices:
            choice["delta"] = choice.get("delta") or {}
            _flatten(choice["delta"])
        return payload


def _flatten(message: Json) -> None:
    """Convert the content to text; Mistral's reasoning models return a list that includes thoughts."""
    if isinstance(message.get("content"), list):
        message["content"] = text_of(message["content"])


def _portable(message: Mapping[str, Any], *, short_ids: bool) -> Json:
    """A message without fields of one provider, so that a conversation can continue with another."""
    cleaned = {name: value for name, value in message.items() if value is not None or name == "content"}
    if cleaned["role"] == "developer":
        cleaned["role"] = (
            "system"  # OpenAI converts it back for models with that role; other providers know only this one
        )
    if cleaned["role"] == "assistant" and not cleaned.get("annotations"):
        cleaned.pop("annotations", None)
    if "tool_calls" in cleaned:
        cleaned["tool_calls"] = [
            {name: value for name, value in call.items() if name != "extra_content"}
            for call in cleaned["tool_calls"]
        ]
    if short_ids:
        for it in [cleaned] if "tool_call_id" in cleaned else cleaned.get("tool_calls", ()):
            name = "tool_call_id" if it is cleaned else "id"
            it[name] = _short_id(it[name])
    return cleaned


def _short_id(call_id: str) -> str:
    """Nine letters and digits, always the same for the same ID."""
    if re.fullmatch("[A-Za-z0-9]{9}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]
