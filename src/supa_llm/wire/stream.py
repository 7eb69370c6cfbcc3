"""What the decoders of all formats share: events in, chunks in the OpenAI format out.

The chunks are the same whatever the provider sends: ``choices`` is a list, each choice has an integer
``index`` and a ``delta``, and the fragments of tool calls have an integer ``index``, the id and the name only
where a call begins. The openai package assembles such chunks as :mod:`supa_llm.wire.assemble` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from supa_llm.wire.base import MAX_EVENT, Json, as_arguments, new_call_id, printable, read_json
from supa_llm.wire.sse import Event, EventParser


class StreamDecoder(ABC):
    """A decoder of server-sent events. See :class:`~supa_llm.wire.base.Decoder`."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.usage: Json | None = None
        self.service_tier: str | None = None
        self.finished = False
        self.done = False
        self._events = EventParser(max_event)
        self._texts = _Texts()

    def feed(self, piece: bytes) -> list[Json]:
        return self._chunks(self._events.feed(piece))

    def end(self) -> list[Json]:
        chunks = self._chunks(self._events.end())
        return chunks if self.done else chunks + self._texts.joined(self._ended(explicitly=False))

    def _chunks(self, events: Iterable[Event]) -> list[Json]:
        chunks: list[Json] = []
        for event in events:
            data = event.data.strip()
            if self.done or not data:
                continue  # some servers send empty events to keep the connection alive
            if data == "[DONE]":
                self.done = True
                chunks += self._ended(explicitly=True)
            elif (payload := read_json(data)) is not None:
                chunks += self._read(payload)
        return self._texts.joined(chunks)

    @abstractmethod
    def _read(self, payload: Any) -> list[Json]:
        """The chunks of one event. Raises FaultError, or KeyError and the like."""

    @abstractmethod
    def _ended(self, *, explicitly: bool) -> list[Json]:
        """Finish the answer if it is complete although the provider did not say so.

        Args:
            explicitly: whether the provider ended the stream, rather than the connection.
        """


class _Texts:
    """Joins surrogate pairs that providers split over two chunks, and replaces lone surrogates."""

    def __init__(self) -> None:
        self._halves: dict[tuple[Any, ...], str] = {}

    def joined(self, chunks: list[Json]) -> list[Json]:
        for chunk in chunks:
            for choice in chunk.get("choices") or ():
                self._join(choice)
            if isinstance(chunk.get("delta"), str):  # an event of a response
                place = (chunk.get("type"), chunk.get("item_id"), chunk.get("content_index"))
                chunk["delta"] = self._text(place, chunk["delta"])
        return chunks

    def _join(self, choice: Json) -> None:
        at, delta = choice["index"], choice["delta"]
        for name in ("content", "reasoning_content", "refusal"):
            if isinstance(delta.get(name), str):
                delta[name] = self._text((at, name), delta[name])
        for call in delta.get("tool_calls") or ():
            if function := call.get("function"):
                function["arguments"] = self._text((at, "call", call["index"]), function["arguments"])
        if choice.get("finish_reason"):
            for name in ("content", "reasoning_content", "refusal"):
                if self._halves.pop((at, name), ""):
                    delta[name] = (delta.get(name) or "") + "\ufffd"

    def _text(self, key: tuple[Any, ...], text: str) -> str:
        if not self._halves and text.isascii():
            return text
        text = self._halves.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[key] = text[-1]
            text = text[:-1]
        return printable(text)


class Calls:
    """Numbers the fragments of tool calls, however a provider marks which call they belong to.

    A new id with a name opens a call. Any other fragment continues the call of its index, or the last one.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._names: list[str] = []
        self._arguments: list[list[str]] = []
        self._by_index: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def complete(self) -> bool:
        """Whether the arguments of each call are JSON."""
        return all(map(self._complete, range(len(self))))

    def read(self, fragment: Mapping[str, Any]) -> Json | None:
        """The fragment in OpenAI's form; None if it holds nothing."""
        if "custom" in fragment:  # only OpenAI has custom tools
            return {**fragment, "index": int(fragment["index"])}
        function = fragment.get("function") or {}
        index, call_id, name = fragment.get("index"), fragment.get("id"), function.get("name")
        index = index if type(index) is int else None
        call_id = str(call_id) if call_id else None
        name = str(name) if name else None
        arguments = as_arguments(function.get("arguments"))
        at = self._place(index, call_id, name)
        opens = at == len(self)
        if opens:
            self._ids.append(call_id or new_call_id())
            self._names.append("")
            self._arguments.append([])
        if index is not None:
            self._by_index[index] = at
        made: Json = {"index": at}
        if opens:
            made |= {"id": self._ids[at], "type": "function"}
        made["function"] = {"arguments": arguments}
        if name and name != self._names[at]:
            made["function"]["name"] = name
            self._names[at] += name
        if fragment.get("extra_content"):
            made["extra_content"] = fragment["extra_content"]
        self._arguments[at].append(arguments)
        return made if len(made) > 2 or len(made["function"]) > 1 or arguments else None

    def silent(self) -> list[Json]:
        """For each call without arguments the fragment that OpenAI sends: an empty object."""
        made: list[Json] = []
        for at, arguments in enumerate(self._arguments):
            if not any(arguments):
                arguments.append("{}")
                made.append({"index": at, "function": {"arguments": "{}"}})
        return made

    def _place(self, index: int | None, call_id: str | None, name: str | None) -> int:
        """The number of the call that a fragment belongs to; their count if it opens one."""
        if call_id in self._ids:
            return self._ids.index(call_id)
        last = len(self) - 1
        at = last if index is None else self._by_index.get(index, last + 1 if call_id or name else last)
        if at < 0 or at > last:
            return last + 1
        if not name or not self._names[at]:
            return at
        if call_id:
            return last + 1
        repeated = name == self._names[at]
        ended = any(self._arguments[at]) and self._complete(at)
        same = repeated and not ended if index is None else repeated or not ended
        return at if same else last + 1

    def _complete(self, at: int) -> bool:
        try:
            read_json("".join(self._arguments[at]) or "{}")
        except ValueError:
            return False
        return True
