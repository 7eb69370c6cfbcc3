"""The values that a flow exchanges with its driver, and the account that it runs for. No I/O."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from supa_llm.engine.parameters import require_stateless, settled
from supa_llm.errors import InvalidInputError
from supa_llm.values.arguments import check
from supa_llm.values.receipts import Attempt, Receipt
from supa_llm.values.routes import Candidate, Demand, Route
from supa_llm.values.secrets import Secret
from supa_llm.wire.base import MAX_EVENT, Json, Kind, WireRequest

#: Seconds before the first retry, and the most before a later one, if the provider names no time.
_FIRST_WAIT, _LAST_WAIT = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a request may take, in seconds.

    Attributes:
        total: from the call to the end of the answer, or to the first content of a stream.
        attempt: the same for one candidate; after it, the flow tries the next one. A stream that sends
            anything, such as pings while the model thinks, may take longer.
        idle: between two pieces of a stream. Before its first content, silence may also last as long as
            ``attempt``.
    """

    total: float = 600.0
    attempt: float = 180.0
    idle: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"The timeout {name!r} must be greater than 0 seconds.")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is repeated at a candidate that failed for a moment.

    Retries are for rate limits, server errors and lost connections. A retry is an attempt of its own. It is
    never made after the first content of a stream, nor if its wait would pass the total timeout.

    Attributes:
        most: retries after all candidates have failed, 0 to 10, at the last one that may recover, as the
            openai package makes them; 0 turns off all retries.
        max_wait: seconds that a provider may ask to wait before a retry; for more, there is none.
        short_wait: the same while another candidate is left. It then waits for one retry.
    """

    most: int = 2
    max_wait: float = 60.0
    short_wait: float = 1.0

    def __post_init__(self) -> None:
        check(max_retries=self.most, max_retry_wait=self.max_wait, short_wait=self.short_wait)

    def wait(self, number: int, asked: float | None) -> float | None:
        """Seconds before retry ``number``, from 1; None if the provider asked to wait for too long.

        Example:
            >>> Retries().wait(1, 7.0)
            7.0
        """
        if asked:
            return asked if asked <= self.max_wait else None
        return min(_FIRST_WAIT * 2.0 ** (number - 1), _LAST_WAIT) * random.uniform(0.75, 1.0)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest responses that are read, in bytes after decompression. Larger ones are invalid.

    Attributes:
        response: of a complete response, and of a stream before its first content.
        event: of one event of a stream.
    """

    response: int = 32 * 2**20
    event: int = MAX_EVENT

    def __post_init__(self) -> None:
        check(max_response_bytes=self.response, max_event_bytes=self.event)


class Account(Protocol):
    """What a flow needs from the account of the user whose request it runs; these calls never wait."""

    def operator_key(self, provider: str) -> Secret | None:
        """The operator's own key for a provider; None if the operator has none."""

    def record(self, request_id: UUID, task: str | None, attempt: Attempt) -> None:
        """Record one attempt. Must neither block nor raise."""

    def release(self, request_id: UUID) -> None:
        """Release the reservation of a request that ends without using it. Must neither block nor raise."""

    def refuse(self, code: str) -> None:
        """Count a request that reaches no provider, by its error code. Must neither block nor raise."""

    def forget_route(self) -> None:
        """A key was rejected or rate-limited: the next request must not use a cached route."""


class SyncAccount(Account, Protocol):
    """An account for threads. The database decides; the account asks it."""

    def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """The ordered candidates. Raises NoCandidateError and the errors of the database."""

    def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """Reserve for another candidate of a metered route. Raises SupaLLMError if a quota refuses."""

    def explain_route(self, task: str | None, model: str | None = None) -> Route:
        """The route of a chat for this task and model, without keys."""


