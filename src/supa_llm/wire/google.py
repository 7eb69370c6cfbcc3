"""Google's Gemini API: ``{base_url}/v1beta/models/{model}:generateContent`` and its siblings.

Differences from the OpenAI format, and how they are handled:

- JSON schemas of answers and tools are sent unchanged (``responseJsonSchema``, ``parametersJsonSchema``).
- Google counts thoughts separately from the candidates' tokens; the OpenAI usage includes them in the output,
  as reasoning.
- Since Gemini 3, a tool call has a signature of its thought, which must return with the conversation. It
  travels where Google's own OpenAI-compatible API puts it: ``extra_content.google.thought_signature`` of a
  tool call. A call without one, such as a call by another provider's model, gets the placeholder that Google
  documents.
- Gemini 2 cannot combine tools with a JSON answer, so a request for both skips it.
- A prompt that Google blocks becomes a refusal, not an error.
"""

from __future__ import annotations

import json
import mimetypes
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from supa_llm.values.routes import Candidate
from supa_llm.wire.assemble import Assembler
from supa_llm.wire.base import (
    MAX_EVENT,
    FaultError,
    Json,
    Kind,
    UnsupportedError,
    Wire,
    WireRequest,
    arguments_of,
    as_arguments,
    canonical,
    chunk,
    class_of,
    data_url,
    endpoint,
    first_error,
    functions_of,
    json_schema_of,
    new_call_id,
    only_text,
    post,
    refuse_unknown,
)
from supa_llm.wire.refusals import refusal
from supa_llm.wire.stream import StreamDecoder
from supa_llm.wire.usage import of_google, updated
from supa_llm.wire.waits import duration

_OLDER = re.compile(r"gemini-[12]\b")
#: Seconds to wait when the quota of a day is used up, as it resets at an unknown time.
_DAILY_WAIT = 3_600.0
_UNSIGNED = "skip_thought_signature_validator"
_UNDERSTOOD = frozenset({
    "messages", "stream", "tools", "tool_choice", "response_format", "stop", "max_completion_tokens",
})  # fmt: skip
_UNDERSTOOD_EMBEDDINGS = frozenset({"input", "dimensions", "encoding_format"})
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "max_completion_tokens": "maxOutputTokens",
}
#: Effort → tokens for thinking (Gemini 2.5), or the level of it (since Gemini 3; every model has low and
#: high).
_BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576}
_LEVELS = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_FILTERED = frozenset({
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
})  # fmt: skip
#: Finish reasons of a failed model. A response with one of them and without content is not an answer.
_BROKEN = frozenset({
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE", "OTHER",
})  # fmt: skip


class GoogleWire(Wire):
    """``:generateContent``, ``:streamGenerateContent?alt=sse`` and ``:batchEmbedContents``."""

    models_path = "/v1beta/models?pageSize=1"
    models_headers: Mapping[str, str] = {}

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        body, model = canonical(body, candidate), candidate.model
        if kind == "embeddings":
            refuse_unknown(body, _UNDERSTOOD_EMBEDDINGS)
            url = endpoint(candidate, "/v1beta/models/{model}:batchEmbedContents", model=model)
            return post(url, {"requests": _embeddings(body, model)})
        refuse_unknown(body, _UNDERSTOOD)
        older = bool(_OLDER.match(model))
        if older and body.get("tools") and (body.get("response_format") or {}).get("type", "text") != "text":
            raise UnsupportedError("it cannot combine tools with a JSON answer")
        method = "streamGenerateContent?alt=sse" if body.get("stream") else "generateContent"
        payload: Json = {"contents": _contents(body["messages"], signed=not older)}
        system = [
            only_text(it["content"], "system prompts")
            for it in body["messages"]
            if it["role"] in ("system", "developer")
        ]
        if any(system):
            payload["systemInstruction"] = {"parts": [{"text": text} for text in system if text]}
        payload |= _tools(body)
        if settings := _settings(body, older):
            payload["generationConfig"] = settings
        return post(endpoint(candidate, "/v1beta/models/{model}:" + method, model=model), payload)

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        if kind == "embeddings":
            data = [
                {"object": "embedding", "index": index, "embedding": item["values"]}
                for index, item in enumerate(payload["embeddings"])
            ]
            usage = of_google(payload["usageMetadata"]) if "usageMetadata" in payload else None
            return {"object": "list", "data": data, "model": candidate.model, "usage": usage}
        reader = _Reader(candidate)
        assembler = Assembler()
        for delta in reader.deltas(payload):
            assembler.add(chunk(reader.head, delta))
        if reader.finish is None:
            raise FaultError("invalid_response", "the answer has no finish reason")
        assembler.add(chunk(reader.head, reader.signed, reader.finish))
        return {**assembler.completion, "usage": reader.usage}

    def decoder(self, body: Json, candidate: Candidate, max_event: int = MAX_EVENT) -> GoogleDecoder:
        return GoogleDecoder(candidate, max_event)

    def fault(self, status: int, payload: Any) -> FaultError:
        return _fault(status, first_error(payload))


