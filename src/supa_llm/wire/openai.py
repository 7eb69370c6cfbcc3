"""The OpenAI format, as used by OpenAI, Groq, Mistral and many others.

Where they differ is in the catalog: ``parameter_names`` of a candidate renames or drops top-level
parameters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from supa_llm.values.receipts import ErrorClass
from supa_llm.values.routes import Candidate
from supa_llm.wire.base import (
    MAX_EVENT,
    FaultError,
    Json,
    Kind,
    Wire,
    WireRequest,
    as_arguments,
    canonical,
    class_of,
    endpoint,
    first_error,
    new_call_id,
    only_text,
    post,
    text_of,
)
from supa_llm.wire.refusals import refusal
from supa_llm.wire.stream import Calls, StreamDecoder
from supa_llm.wire.usage import reported, updated

#: Codes that say more than the status they come with.
_CODES: Mapping[str, ErrorClass] = {
    "rate_limit_exceeded": "rate_limited",
    "model_not_found": "not_found",
    "model_decommissioned": "not_found",
    "invalid_model": "not_found",
    "permission_error": "forbidden",
    "rate_limit_error": "rate_limited",
    "invalid_request_error": "bad_request",
}
_REASONING_MODEL = re.compile(r"(?:o\d|gpt-[5-9])(?!.*chat)")
#: Models that take function tools in chats only without an effort. Through responses they take both.
_TOOLS_WITHOUT_EFFORT = re.compile(r"gpt-(?:5\.(?:[4-9]|\d\d)|[6-9])")
_SHORT_IDS_MODEL = re.compile(
    r".*(?:mistral|ministral|mixtral|magistral|codestral|devstral|pixtral)", re.IGNORECASE
)
#: Providers that need a model's reasoning back with its tool calls, and providers that can use it. Others,
#: such as Groq and Mistral, refuse it.
_NEEDS_REASONING = re.compile("deepseek|moonshot")
_USES_REASONING = re.compile("openrouter")
_REASONING = frozenset({"reasoning", "reasoning_content", "reasoning_details"})
#: By base URL, which of ``stream_options`` and ``max_tokens`` a server refused in this process; for the
#: latter, it asked for ``max_completion_tokens``.
_REFUSED: dict[str, frozenset[str]] = {}
_MOST_SERVERS = 1_000
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
#: Finish reasons of servers that do not use OpenAI's.
_REASONS = {
    **{reason: reason for reason in ("stop", "length", "tool_calls", "content_filter", "function_call")},
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("max_tokens", "max_length", "model_length"), "length"),
    **dict.fromkeys(("safety", "sensitive"), "content_filter"),
    "tool_use": "tool_calls",
}
#: Finish reasons of a model that failed (OpenRouter, Zhipu, DeepSeek, SGLang).
_FAILED = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})
#: Texts of OpenRouter's reasoning, which arrive in pieces.
_DETAIL_TEXTS = frozenset({"type", "text", "summary", "data"})
_PATHS: Mapping[Kind, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}


class OpenAIWire(Wire):
    """``POST {base_url}/chat/completions`` and ``/embeddings``."""

    models_path = "/models"
    models_headers: Mapping[str, str] = {}

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        body = {**body, "model": candidate.model}
        refused = _REFUSED.get(candidate.base_url, frozenset())
        if kind == "chat":
            short = bool(_SHORT_IDS_MODEL.match(candidate.model))
            reasoning = _reasoning_of(candidate)
            body["messages"] = [
                _portable(message, short_ids=short, reasoning=reasoning) for message in body["messages"]
            ]
            if body.get("tools"):
                body["tools"] = [_uncached(tool) for tool in body["tools"]]
            if "stream_options" in refused:
                body.pop("stream_options", None)
            elif body.get("stream"):
                body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
            body = without_refused_sampling(body, candidate)
            if (
                candidate.responses
                and body.get("tools")
                and body.get("reasoning_effort")
                and _TOOLS_WITHOUT_EFFORT.match(candidate.model)
            ):
                body["reasoning_effort"] = "none"
        else:
            # Numbers, which every provider sends unasked, rather than base64, which few know.
            body.pop("encoding_format", None)
        body = _uncached(canonical(body, candidate))
        # Most servers know only the older name of the limit, and many ignore the newer one.
        limit = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
        names = {"max_completion_tokens": limit, **candidate.parameter_names}
        request = post(endpoint(candidate, _PATHS[kind]), _renamed(body, names))
        return replace(request, service_tier=body.get("service_tier"))

    def adapts(self, fault: FaultError, body: Json, candidate: Candidate) -> bool:
        known = _REFUSED.get(candidate.base_url, frozenset())
        sent = {"stream_options": body.get("stream"), "max_tokens": "max_completion_tokens" in body}
        named = next(
            (it for it in ("max_tokens", "stream_options") if it in fault.message and sent[it]), None
        )
        if fault.error_class not in ("bad_request", "unsupported") or named is None or named in known:
            return False
        if named == "max_tokens" and (
            "max_completion_tokens" not in fault.message
            or "max_completion_tokens" in candidate.parameter_names
        ):
            return False
        if len(_REFUSED) == _MOST_SERVERS:
            _REFUSED.clear()
        _REFUSED[candidate.base_url] = known | {named}
        return True

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        if _is_error(payload):
            raise self.fault(200, payload)
        if kind == "embeddings":
            payload["data"] = sorted(payload["data"], key=lambda item: item["index"])
            complete = all(item["embedding"] for item in payload["data"])
        else:
            choices = [_whole(choice, index) for index, choice in enumerate(payload["choices"])]
            complete = bool(choices)
            payload = {**payload, "choices": choices}
        usage = updated(None, reported(payload))
        if not complete:
            raise FaultError("invalid_response", "the answer is incomplete")
        payload.pop("usage", None)
        return payload if usage is None else {**payload, "usage": usage}

    def decoder(self, body: Json, candidate: Candidate, max_event: int = MAX_EVENT) -> OpenAIDecoder:
        return OpenAIDecoder(body.get("n") or 1, max_event)

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
    """The error for an OpenAI error object; a code or text that is more specific than the status decides."""
    known = {name: error.get(name) for name in ("message", "type", "param", "code")}
    if status == 200 and type(known["code"]) is int and 400 <= known["code"] < 600:
        status = known["code"]  # OpenRouter's codes are HTTP statuses
    message, codes = str(known["message"]), (known["code"], known["type"])
    meaning = class_of(status)
    if refused := refusal(status, codes, message):
        meaning = refused
    elif status == 200 or meaning == "bad_request":
        named = (_CODES.get(str(code)) for code in codes)
        meaning = next((it for it in named if it), "server_error" if status == 200 else meaning)
    return FaultError(meaning, message, error=known)


class OpenAIDecoder(StreamDecoder):
    """Makes chunks regular, and reads the usage from any chunk that carries it.

    Args:
        choices: how many choices were requested.
    """

    def __init__(self, choices: int = 1, max_event: int = MAX_EVENT) -> None:
        super().__init__(max_event)
        self._requested = choices
        self._choices: dict[int, _Choice] = {}
        self._head: Json = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}

    def _read(self, payload: Any) -> list[Json]:
        if _is_error(payload):
            raise fault_of(200, first_error(payload))
        found = reported(payload)
        self.usage = updated(self.usage, found)
        self.service_tier = payload.get("service_tier") or self.service_tier
        self._head |= {name: payload[name] for name in self._head if payload.get(name)}
        choices = [self._choice(choice) for choice in payload.get("choices") or ()]
        chunk: Json = {**payload, **self._head, "choices": choices}
        if found or "usage" in chunk:
            chunk["usage"] = self.usage if found else None
        if len(self._finished()) >= self._requested:
            self.finished = True
        return [chunk]

    def _choice(self, choice: Json) -> Json:
        index = choice.get("index")
        index = index if type(index) is int and 0 <= index < self._requested else 0
        return self._choices.setdefault(index, _Choice(index)).read(choice)

    def _finished(self) -> list[_Choice]:
        return [choice for choice in self._choices.values() if choice.finished]

    def _ended(self, *, explicitly: bool) -> list[Json]:
        # Some servers send fewer choices than requested, or no finish reason.
        last = [made for choice in self._choices.values() if explicitly and (made := choice.inferred())]
        if self._choices and len(self._finished()) == len(self._choices):
            self.finished = True
        return [{**self._head, "choices": last}] if last else []


class _Choice:
    """One choice of a stream: what it has so far, and its next pieces in OpenAI's form."""

    def __init__(self, index: int) -> None:
        self.finished = False
        self._index = index
        self._calls = Calls()
        self._spoke = False
        self._role = False
        self._described: dict[int, set[str]] = {}

    def read(self, choice: Json) -> Json:
        reason = finish_of(choice)
        delta = self._delta(choice.get("delta") or {})
        self._spoke = self._spoke or any(delta[name] for name in delta.keys() - _REASONING - {"role"})
        self.finished = self.finished or reason is not None
        if reason and (silent := self._calls.silent()):
            delta["tool_calls"] = [*(delta.get("tool_calls") or ()), *silent]
        kept = {name: value for name, value in choice.items() if name not in ("usage", "message")}
        return {**kept, "index": self._index, "delta": delta, "finish_reason": reason}

    def inferred(self) -> Json | None:
        """The last chunk's choice, if the answer is complete without its finish reason."""
        if self.finished or not self._spoke or not self._calls.complete:
            return None
        return self.read({"finish_reason": "tool_calls" if self._calls else "stop"})

    def _delta(self, delta: Json) -> Json:
        made = regular(delta)
        if self._role:  # some servers repeat it, and the openai package would join the repetitions
            made.pop("role", None)
        self._role = self._role or "role" in made
        if "tool_calls" in made:
            fragments = [self._calls.read(fragment) for fragment in made.pop("tool_calls")]
            if fragments := [fragment for fragment in fragments if fragment]:
                made["tool_calls"] = fragments
        if isinstance(made.get("reasoning_details"), list):
            made["reasoning_details"] = [
                self._detail(position, detail) for position, detail in enumerate(made["reasoning_details"])
            ]
        return made

    def _detail(self, position: int, detail: Json) -> Json:
        """A piece of OpenRouter's reasoning; the openai package would join names that are repeated."""
        index = detail.get("index")
        index = index if type(index) is int else position
        known = self._described.setdefault(index, set())
        made = {name: it for name, it in detail.items() if name in _DETAIL_TEXTS or name not in known}
        known |= set(detail) - {"type"}
        return {**made, "index": index}


