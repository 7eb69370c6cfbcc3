"""Responses on providers that have only chats: the request as a chat, and its answer as a response.

Fields that only improve an answer are left out if chats have no place for them. What would change the answer,
such as a hosted tool, raises :class:`~supa_llm.wire.base.UnsupportedError`: the candidate is skipped.

Some providers want signed thoughts back with the conversation. In a response, they travel as base64 of JSON
in the ``encrypted_content`` of the reasoning, which callers return as it is.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from supa_llm.wire.assemble import Assembler, as_chunks
from supa_llm.wire.base import Json, UnsupportedError
from supa_llm.wire.responses import SEAL
from supa_llm.wire.usage import read_usage

#: Parameters that chats have under the same name.
_SAME = (
    "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "stream",
    "temperature", "top_p", "user",
)  # fmt: skip
#: Parameters with another place in a chat, or with no meaning for one that no provider stores.
_UNDERSTOOD = frozenset({
    *_SAME, "include", "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
    "parallel_tool_calls", "prompt_cache_options", "reasoning", "store", "stream_options", "text",
    "tool_choice", "tools", "top_logprobs", "truncation",
})  # fmt: skip
#: Lists of thoughts in a message, of Anthropic and OpenRouter.
_THOUGHTS = ("thinking_blocks", "reasoning_details")
_ROLES = frozenset({"user", "assistant", "system", "developer"})


def chat_of(body: Json) -> Json:
    """The chat body of a request for a response.

    Raises:
        UnsupportedError: chats cannot express it.
        ValueError, KeyError, TypeError, AttributeError: it is no valid request.

    Example:
        >>> chat_of({"input": "Hello", "max_output_tokens": 5})
        {'messages': [{'role': 'user', 'content': 'Hello'}], 'max_completion_tokens': 5}
    """
    for name, value in body.items():
        if value and name not in _UNDERSTOOD:
            raise UnsupportedError(f"it cannot express {name!r}")
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    if reasoning.get("mode") not in (None, "standard"):
        raise UnsupportedError(f"it does not support the reasoning mode {reasoning['mode']!r}")
    logprobs = "message.output_text.logprobs" in (body.get("include") or ())
    chat = {
        "messages": _messages(body),
        **{name: body.get(name) for name in _SAME},
        "max_completion_tokens": body.get("max_output_tokens"),
        "reasoning_effort": reasoning.get("effort"),
        "verbosity": text.get("verbosity"),
        "response_format": _response_format(text.get("format") or {}),
        "logprobs": logprobs or None,
        "top_logprobs": body.get("top_logprobs") if logprobs else None,
        **(_tools(body) if body.get("tools") else {}),
    }
    return {name: value for name, value in chat.items() if value is not None}


def _response_format(wanted: Mapping[str, Any]) -> Json | None:
    kind = wanted.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    if kind == "json_schema":
        return {"type": kind, "json_schema": {name: wanted[name] for name in wanted if name != "type"}}
    raise UnsupportedError(f"it does not support the text format {kind!r}")


def _tools(body: Json) -> Json:
    """``tools`` and the parameters that need them."""
    choice = body.get("tool_choice")
    allowed: set[str] | None = None
    if isinstance(choice, Mapping):
        if choice["type"] == "function":
            choice = {"type": "function", "function": {"name": choice["name"]}}
        elif choice["type"] == "allowed_tools":
            # Few providers know the parameter; leaving out the other tools means the same.
            allowed, choice = {tool["name"] for tool in choice["tools"]}, choice["mode"]
        else:
            raise UnsupportedError(f"it does not support the tool choice {choice['type']!r}")
    functions = [_function(tool) for tool in body["tools"]]
    return {
        "tools": [
            {"type": "function", "function": it}
            for it in functions
            if allowed is None or it["name"] in allowed
        ],
        "tool_choice": choice,
        "parallel_tool_calls": body.get("parallel_tool_calls"),
    }


def _function(tool: Mapping[str, Any]) -> Json:
    if tool["type"] != "function":
        raise UnsupportedError(f"it does not support {tool['type']!r} tools")
    fields = {name: tool.get(name) for name in ("name", "description", "parameters", "strict")}
    return {name: value for name, value in fields.items() if value is not None}


def _messages(body: Json) -> list[Json]:
    conversation = _Conversation()
    if body.get("instructions"):
        conversation.say("system", body["instructions"])
    if isinstance(body["input"], str):
        conversation.say("user", body["input"])
    else:
        for item in body["input"]:
            conversation.add(item)
    return conversation.messages


class _Conversation:
    """Collects the items of a conversation as messages.

    A chat has the calls of one turn in one message, and their results directly after it.
    """

    def __init__(self) -> None:
        self._turns: list[list[Json]] = []
        self._turn_of_call: dict[str, list[Json]] = {}
        #: Reasoning and thoughts of the assistant's next message.
        self._reasoning: Json = {}

    @property
    def messages(self) -> list[Json]:
        return [message for turn in self._turns for message in turn]

    def add(self, item: Mapping[str, Any]) -> None:
        match item.get("type", "message"):
            case "message":
                if item["role"] not in _ROLES:
                    raise ValueError(f"unknown role {item['role']!r}")
                message = self.say(item["role"], item["content"])
                if "extra_content" in item:  # a signature of Google's
                    message["extra_content"] = item["extra_content"]
            case "reasoning":
                text = "".join(part["text"] for part in item.get("content") or ())
                _extend(self._reasoning, {"reasoning_content": text} if text else {})
                _extend(self._reasoning, _unsealed(item.get("encrypted_content") or ""))
            case "function_call":
                self._call(item)
            case "function_call_output":
                turn = self._turn_of_call.get(item["call_id"])
                if turn is None:
                    raise ValueError(f"no call of the conversation has the ID {item['call_id']!r}")
                content = _content(item["output"])
                turn.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
            case kind:
                raise UnsupportedError(f"it cannot express {kind!r} items")

    def say(self, role: str, content: str | Sequence[Mapping[str, Any]]) -> Json:
        """Add a text, and return its message."""
        said = _content(content)
        if role != "assistant":
            message: Json = {"role": role, "content": said}
            self._turns.append([message])
        else:
            message = self._assistant(text=True)
            message["content"] = (message["content"] or "") + said if isinstance(said, str) else said
        return message

    def _call(self, item: Mapping[str, Any]) -> None:
        message = self._assistant(text=False)
        call = {
            "id": item["call_id"],
            "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"]},
        }
        if "extra_content" in item:
            call["extra_content"] = item["extra_content"]
        message.setdefault("tool_calls", []).append(call)
        self._turn_of_call[item["call_id"]] = self._turns[-1]

    def _assistant(self, *, text: bool) -> Json:
        """The assistant's message that goes on, or a new one. Two texts in a row stay two messages."""
        last = self._turns[-1] if self._turns else []
        if len(last) == 1 and last[0]["role"] == "assistant" and not (text and "tool_calls" not in last[0]):
            message = last[0]
        else:
            message = {"role": "assistant", "content": None}
            self._turns.append([message])
        _extend(message, self._reasoning)
        self._reasoning = {}
        return message


