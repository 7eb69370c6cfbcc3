"""What the caller gets of an answer, which the engine reads in the format of the candidate's endpoint."""

from __future__ import annotations

from collections.abc import Mapping

from supa_llm.engine.effects import ModelCall
from supa_llm.wire.base import Json
from supa_llm.wire.responses_as_chats import ResponseEvents, response_of


class Rendering:
    """The answer as it is."""

    def whole(self, payload: Json) -> Json:
        """A complete answer."""
        return payload

    def chunks(self, chunks: list[Json]) -> list[Json]:
        """The next chunks of a stream."""
        return chunks

    def end(self) -> list[Json]:
        """The last chunks of a stream, once the answer is complete."""
        return []


class WithoutUsage(Rendering):
    """For a caller who did not request the usage of a stream, because every stream requests it."""

    def chunks(self, chunks: list[Json]) -> list[Json]:
        return [
            {name: value for name, value in chunk.items() if name != "usage"}
            for chunk in chunks
            if chunk.get("choices")
        ]


class AsResponse(Rendering):
    """A chat as the answer to a request for a response."""

    def __init__(self, body: Json, model: str) -> None:
        self._body, self._model = body, model
        self._events = ResponseEvents(body, model)

    def whole(self, payload: Json) -> Json:
        return response_of(payload, self._body, self._model)

    def chunks(self, chunks: list[Json]) -> list[Json]:
        return [event for chunk in chunks for event in self._events.add(chunk)]

    def end(self) -> list[Json]:
        return self._events.end()


def rendering(asked: ModelCall, sent: ModelCall, model: str) -> Rendering:
    """How the answer to the call that was sent becomes the answer to the caller's call."""
    if asked.kind != sent.kind:
        return AsResponse(asked.body, model)
    options = asked.body.get("stream_options")
    wants_usage = isinstance(options, Mapping) and options.get("include_usage")
    return WithoutUsage() if asked.kind == "chat" and not wants_usage else Rendering()