def _is_error(payload: Any) -> bool:
    return bool(payload.get("error")) or payload.get("object") == "error"  # older vLLM


def _whole(choice: Json, position: int) -> Json:
    """A choice of a complete answer in OpenAI's form."""
    reason = finish_of(choice)
    message: Json = {"role": "assistant", "content": None, **regular(choice["message"])}
    if "tool_calls" in message:
        message["tool_calls"] = [_whole_call(call) for call in message["tool_calls"]]
    index = choice.get("index")
    return {
        **choice,
        "index": index if type(index) is int else position,
        "message": message,
        "finish_reason": reason or ("tool_calls" if "tool_calls" in message else "stop"),
    }


def _whole_call(call: Json) -> Json:
    if call.get("type") == "custom" and isinstance(call["custom"], dict):
        return call
    function = call["function"]
    arguments = as_arguments(function.get("arguments")) or "{}"
    return {
        **call,
        "id": str(call.get("id") or new_call_id()),
        "type": "function",
        "function": {**function, "name": str(function["name"]), "arguments": arguments},
    }


def finish_of(choice: Json) -> str | None:
    """The finish reason of a choice. Raises FaultError if the choice has failed."""
    reason = choice.get("finish_reason") or None
    if choice.get("error") or reason in _FAILED:
        error = first_error({"error": choice.get("error") or "the model failed while it answered"})
        raise fault_of(200, error)
    if reason is not None and not isinstance(reason, str):
        raise TypeError("the finish reason is no text")
    return None if reason is None else _REASONS.get(reason.lower(), reason)


