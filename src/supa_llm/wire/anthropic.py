"""Anthropic's Messages API: ``POST {base_url}/v1/messages``.

Differences from the OpenAI format, and how they are handled:

- ``output_config.format`` requests answers that follow a JSON schema and constrains the decoding. The older
  way, a forced tool call, fails with models that always think and conflicts with other tools. Schemas are
  closed (``additionalProperties: false``). Constraints that the API refuses move into the description, where
  the model reads them. There is no JSON mode without a schema: ``json_object`` becomes an instruction.
- ``max_tokens`` is required; the default is high, because thinking counts towards it.
- Models since Opus 4.7 refuse ``temperature`` and ``top_p`` and accept an effort instead; older models do the
  opposite. Each gets the parameter that it supports, because both are optional.
- System and developer messages become the system prompt, wherever they are in the conversation.
- The API refuses blank texts, so they are not sent. A blank stop sequence cannot be expressed.
- ``cache_control`` of a part, a message or a tool is kept.
- ``input_tokens`` excludes input tokens that were read from or written to the cache.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from supa_llm.values.receipts import ErrorClass
from supa_llm.values.routes import Candidate
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
from supa_llm.wire.usage import of_anthropic, tier_of_anthropic, updated

_VERSION = "2023-06-01"
#: Families before Opus 4.7. The set is closed: any other model is newer.
_OLDER = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:-\d{8})?$)")
_MAX_TOKENS, _MAX_TOKENS_OLDER = 16_384, 8_192
_UNDERSTOOD = frozenset({
    "messages", "stream", "tools", "tool_choice", "response_format", "stop", "max_completion_tokens",
    "cache_control",
})  # fmt: skip
_EFFORTS = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}
_FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
#: Blocks of thoughts. They travel in ``thinking_blocks`` of a message, as LiteLLM's do.
_THOUGHTS = ("thinking", "redacted_thinking")
_CLASSES: Mapping[str, ErrorClass] = {
    "permission_error": "forbidden",
    "rate_limit_error": "rate_limited",
    "not_found_error": "not_found",
    "invalid_request_error": "bad_request",
}
_JSON_ONLY = "Answer with a single JSON object and nothing else: no prose, no code fence."


class AnthropicWire(Wire):
    """``POST {base_url}/v1/messages``; Anthropic has no embeddings."""

    models_path = "/v1/models?limit=1"
    models_headers: Mapping[str, str] = {"anthropic-version": _VERSION}

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        if kind == "embeddings":
            raise UnsupportedError("Anthropic does not offer embeddings")
        body = canonical(body, candidate)
        refuse_unknown(body, _UNDERSTOOD)
        older = bool(_OLDER.match(candidate.model))
        wanted = body.get("response_format") or {}
        payload: Json = {
            "model": candidate.model,
            "max_tokens": body.get("max_completion_tokens") or (_MAX_TOKENS_OLDER if older else _MAX_TOKENS),
            "messages": _messages(body["messages"]),
        }
        if body.get("stream"):
            payload["stream"] = True
        if not payload["messages"]:
            raise UnsupportedError("it does not take blank messages or a system prompt alone")
        if system := _system(body["messages"], json_only=wanted.get("type") == "json_object"):
            payload["system"] = system
        if cached := body.get("cache_control"):
            payload["cache_control"] = cached
        if stop := _stops(body.get("stop")):
            payload["stop_sequences"] = stop
        if user := body.get("safety_identifier") or body.get("user"):
            payload["metadata"] = {"user_id": user}
        payload |= _tools(body)
        output: Json = {}
        if older:
            # These models take one of the two, and no temperature above 1.
            if "temperature" in body:
                payload["temperature"] = min(body["temperature"], 1)
            elif "top_p" in body:
                payload["top_p"] = body["top_p"]
        elif effort := _EFFORTS.get(body.get("reasoning_effort", "")):
            output["effort"] = effort
        if (schema := json_schema_of(body)) is not None:
            output["format"] = {"type": "json_schema", "schema": closed(schema)}
        if output:
            payload["output_config"] = output
        return post(endpoint(candidate, "/v1/messages"), payload, anthropic_version=_VERSION)

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        if _is_error(payload):
            raise self.fault(200, payload)
        blocks = payload["content"]
        message: Json = {
            "role": "assistant",
            "content": "".join(block["text"] for block in blocks if block["type"] == "text") or None,
            "refusal": _refusal(payload),
        }
        if thoughts := [_thought(block, at) for at, block in enumerate(blocks) if block["type"] in _THOUGHTS]:
            message["reasoning_content"] = "".join(block.get("thinking", "") for block in thoughts)
            message["thinking_blocks"] = [{"index": at, **block} for at, block in enumerate(thoughts)]
        calls = [
            {
                "id": str(block.get("id") or new_call_id()),
                "type": "function",
                "function": {"name": _text(block["name"]), "arguments": as_arguments(block["input"]) or "{}"},
            }
            for block in blocks
            if block["type"] == "tool_use"
        ]
        if calls:
            message["tool_calls"] = calls
        tokens = payload.get("usage") or {}
        tier = tier_of_anthropic(tokens)
        return {
            "id": str(payload.get("id") or ""),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": str(payload.get("model") or candidate.model),
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": _finish(payload.get("stop_reason") or ("tool_use" if calls else None)),
                }
            ],
            "usage": of_anthropic(tokens),
            **({"service_tier": tier} if tier else {}),
        }

    def decoder(self, body: Json, candidate: Candidate, max_event: int = MAX_EVENT) -> AnthropicDecoder:
        return AnthropicDecoder(max_event)

    def fault(self, status: int, payload: Any) -> FaultError:
        return _fault(status, first_error(payload))


class AnthropicDecoder(StreamDecoder):
    """Converts content blocks to deltas. Tool blocks are counted, because OpenAI numbers them separately."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        super().__init__(max_event)
        self._head: Json = {"id": "", "created": int(time.time()), "model": ""}
        self._tokens: Json = {}
        self._blocks: dict[Any, Json] = {}  # the blocks that have begun and not ended, by their index
        self._calls = 0
        self._thoughts = 0
        self._spoke = False

    def _read(self, payload: Any) -> list[Json]:
        if _is_error(payload):
            raise _fault(200, first_error(payload))
        match payload.get("type"):
            case "message_start":
                message = payload["message"]
                self._head |= {name: str(message[name]) for name in ("id", "model") if message.get(name)}
                self._count(message.get("usage"))
                return [chunk(self._head, {"role": "assistant", "content": ""})]
            case "content_block_start":
                return self._begin(payload.get("index"), payload["content_block"])
            case "content_block_delta":
                return self._continue(self._blocks.get(payload.get("index"), {}), payload["delta"])
            case "content_block_stop":
                return self._stop(payload.get("index"), self._blocks.pop(payload.get("index"), {}))
            case "message_delta":
                self._count(payload.get("usage"))
                return self._finish(payload.get("delta") or {})
            case "message_stop":
                self.done = True
                return self._ended(explicitly=True)
        return []  # pings, and future events

    def _begin(self, index: Any, block: Json) -> list[Json]:
        self._blocks[index] = block
        match block["type"]:
            case "tool_use":
                block["number"], block["silent"] = self._calls, True
                self._calls += 1
                name, call_id = _text(block["name"]), str(block.get("id") or new_call_id())
                return self._call(block, {"name": name, "arguments": ""}, id=call_id, type="function")
            case "text":
                return self._say("content", block.get("text"))
            case "thinking":
                return self._say("reasoning_content", block.get("thinking"))
        return []

    def _continue(self, block: Json, delta: Json) -> list[Json]:
        match delta["type"]:
            case "text_delta":
                return self._say("content", delta["text"])
            case "input_json_delta" if delta.get("partial_json"):
                block["silent"] = False
                return self._call(block, {"arguments": _text(delta["partial_json"])})
            case "thinking_delta" | "signature_delta":
                name = "thinking" if delta["type"] == "thinking_delta" else "signature"
                block[name] = (block.get(name) or "") + _text(delta[name])
                return self._say("reasoning_content", delta.get("thinking"))
        return []

    def _stop(self, index: Any, block: Json) -> list[Json]:
        if block.get("type") == "tool_use" and block["silent"]:
            # Some servers send the arguments with the start. Without any, OpenAI streams an empty object.
            return self._call(block, {"arguments": as_arguments(block.get("input")) or "{}"})
        if block.get("type") in _THOUGHTS:
            # Complete, because the openai package would join the types and positions of several pieces.
            thought = {"index": self._thoughts, **_thought(block, index)}
            self._thoughts += 1
            return [chunk(self._head, {"thinking_blocks": [thought]})]
        return []

    def _finish(self, delta: Json) -> list[Json]:
        usage = [chunk(self._head, None, usage=self.usage)] if self.usage else []
        reason = delta.get("stop_reason")
        if not reason or self.finished:
            return usage if self.finished else []
        self.finished = True
        refusal = _refusal(delta)
        return [
            *([chunk(self._head, {"refusal": refusal})] if refusal else ()),
            chunk(self._head, {}, _finish(reason)),
            *usage,
        ]

    def _ended(self, *, explicitly: bool) -> list[Json]:
        """Some servers send no stop reason."""
        if self.finished or not self._spoke or not explicitly:
            return []
        return self._finish({"stop_reason": "tool_use" if self._calls else "end_turn"})

    def _say(self, name: str, text: Any) -> list[Json]:
        if not text:
            return []
        self._spoke = self._spoke or name == "content"
        return [chunk(self._head, {name: _text(text)})]

    def _call(self, block: Json, function: Json, **names: str) -> list[Json]:
        self._spoke = True
        call = {"index": block["number"], **names, "function": function}
        return [chunk(self._head, {"tool_calls": [call]})]

    def _count(self, tokens: Any) -> None:
        """Counts are cumulative: later ones replace earlier ones. Input may be reported only at the start."""
        self._tokens = updated(self._tokens, tokens) or {}
        self.usage = of_anthropic(self._tokens)
        if tier := tier_of_anthropic(self._tokens):
            self.service_tier = self._head["service_tier"] = tier


