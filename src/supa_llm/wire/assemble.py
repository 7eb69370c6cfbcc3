"""Assembles the chunks of a stream into a complete answer."""

from __future__ import annotations

from collections.abc import Mapping
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
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        else:
            message[name] = value


def _merge_calls(calls: list[Json], parts: list[Json]) -> None:
    for part in parts:
        index = part.get("index", len(calls))
        while len(calls) <= index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[index], part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
        if "extra_content" in part:
            call["extra_content"] = part["extra_content"]