def regular(message: Json) -> Json:
    """A message or delta with its texts as texts, and thoughts in ``reasoning_content``."""
    made = {name: value for name, value in message.items() if value is not None or name == "content"}
    content = made.get("content")
    if isinstance(content, list):
        # Mistral's reasoning models return a list that includes thoughts.
        made["content"] = text_of(content)
        thoughts = [part["thinking"] for part in content if part.get("type") == "thinking"]
        if any(thoughts):
            made["reasoning_content"] = "".join(map(text_of, thoughts))
    if isinstance(made.get("reasoning"), str):  # Groq, OpenRouter, newer vLLM
        made.setdefault("reasoning_content", made["reasoning"])
        del made["reasoning"]
    for name in ("content", "reasoning_content", "refusal"):
        if not isinstance(made.get(name, ""), str | None):
            raise TypeError(f"{name!r} is no text")
    if not made.get("tool_calls"):
        made.pop("tool_calls", None)
    return made


def _reasoning_of(candidate: Candidate) -> Literal["needed", "used", "refused"]:
    """What the provider does with a model's reasoning in a conversation."""
    names = f"{candidate.provider} {urlsplit(candidate.base_url).hostname}"
    if _NEEDS_REASONING.search(names):
        return "needed"
    return "used" if _USES_REASONING.search(names) else "refused"