class GoogleDecoder(StreamDecoder):
    """Each event is a part of the answer in the shape of a complete one."""

    def __init__(self, candidate: Candidate, max_event: int = MAX_EVENT) -> None:
        super().__init__(max_event)
        self._reader = _Reader(candidate)
        self._begun = False

    def _read(self, payload: Any) -> list[Json]:
        reader = self._reader
        deltas = reader.deltas(payload)
        self.usage = reader.usage
        if not self._begun:
            self._begun = True
            deltas.insert(0, {"role": "assistant", "content": ""})
        chunks = [chunk(reader.head, delta) for delta in deltas]
        if reader.finish and not self.finished:
            self.finished = True
            chunks.append(chunk(reader.head, reader.signed, reader.finish))
        if reader.finish and self.usage and "usageMetadata" in payload:
            chunks.append(chunk(reader.head, None, usage=self.usage))
        return chunks

    def _ended(self, *, explicitly: bool) -> list[Json]:
        """Google ends a stream only with its connection; a proxy may add ``[DONE]``, and no finish reason."""
        reader = self._reader
        if self.finished or not reader.spoke or not explicitly:
            return []
        self.finished = True
        usage = [chunk(reader.head, None, usage=self.usage)] if self.usage else []
        return [chunk(reader.head, reader.signed, reader.finish_of("STOP")), *usage]


class _Reader:
    """Converts responses, complete or in parts, to OpenAI deltas."""

    def __init__(self, candidate: Candidate) -> None:
        self.head: Json = {"id": "", "created": int(time.time()), "model": candidate.model}
        self.usage: Json | None = None
        self._tokens: Json | None = None
        self.finish: str | None = None
        self.signed: Json = {}
        self._calls = 0
        self.spoke = False

    def deltas(self, payload: Any) -> list[Json]:
        if isinstance(payload, list) or payload.get("error"):
            raise _fault(200, first_error(payload))
        self.head["id"] = self.head["id"] or payload.get("responseId") or f"chatcmpl-{uuid4().hex}"
        self.head["model"] = payload.get("modelVersion") or self.head["model"]
        self._tokens = updated(self._tokens, payload.get("usageMetadata"))
        self.usage = of_google(self._tokens or {})
        if blocked := (payload.get("promptFeedback") or {}).get("blockReason"):
            self.finish = "content_filter"
            return [{"refusal": f"The prompt was blocked ({blocked})."}]
        if not payload.get("candidates"):
            return []  # usage alone
        first = payload["candidates"][0]
        deltas = [
            delta for part in (first.get("content") or {}).get("parts") or () if (delta := self._delta(part))
        ]
        self.spoke = self.spoke or any(delta.keys() - {"reasoning_content"} for delta in deltas)
        if reason := first.get("finishReason"):
            if reason in _BROKEN and not self.spoke:
                raise FaultError(
                    "invalid_response", f"the model broke off: {first.get('finishMessage') or reason}"
                )
            self.finish = self.finish_of(reason)
        return deltas

    def finish_of(self, reason: str) -> str:
        if reason in _FILTERED:
            return "content_filter"
        if reason == "MAX_TOKENS":
            return "length"
        return "tool_calls" if self._calls else "stop"

    def _delta(self, part: Json) -> Json | None:
        if "functionCall" in part:
            return {"tool_calls": [self._call(part)]}
        text = part.get("text") or ""
        if not isinstance(text, str):
            raise TypeError("a text is expected")
        if part.get("thought"):
            return {"reasoning_content": text} if text else None
        # The last signature is the answer's; a part without text may carry it alone.
        self.signed = _signed(part) or self.signed
        return {"content": text} if text else None

    def _call(self, part: Json) -> Json:
        function = part["functionCall"]
        call: Json = {
            "index": self._calls,
            "id": str(function.get("id") or new_call_id()),
            "type": "function",
            "function": {
                "name": str(function["name"]),
                "arguments": as_arguments(function.get("args") or {}),
            },
        }
        self._calls += 1
        return call | _signed(part)


def _signed(part: Json) -> Json:
    signature = part.get("thoughtSignature")
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _signature(of: Json) -> str | None:
    """The signature in a message or a tool call."""
    signature = ((of.get("extra_content") or {}).get("google") or {}).get("thought_signature")
    return signature if isinstance(signature, str) else None