def _extend(message: Json, more: Json) -> None:
    """Append texts and lists to those of a message."""
    for name, value in more.items():
        message[name] = message[name] + value if name in message else value


def _sealed(thoughts: Json) -> str:
    return SEAL + base64.urlsafe_b64encode(json.dumps(thoughts).encode()).decode()


def _unsealed(encrypted: str) -> Json:
    """The thoughts in ``encrypted_content``; none if another provider encrypted it."""
    if not encrypted.startswith(SEAL):
        return {}
    thoughts = json.loads(base64.urlsafe_b64decode(encrypted.removeprefix(SEAL)))
    return {name: list(thoughts[name]) for name in _THOUGHTS if name in thoughts}


def _content(content: str | Sequence[Mapping[str, Any]]) -> Any:
    """A message's content: a string if it is only text, because some providers take lists only of users."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Mapping[str, Any]) -> Json:
    match part["type"]:
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part["text"]}
        case "refusal":
            return {"type": "text", "text": part["refusal"]}
        case "input_image" if part.get("image_url"):
            detail = part.get("detail")  # chats do not know the newest one
            image = {"url": part["image_url"], "detail": "high" if detail == "original" else detail}
            return {"type": "image_url", "image_url": {name: it for name, it in image.items() if it}}
        case "input_file" if part.get("file_data"):
            names = ("filename", "file_data")
            return {"type": "file", "file": {name: part[name] for name in names if part.get(name)}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case "input_image" | "input_file" as kind:
            raise UnsupportedError(f"it takes {kind!r} only with its data")
        case kind:
            raise UnsupportedError(f"it cannot express {kind!r} parts")


def response_of(completion: Json, body: Json, model: str) -> Json:
    """The response of a complete chat answer to ``body``, which is a request for a response."""
    events = ResponseEvents(body, model)
    for chunk in as_chunks(completion):
        events.add(chunk)
    response: Json = events.end()[-1]["response"]
    return response


class ResponseEvents:
    """Converts the chunks of a chat with ``model`` to the events of the response to ``body``."""

    def __init__(self, body: Json, model: str) -> None:
        self._body = body
        self._id = uuid4().hex
        self._events: list[Json] = []
        self._sent = 0
        self._output: list[Json] = []
        #: The message or reasoning that goes on; calls go on until the end.
        self._open: Json | None = None
        self._pieces: list[str] = []  # of its last part
        #: Each call by its index, with the pieces of its arguments.
        self._calls: dict[int, tuple[Json, list[str]]] = {}
        self._thoughts = Assembler()
        self._finish_reason: str | None = None
        self._head: Json = {"model": model, "created": int(time.time()), "usage": None, "service_tier": None}

    def add(self, chunk: Json) -> list[Json]:
        """The events of the next chunk."""
        self._head |= {name: chunk[name] for name in self._head if chunk.get(name) is not None}
        if not self._sent:
            self._emit("response.created", response=self._response("in_progress"))
            self._emit("response.in_progress", response=self._response("in_progress"))
        for choice in chunk["choices"]:
            if choice["index"] == 0:
                self._choice(choice, choice["delta"])
        return self._taken()

    def end(self) -> list[Json]:
        """The last events, once the answer is complete."""
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
            self._finish_reason or ""
        )
        status = "incomplete" if reason else "completed"
        self._close(status)
        for call, arguments in self._calls.values():
            call["arguments"] = "".join(arguments)
            self._emit("response.function_call_arguments.done", call, arguments=call["arguments"])
            self._done(call, status)
        response = self._response(status)
        if reason:
            response["incomplete_details"] = {"reason": reason}
        self._emit(f"response.{status}", response=response)
        return self._taken()

    def _choice(self, choice: Json, delta: Json) -> None:
        logprobs = (choice.get("logprobs") or {}).get("content") or []
        if thoughts := {name: delta[name] for name in _THOUGHTS if delta.get(name)}:
            self._item_of("reasoning")
            self._thoughts.add({"choices": [{"delta": thoughts}]})
        self._text("reasoning", "reasoning_text", delta.get("reasoning_content"))
        self._text("message", "output_text", delta.get("content"), logprobs)
        self._text("message", "refusal", delta.get("refusal"))
        if self._open is not None and "extra_content" in delta:
            self._open["extra_content"] = delta["extra_content"]
        for note in delta.get("annotations") or ():
            self._annotate(note)
        for part in delta.get("tool_calls") or ():
            self._call(part)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def _text(self, kind: str, part_kind: str, text: str | None, logprobs: Sequence[Json] = ()) -> None:
        """Go on with a text, in an item and a part of its kind."""
        if not text:
            return
        item = self._item_of(kind)
        if not item["content"] or item["content"][-1]["type"] != part_kind:
            self._close_part(item)
            item["content"].append(_new_part(part_kind))
            self._emit("response.content_part.added", item, at_part=True, part=_new_part(part_kind))
        self._pieces.append(text)
        fields: Json = {"delta": text}
        if part_kind == "output_text":
            item["content"][-1]["logprobs"] += logprobs
            fields["logprobs"] = list(logprobs)
        self._emit(f"response.{part_kind}.delta", item, at_part=True, **fields)

    def _annotate(self, note: Json) -> None:
        """Add a citation to the text that it is about."""
        item = self._open
        if note.get("type") == "url_citation" and item and item["type"] == "message" and item["content"]:
            notes = item["content"][-1].get("annotations", [])
            notes.append({"type": "url_citation"} | note["url_citation"])
            self._emit(
                "response.output_text.annotation.added",
                item,
                at_part=True,
                annotation=notes[-1],
                annotation_index=len(notes) - 1,
            )

    def _call(self, part: Json) -> None:
        index, function = part["index"], part["function"]
        name = function.get("name") or ""
        if index in self._calls:
            self._calls[index][0]["name"] += name
        else:
            self._close("completed")
            opened = self._item("function_call", "fc", call_id=part["id"], name=name, arguments="")
            self._calls[index] = opened, []
        call, arguments = self._calls[index]
        if "extra_content" in part:
            call["extra_content"] = part["extra_content"]
        if function.get("arguments"):
            arguments.append(function["arguments"])
            self._emit("response.function_call_arguments.delta", call, delta=function["arguments"])

    def _item_of(self, kind: str) -> Json:
        """The message or reasoning that goes on, or a new one."""
        if self._open is None or self._open["type"] != kind:
            self._close("completed")
            self._open = (
                self._item(kind, "msg", role="assistant", content=[])
                if kind == "message"
                else self._item(kind, "rs", summary=[], content=[])
            )
        return self._open

    def _item(self, kind: str, prefix: str, **fields: Any) -> Json:
        item = {
            "type": kind,
            "id": f"{prefix}_{self._id}{len(self._output)}",
            "status": "in_progress",
            **fields,
        }
        self._output.append(item)
        self._emit("response.output_item.added", output_index=len(self._output) - 1, item=_copy(item))
        return item

    def _close(self, status: str) -> None:
        """End the message or reasoning that goes on."""
        if self._open is not None:
            self._close_part(self._open)
            if self._open["type"] == "reasoning" and (choices := self._thoughts.completion["choices"]):
                thoughts = {name: choices[0]["message"].get(name) for name in _THOUGHTS}
                self._open["encrypted_content"] = _sealed({n: it for n, it in thoughts.items() if it})
                self._thoughts = Assembler()
            self._done(self._open, status)
            self._open = None

    def _close_part(self, item: Json) -> None:
        if item["content"]:
            part = item["content"][-1]
            name = _text_field(part["type"])
            part[name], self._pieces = "".join(self._pieces), []
            fields = {name: part[name]} | ({"logprobs": part["logprobs"]} if "logprobs" in part else {})
            self._emit(f"response.{part['type']}.done", item, at_part=True, **fields)
            self._emit("response.content_part.done", item, at_part=True, part=_copy(part))

    def _done(self, item: Json, status: str) -> None:
        item["status"] = status
        index = self._output.index(item)
        self._emit("response.output_item.done", output_index=index, item=_copy(item))

    def _emit(self, kind: str, within: Json | None = None, *, at_part: bool = False, **fields: Any) -> None:
        place: Json = {}
        if within is not None:
            place = {"item_id": within["id"], "output_index": self._output.index(within)}
            if at_part:
                place["content_index"] = len(within["content"]) - 1
        self._events.append({"type": kind, "sequence_number": self._sent, **place, **fields})
        self._sent += 1

    def _taken(self) -> list[Json]:
        events, self._events = self._events, []
        return events

    def _response(self, status: str) -> Json:
        body, head = self._body, self._head
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": head["created"],
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "model": head["model"],
            "output": [_copy(item) for item in self._output],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None} | (body.get("reasoning") or {}),
            "service_tier": head["service_tier"],
            "store": False,
            "temperature": body.get("temperature"),
            "text": {"format": {"type": "text"}} | (body.get("text") or {}),
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p"),
            "truncation": body.get("truncation") or "disabled",
            "usage": None if status == "in_progress" else _usage(head["usage"]),
        }


def _new_part(kind: str) -> Json:
    part: Json = {"type": kind, _text_field(kind): ""}
    return part | ({"annotations": [], "logprobs": []} if kind == "output_text" else {})


def _text_field(part_kind: str) -> str:
    return "refusal" if part_kind == "refusal" else "text"


def _copy(item: Json) -> Json:
    """The item as it is now; it goes on growing."""
    copied = {name: list(value) if isinstance(value, list) else value for name, value in item.items()}
    if "content" in copied:
        copied["content"] = [_copy(part) for part in copied["content"]]
    return copied


def _usage(reported: Any) -> Json | None:
    """The usage of a chat as that of a response, which names these parts even if they are zero."""
    usage = read_usage(reported)
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