def _portable(
    message: Mapping[str, Any], *, short_ids: bool, reasoning: Literal["needed", "used", "refused"]
) -> Json:
    """A message without fields of one provider, so that a conversation can continue with another."""
    cleaned = {
        name: value
        for name, value in message.items()
        if (value is not None or name == "content") and (reasoning != "refused" or name not in _REASONING)
    }
    for name in ("extra_content", "thinking_blocks", "cache_control"):
        cleaned.pop(name, None)  # of Google and Anthropic
    if reasoning == "needed" and cleaned["role"] == "assistant" and cleaned.get("tool_calls"):
        # Also in a message that another provider wrote.
        cleaned.setdefault("reasoning_content", "")
    if cleaned["role"] == "developer":
        cleaned["role"] = (
            "system"  # OpenAI converts it back for models with that role; other providers know only this one
        )
    if cleaned["role"] == "assistant" and not cleaned.get("annotations"):
        cleaned.pop("annotations", None)
    content = cleaned.get("content")
    if isinstance(content, list):
        if cleaned["role"] == "tool":
            only_text(content, "tool results")
        cleaned["content"] = [_uncached(part) for part in content]
    if not cleaned.get("tool_calls"):
        cleaned.pop("tool_calls", None)
    else:
        cleaned["tool_calls"] = [
            {name: value for name, value in call.items() if name != "extra_content"}
            for call in cleaned["tool_calls"]
        ]
    if short_ids:
        for it in [cleaned] if "tool_call_id" in cleaned else cleaned.get("tool_calls", ()):
            name = "tool_call_id" if it is cleaned else "id"
            it[name] = _short_id(it[name])
    return cleaned


def _uncached(part: Mapping[str, Any]) -> Json:
    """A part without Anthropic's hint about its cache, which other providers refuse."""
    return {name: value for name, value in part.items() if name != "cache_control"}


def _short_id(call_id: str) -> str:
    """Nine letters and digits, always the same for the same ID."""
    if re.fullmatch("[A-Za-z0-9]{9}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]