class AsyncAccount(Account, Protocol):
    """An account for asyncio; the methods are those of :class:`SyncAccount`, awaited."""

    async def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """See :meth:`SyncAccount.route`."""

    async def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """See :meth:`SyncAccount.reserve`."""

    async def explain_route(self, task: str | None, model: str | None = None) -> Route:
        """See :meth:`SyncAccount.explain_route`."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request: an OpenAI-format body without its model, the task, and the requested model.

    The parameters that bound its cost are validated here, and ``body`` has them as :func:`settled` returns
    them.
    """

    kind: Kind
    body: Json = field(repr=False)
    task: str | None = None
    model: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        check(task=self.task, model=self.model)
        object.__setattr__(self, "body", settled(self.kind, self.body))
        messages, wanted = self.body.get("messages"), self.body.get("response_format")
        if self.kind == "embeddings":
            if not self.body.get("input"):
                raise InvalidInputError("'input' must be a text or a list of texts.")
        elif self.kind == "responses":
            _check_response(self.body)
        elif not isinstance(messages, list) or not messages:
            raise InvalidInputError("'messages' must be a list of at least one message.")
        elif not all(
            isinstance(message, Mapping) and isinstance(message.get("role"), str) for message in messages
        ):
            raise InvalidInputError("Each of 'messages' must be an object with a 'role'.")
        elif wanted is not None and not isinstance(wanted, Mapping):
            raise InvalidInputError("'response_format' must be an object such as {'type': 'json_object'}.")

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def needs(self) -> tuple[str, ...]:
        """The capabilities that a candidate must have."""
        body = self.body
        messages = body["input"] if self.kind == "responses" else body.get("messages")
        parts = [
            part
            for message in (messages if isinstance(messages, list) else ())
            for name in ("content", "output")
            if isinstance(message.get(name), Sequence)
            for part in message[name]
            if isinstance(part, Mapping)
        ]
        text = body.get("text") or {} if self.kind == "responses" else {}
        wanted_format = text.get("format") or body.get("response_format") or {}
        wanted = {
            "streaming": self.stream,
            "tools": bool(body.get("tools")),
            "json_schema": wanted_format.get("type") == "json_schema",
            "vision": any(part.get("type") in ("image_url", "input_image") for part in parts),
        }
        # Any provider of chats can serve responses.
        first = "embeddings" if self.kind == "embeddings" else "chat"
        return (first, *(name for name, needed in wanted.items() if needed))


def _check_response(body: Json) -> None:
    """Check the parts of a request for a response that the engine reads."""
    wanted = body.get("input")
    items = wanted if isinstance(wanted, list) else ()
    if (
        not wanted
        or not (items or isinstance(wanted, str))
        or not all(isinstance(it, Mapping) for it in items)
    ):
        raise InvalidInputError("'input' must be a text or a list of at least one item.")
    for name in ("text", "reasoning"):
        if not isinstance(body.get(name) or {}, Mapping):
            raise InvalidInputError(f"{name!r} must be an object.")
    if not isinstance((body.get("text") or {}).get("format") or {}, Mapping):
        raise InvalidInputError("'text.format' must be an object such as {'type': 'json_object'}.")
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(
        isinstance(tool, Mapping) and isinstance(tool.get("type"), str) for tool in tools
    ):
        raise InvalidInputError("'tools' must be a list of objects with a 'type'.")
    require_stateless(body)


@dataclass(frozen=True, slots=True)
class AskRoute:
    """Effect: resolve the route. The driver sends back the :class:`Route`."""

    task: str | None
    model: str | None
    needs: tuple[str, ...]
    demand: Demand


@dataclass(frozen=True, slots=True)
class Reserve:
    """Effect: reserve for a candidate of a metered route. The driver throws the SupaLLMError of a refusal."""

    demand: Demand
    task: str | None
    number: int
    candidate: Candidate = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Effect: drop the response and wait before the request is repeated."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send a request once, following no redirect. The driver sends back a :class:`Head`.

    Attributes:
        timeout: seconds until the head of the response.
    """

    request: WireRequest
    candidate: Candidate = field(repr=False)
    key: Secret
    timeout: float

    def headers(self) -> dict[str, str]:
        """The headers with the key. Call it where they are sent, and keep the result in no variable."""
        secret = self.key.reveal()
        scheme = self.candidate.key_scheme
        return {**self.request.headers, self.candidate.key_header: f"{scheme} {secret}" if scheme else secret}


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of a response; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """Effect: read the next piece of the response. The driver sends back bytes, or None at the end."""

    timeout: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream has its first content; from here on, the flow does not fall back."""

    request_id: UUID
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answered request. ``payload`` is empty for a stream, which yielded its chunks."""

    payload: Json = field(repr=False)
    candidate: Candidate
    receipt: Receipt


Effect = AskRoute | Reserve | Wait | Send | Read
Item = Opened | Json | Answer
Flow = Generator[Effect | Item, Any, None]