def _is_error(payload: Any) -> bool:
    return bool(payload.get("error")) or payload.get("type") == "error"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _thought(block: Json, position: Any) -> Json:
    """A block of thoughts that the API wants back unchanged, with its position in the answer."""
    names = ("type", "thinking", "signature") if block["type"] == "thinking" else ("type", "data")
    return {"position": position, **{name: _text(block.get(name) or "") for name in names}}


#: Constraints that the API refuses in a schema. It accepts ``minItems`` of 0 and 1.
_REFUSED = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "minProperties", "maxProperties", "pattern", "default",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_MAPS = ("properties", "$defs", "definitions")


def closed(schema: Any) -> Any:
    """A JSON schema in the form that structured outputs accept.

    Example:
        >>> closed({"type": "integer", "minimum": 1})
        {'type': 'integer', 'description': '(minimum: 1)'}
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Json = {}
    lost: list[str] = []
    for name, value in schema.items():
        known = value in (0, 1) if name == "minItems" else value in _FORMATS if name == "format" else True
        if name in _REFUSED or not known:
            lost.append(f"{name}: {json.dumps(value)}")
        elif name in _MAPS and isinstance(value, dict):
            result[name] = {key: closed(sub) for key, sub in value.items()}
        else:
            literal = name in ("enum", "const")
            result["anyOf" if name == "oneOf" else name] = value if literal else closed(value)
    if result.get("type") == "object" or "properties" in result:
        result["additionalProperties"] = False
    if "$ref" in result:
        return {name: result[name] for name in ("$ref", *_MAPS) if name in result}
    if lost:
        result["description"] = f"{result.get('description', '')} ({', '.join(lost)})".strip()
    return result


def _messages(messages: list[Json]) -> list[Json]:
    """The conversation without its system prompt; consecutive messages of one role become one."""
    turns: list[Json] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    last = turns[-1]["content"][-1] if turns and turns[-1]["role"] == "assistant" else {}
    if "text" in last:
        last["text"] = last["text"].rstrip()  # the API refuses a space at the end of what it continues
    return turns


def _blocks(message: Json) -> list[Json]:
    content = message.get("content") or message.get("refusal") or []
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    # The API refuses blank texts, which say nothing.
    blocks = [_block(part) for part in parts if part["type"] != "text" or part["text"].strip()]
    if message["role"] == "tool":
        # The hint about the cache belongs to the result as a whole.
        hints = [block.pop("cache_control") for block in blocks if "cache_control" in block]
        result: Json = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
        if all(block["type"] == "text" for block in blocks):
            result["content"] = "".join(block["text"] for block in blocks)
        else:
            result["content"] = blocks
        return [_cached(result, message, *({"cache_control": hint} for hint in hints))]
    for call in message.get("tool_calls") or ():
        name = call["function"]["name"]
        blocks.append({"type": "tool_use", "id": call["id"], "name": name, "input": arguments_of(call)})
    for thought in message.get("thinking_blocks") or ():
        # A call is refused without the thoughts that led to it. Those of other models have no signature.
        if thought.get("signature") or thought.get("data"):
            position = thought.get("position")
            kept = {
                name: thought[name] for name in ("type", "thinking", "signature", "data") if name in thought
            }
            blocks.insert(position if type(position) is int else 0, kept)
    if blocks:
        _cached(blocks[-1], message)
    return blocks


def _cached(block: Json, *sources: Json) -> Json:
    """The block with the hint about the cache that one of its sources has."""
    for source in sources:
        if hint := source.get("cache_control"):
            block["cache_control"] = hint
    return block


def _system(messages: list[Json], *, json_only: bool) -> str | list[Json]:
    """The system prompt: a text, or blocks if one of them has a hint about the cache."""
    system = [message for message in messages if message["role"] in ("system", "developer")]
    texts = [only_text(message["content"], "system prompts") for message in system]
    blocks = [block for message in system for block in _blocks(message)]
    if json_only:
        texts.append(_JSON_ONLY)
        blocks.append({"type": "text", "text": _JSON_ONLY})
    if any("cache_control" in block for block in blocks):
        return blocks
    return "\n\n".join(text for text in texts if text.strip())


def _stops(stop: Any) -> list[str]:
    stops = [it for it in ([stop] if isinstance(stop, str) else stop or []) if it]
    if not all(it.strip() for it in stops):
        raise UnsupportedError("it does not take blank stop sequences")
    return stops


def _block(part: Json) -> Json:
    match part["type"]:
        case "text" | "refusal":
            return _cached({"type": "text", "text": part[part["type"]]}, part)
        case "image_url":
            url = part["image_url"]["url"]
            media_type, data = data_url(url)
            source = {"type": "base64", "media_type": media_type, "data": data}
            if data is None:
                source = {"type": "url", "url": url}
            return _cached({"type": "image", "source": source}, part)
    raise UnsupportedError(f"it cannot read {part['type']!r} parts")


def _tools(body: Json) -> Json:
    if not body.get("tools"):
        return {}
    payload: Json = {
        "tools": [
            _cached(
                {
                    "name": function["name"],
                    **({"description": function["description"]} if function.get("description") else {}),
                    "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
                },
                tool,
            )
            for tool, function in zip(body["tools"], functions_of(body), strict=True)
        ]
    }
    requested = body.get("tool_choice", "auto")
    simple = {"auto": "auto", "required": "any", "none": "none"}
    if isinstance(requested, str):
        choice: Json = {"type": simple[requested]}
    elif requested["type"] == "function":
        choice = {"type": "tool", "name": requested["function"]["name"]}
    else:
        raise UnsupportedError(f"it does not support the tool choice {requested['type']!r}")
    if body.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return payload | ({} if choice == {"type": "auto"} else {"tool_choice": choice})


def _finish(stop_reason: str | None) -> str:
    if stop_reason == "error":
        raise _fault(200, {"message": "the model failed while it answered"})
    return _FINISH.get(stop_reason or "", "stop")


def _refusal(message: Mapping[str, Any]) -> str | None:
    if message.get("stop_reason") != "refusal":
        return None
    return (message.get("stop_details") or {}).get("explanation") or "The model refused to answer."


def _fault(status: int, error: Json) -> FaultError:
    kind, message = str(error.get("type")), str(error.get("message"))
    meaning: ErrorClass = class_of(status) if status != 200 else _CLASSES.get(kind, "server_error")
    meaning = refusal(status, [kind], message) or meaning
    return FaultError(meaning, message, error={"message": message, "type": kind, "param": None, "code": None})
