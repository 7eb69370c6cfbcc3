"""Assembles the chunks of a stream into a complete answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supa_llm.wire.base import Json


class Assembler:
    """Collects OpenAI chunks. ``completion`` is the answer so far."""

    def __init__(self) -> None:
        self.completion: Json = {"object": "chat.completion", "choices": []}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add the next chunk."""
        for name in ("id", "created", "model", "service_tier", "system_fingerprint", "usage"):
            if chunk.get(name) is not None:
                self.completion[name] = chunk[name]
        for part in chunk.get("choices") or ():
            choice = self._choice(part.get("index", 0))
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            _merge(choice["message"], part.get("delta") or {})

    def _choice(self, index: int) -> Json:
        choices: list[Json] = self.completion["choices"]
        while len(choices) <= index:
            message = {"role": "assistant", "content": None}
            choices.append({"index": len(choices), "message": message, "finish_reason": None})
        return choices[index]


def _merge(message: Json, delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if value is None or name == "role":
            continue
        if name == "tool_calls":
            _merge_calls(message.setdefault("tool_calls", []), value)
        else:
            message[name] = _joined(message.get(name), value)


def _joined(before: Any, value: Any) -> Any:
    """Joined as the openai package does: texts are appended, parts of lists belong to their ``index``."""
    if isinstance(value, str) and isinstance(before, str):
        return before + value
    if isinstance(value, dict) and isinstance(before, dict):
        fixed = {name: value[name] for name in ("index", "type") if name in value}
        rest = {name: _joined(before.get(name), it) for name, it in value.items() if name not in fixed}
        return {**before, **rest, **fixed}
    if isinstance(value, list):
        items = list(before) if isinstance(before, list) else []
        for part in value:
            index = part.get("index") if isinstance(part, dict) else None
            if type(index) is int and 0 <= index < len(items):
                items[index] = _joined(items[index], part)
            else:
                items.append(part)
        return items
    return before if value is None else value


def _merge_calls(calls: list[Json], parts: list[Json]) -> None:
    for part in parts:
        at, call = part["index"], {name: value for name, value in part.items() if name != "index"}
        if at < len(calls):
            calls[at] = _joined(calls[at], call)
        else:
            empty = {"function": {"name": "", "arguments": ""}} if "function" in call else {}
            calls.append(_joined(empty, call))


def as_chunks(completion: Mapping[str, Any]) -> list[Json]:
    """A complete answer as the chunks of a stream."""
    head = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    choices = [
        {
            **{name: value for name, value in choice.items() if name != "message"},
            "delta": {**choice["message"], **_numbered(choice["message"].get("tool_calls"))},
        }
        for choice in completion["choices"]
    ]
    chunks: list[Json] = [{**head, "choices": choices}]
    if completion.get("usage"):
        chunks.append({**head, "choices": [], "usage": completion["usage"]})
    return chunks


def _numbered(calls: Sequence[Json] | None) -> Json:
    return {"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]} if calls else {}
