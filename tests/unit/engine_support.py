"""Shared by the tests of engine and drop-in: an account and providers in memory, and both engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx

from supa_llm.client.answers import AsyncChatStream, ChatAnswer, ChatStream, Embeddings
from supa_llm.client.libraries import AsyncLibraries, Libraries
from supa_llm.engine import AsyncEngine, Engine, ModelCall, Retries, Timeouts
from supa_llm.errors import SupaLLMError
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate, Demand, Route
from supa_llm.values.secrets import Secret

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
KEY_ID = UUID(int=1)
NO_RETRIES = Retries(most=0)


def candidate(provider: str = "one", **changed: Any) -> Candidate:
    """A candidate of the OpenAI format whose key is ``sk-secret-<provider>``."""
    values: dict[str, Any] = {
        "model": "m",
        "reason": "default",
        "key_source": "user",
        "key_id": KEY_ID,
        "key_hint": "…abcd",
        "wire_format": "openai",
        "base_url": f"https://{provider}.test/v1",
        "key_header": "authorization",
        "key_scheme": "Bearer",
        "key": Secret(f"sk-secret-{provider}"),
    }
    return Candidate(provider=provider, **{**values, **changed})


@dataclass
class _Account:
    """An account in memory that keeps each call."""

    candidates: tuple[Candidate, ...]
    operator_keys: dict[str, Secret] = field(default_factory=dict)
    failure: Exception | None = None
    metered: bool = False
    max_output_tokens: int | None = None
    refusals: dict[str, SupaLLMError] = field(default_factory=dict)
    asked: list[tuple[str | None, str | None, tuple[str, ...]]] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    reserved: list[tuple[int, str]] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    records: list[tuple[UUID, str | None, Attempt]] = field(default_factory=list)
    forgotten: int = 0
    refused: list[str] = field(default_factory=list)

    def operator_key(self, provider: str) -> Secret | None:
        return self.operator_keys.get(provider)

    def record(self, request_id: UUID, task: str | None, attempt: Attempt) -> None:
        self.records.append((request_id, task, attempt))

    def release(self, request_id: UUID) -> None:
        self.released.append(request_id)

    def refuse(self, code: str) -> None:
        self.refused.append(code)

    def forget_route(self) -> None:
        self.forgotten += 1

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for _, _, attempt in self.records]

    def resolve(
        self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand | None = None
    ) -> Route:
        self.asked.append((task, model, tuple(needs)))
        if demand is not None:
            self.demands.append(demand)
        if self.failure:
            raise self.failure
        candidates = tuple(replace(one, metered=self.metered) for one in self.candidates)
        return Route(task, candidates, max_output_tokens=self.max_output_tokens)

    def hold(self, number: int, candidate: Candidate) -> None:
        if refusal := self.refusals.get(candidate.provider):
            raise refusal
        self.reserved.append((number, candidate.provider))


class MemoryAccount(_Account):
    """For threads."""

    def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        return self.resolve(task, model, needs, demand)

    def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        self.hold(number, candidate)

    def explain_route(self, task: str | None, model: str | None = None) -> Route:
        return self.resolve(task, model, ("chat",))


class AsyncMemoryAccount(_Account):
    """For an event loop."""

    async def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        return self.resolve(task, model, needs, demand)

    async def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        self.hold(number, candidate)

    async def explain_route(self, task: str | None, model: str | None = None) -> Route:
        return self.resolve(task, model, ("chat",))


class MemoryUser(Libraries):
    """A user of a SupaLLM, whose requests an engine runs for an account in memory."""

    def __init__(self, account: MemoryAccount, engine: Engine) -> None:
        self.account = account
        self._made = engine

    @property
    def _engine(self) -> Engine:
        return self._made

    def _account(self, team: UUID | str | None = None) -> MemoryAccount:
        return self.account

    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        return Timeouts()

    @property
    def _retries(self) -> Retries:
        return Retries()


class AsyncMemoryUser(AsyncLibraries):
    """A user of an AsyncSupaLLM, likewise."""

    def __init__(self, account: AsyncMemoryAccount, engine: AsyncEngine) -> None:
        self.account = account
        self._made = engine

    @property
    def _engine(self) -> AsyncEngine:
        return self._made

    def _account(self, team: UUID | str | None = None) -> AsyncMemoryAccount:
        return self.account

    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        return Timeouts()

    @property
    def _retries(self) -> Retries:
        return Retries()


Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class Web:
    """Providers in memory: host → replies in order. The last reply repeats."""

    replies: dict[str, list[Reply]]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        replies = self.replies[request.url.host.removesuffix(".test")]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, httpx.Response):
            return reply(request)
        if not isinstance(reply.stream, httpx.ByteStream):
            return reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)


class Both:
    """One interface to both engines, so that each test runs for threads and for an event loop.

    Without ``retries``, a request has none.
    """

    def __init__(self, asynchronous: bool) -> None:
        self.asynchronous = asynchronous

    def account(self, *candidates: Candidate, **values: Any) -> Any:
        return (AsyncMemoryAccount if self.asynchronous else MemoryAccount)(candidates, **values)

    def engine(self, web: Callable[[httpx.Request], httpx.Response], **client: Any) -> Any:
        transport = httpx.MockTransport(web)
        if self.asynchronous:
            return AsyncEngine(httpx.AsyncClient(transport=transport, **client))
        return Engine(httpx.Client(transport=transport, **client))

    async def chat(
        self, engine: Any, account: Any, body: dict[str, Any] = HELLO, schema: Any = None, **options: Any
    ) -> ChatAnswer:
        answer = engine.answer(account, ModelCall("chat", body, **{"retries": NO_RETRIES, **options}))
        return ChatAnswer(await answer if self.asynchronous else answer, schema)

    async def embed(self, engine: Any, account: Any, body: dict[str, Any], **options: Any) -> Embeddings:
        answer = engine.answer(account, ModelCall("embeddings", body, **{"retries": NO_RETRIES, **options}))
        return Embeddings(await answer if self.asynchronous else answer)

    def stream(self, engine: Any, account: Any, body: dict[str, Any] = HELLO, **options: Any) -> Any:
        """A stream that sends its request when it is read."""
        options = {"retries": NO_RETRIES, **options}
        items = engine.items(account, ModelCall("chat", {**body, "stream": True}, **options))
        return AsyncChatStream(items) if self.asynchronous else ChatStream(items)

    async def pieces(self, stream: Any, limit: int = 1_000) -> list[str]:
        """Up to ``limit`` pieces of a stream's text. Closes the stream afterwards."""
        taken: list[str] = []
        if self.asynchronous:
            async with stream:
                async for piece in stream:
                    taken.append(piece)
                    if len(taken) == limit:
                        break
        else:
            with stream:
                for piece in stream:
                    taken.append(piece)
                    if len(taken) == limit:
                        break
        return taken

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """The result of a method of either client."""
        called = method(**arguments)
        return await called if self.asynchronous else called

    def body(self, pieces: Sequence[bytes | Exception]) -> Any:
        """A response body that arrives in pieces, or breaks."""
        return _AsyncPieces(pieces) if self.asynchronous else _Pieces(pieces)


class _Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: Sequence[bytes | Exception]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class _AsyncPieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes | Exception]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def answered(text: str = "Hi", **message: Any) -> httpx.Response:
    """A complete answer in the OpenAI format."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": "stop",
    }
    return httpx.Response(200, json={"id": "c", "model": "m-1", "choices": [choice], "usage": USAGE})


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(text: str | None = None, finish: str | None = None) -> bytes:
    made = {"role": "assistant", "content": ""} if text is None and finish is None else {}
    content = {"content": text} if text is not None else made
    return event(
        {"id": "c", "choices": [{"index": 0, "delta": content, "finish_reason": finish}], "usage": None}
    )


#: A stream in the OpenAI format, with one event per piece.
STREAM = [
    delta(),
    delta("Hel"),
    delta("lo"),
    delta(finish="stop"),
    event({"id": "c", "choices": [], "usage": USAGE}),
    b"data: [DONE]\n\n",
]


def fast(**changed: float) -> Timeouts:
    return Timeouts(**{"total": 5.0, "attempt": 2.0, "idle": 1.0, **changed})