def _contents(messages: list[Json], *, signed: bool) -> list[Json]:
    """The conversation without its system prompt; consecutive messages of one role become one turn."""
    names: dict[str, str] = {}
    turns: list[Json] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "model" if message["role"] == "assistant" else "user"
        if message["role"] == "tool":
            parts = [_result(message, names, signed=signed)]
        else:
            calls = message.get("tool_calls") or []
            names |= {call["id"]: call["function"]["name"] for call in calls}
            parts = [
                *_parts(message, signed=signed),
                *(_call(call, first=call is calls[0], signed=signed) for call in calls),
            ]
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
    return turns


def _parts(message: Json, *, signed: bool) -> list[Json]:
    content = message.get("content") or message.get("refusal") or []
    parts = [{"text": content}] if isinstance(content, str) else [_part(part) for part in content]
    if signed and message["role"] == "assistant" and (signature := _signature(message)):
        parts[-1:] = [{**(parts[-1] if parts else {"text": ""}), "thoughtSignature": signature}]
    return parts


def _part(part: Json) -> Json:
    match part["type"]:
        case "text" | "refusal":
            return {"text": part[part["type"]]}
        case "image_url":
            url = part["image_url"]["url"]
            media_type, data = data_url(url)
            if data is not None:
                return {"inlineData": {"mimeType": media_type, "data": data}}
            media_type = mimetypes.guess_type(urlsplit(url).path)[0] or "image/jpeg"
            return {"fileData": {"mimeType": media_type, "fileUri": url}}
    raise UnsupportedError(f"it cannot read {part['type']!r} parts")


def _call(call: Json, *, first: bool, signed: bool) -> Json:
    part: Json = {"functionCall": {"name": call["function"]["name"], "args": arguments_of(call)}}
    if signed:
        part["functionCall"]["id"] = call["id"]
        signature = _signature(call)
        if signature or first:  # of calls part at once only the first is signed
            part["thoughtSignature"] = signature or _UNSIGNED
    return part


def _result(message: Json, names: Mapping[str, str], *, signed: bool) -> Json:
    text = only_text(message["content"], "tool results")
    try:
        result = json.loads(text)
    except ValueError:
        result = text
    call_id = message["tool_call_id"]
    response = {
        "name": names[call_id],
        "response": result if isinstance(result, dict) else {"result": result},
    }
    return {"functionResponse": {**response, "id": call_id} if signed else response}


def _tools(body: Json) -> Json:
    if not body.get("tools"):
        return {}
    declarations = [
        {
            "name": function["name"],
            "description": function.get("description") or "",
            **({"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {}),
        }
        for function in functions_of(body)
    ]
    requested = body.get("tool_choice", "auto")
    if isinstance(requested, str):
        choice: Json = {"mode": _MODES[requested]}
    elif requested["type"] == "function":
        choice = {"mode": "ANY", "allowedFunctionNames": [requested["function"]["name"]]}
    else:
        raise UnsupportedError(f"it does not support the tool choice {requested['type']!r}")
    payload: Json = {"tools": [{"functionDeclarations": declarations}]}
    return payload if requested == "auto" else {**payload, "toolConfig": {"functionCallingConfig": choice}}


def _settings(body: Json, older: bool) -> Json:
    settings: Json = {name: body[parameter] for parameter, name in _SETTINGS.items() if parameter in body}
    if stop := body.get("stop"):
        settings["stopSequences"] = [stop] if isinstance(stop, str) else stop
    if (body.get("response_format") or {}).get("type", "text") != "text":
        settings["responseMimeType"] = "application/json"
        if (schema := json_schema_of(body)) is not None:
            settings["responseJsonSchema"] = schema
    effort = body.get("reasoning_effort")
    if effort in _LEVELS:
        settings["thinkingConfig"] = (
            {"thinkingBudget": _BUDGETS[effort]} if older else {"thinkingLevel": _LEVELS[effort]}
        )
    return settings


def _embeddings(body: Json, model: str) -> list[Json]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not all(isinstance(text, str) for text in texts):
        raise UnsupportedError("it embeds texts, not tokens")
    size = {"outputDimensionality": body["dimensions"]} if "dimensions" in body else {}
    return [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **size} for text in texts]


def _fault(status: int, error: Json) -> FaultError:
    message, name = str(error.get("message")), str(error.get("status"))
    if status == 200:
        status = error["code"] if isinstance(error.get("code"), int) else 500
    details = [it for it in error.get("details") or () if isinstance(it, Mapping)]
    waits = [duration(str(it["retryDelay"])) for it in details if "retryDelay" in it]
    if any("PerDay" in str(it.get("violations")) for it in details):
        waits.append(_DAILY_WAIT)  # Google names seconds for this quota too
    return FaultError(
        refusal(status, [it.get("reason") for it in details], message) or class_of(status),
        message,
        error={"message": message, "type": name, "param": None, "code": name},
        retry_after=max((it for it in waits if it is not None), default=None),
    )
