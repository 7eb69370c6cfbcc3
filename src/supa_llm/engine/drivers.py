"""The I/O of :mod:`supa_llm.engine.flow`: once for threads, once for an event loop, over httpx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self, TypeVar

import httpx

from supa_llm.client.answers import AsyncChatStream, ChatAnswer, ChatStream, Embeddings
from supa_llm.engine.effects import (
    Answer,
    AskRoute,
    AsyncPolicy,
    Effect,
    Flow,
    Head,
    Item,
    ModelCall,
    Policy,
    Read,
    Reserve,
    Send,
    Timeouts,
)
from supa_llm.engine.flow import run
from supa_llm.wire.base import FaultError, Json

T = TypeVar("T")

#: Plain http is for providers on this very machine: no proxy gets to read their keys.
_NO_PROXY = {"http://": None}
#: Seconds that making a connection may take, within the time-out of the attempt.
_CONNECT = 10.0


class Engine:
    """Runs requests over a route's candidates, for threads.

    Args:
        client: the httpx client to use, to set proxies, certificates or limits. It is the caller's to close.
            Its headers, cookies, authentication and redirects are not used: a provider sees only what is
            meant for it.
        timeouts: for requests that bring none of their own.

    Example:
        >>> with Engine() as engine:
        ...     answer = engine.chat(policy, {"messages": [{"role": "user", "content": "Hello"}]})
        >>> answer.text, answer.receipt.answered_by.provider
    """

    def __init__(self, client: httpx.Client | None = None, *, timeouts: Timeouts | None = None) -> None:
        self.client = client or httpx.Client(timeout=None, mounts=_NO_PROXY)  # noqa: S113 - requests bring theirs
        self.timeouts = timeouts or Timeouts()
        self._owned = client is None

    def chat(
        self,
        policy: Policy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        schema: Any = None,
    ) -> ChatAnswer:
        """Run one OpenAI-format chat body (without ``model`` and ``stream``) and wait for its answer.

        Args:
            policy: says which candidates there are, and takes note of each attempt.
            task: what the request is for; the user may have chosen a model for it.
            model: an asked-for ``provider/model``, or a bare model.
            schema: the pydantic model or JSON schema that ``ChatAnswer.parsed`` follows.

        Raises:
            InvalidInputError: the body is none.
            NoCandidateError: there is nobody to ask; the hint says what this user can do.
            ProviderError: BadRequestError, TotalTimeoutError, or all candidates failed.
        """
        call = ModelCall("chat", {**body, "stream": False}, task, model, timeouts or self.timeouts)
        return ChatAnswer(self.answer(policy, call), schema)

    def stream(
        self,
        policy: Policy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        schema: Any = None,
    ) -> ChatStream:
        """The same as a stream: nothing is sent before it is entered or iterated, which raises the errors."""
        call = ModelCall("chat", {**body, "stream": True}, task, model, timeouts or self.timeouts)
        return ChatStream(self.items(policy, call), schema)

    def embed(
        self,
        policy: Policy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> Embeddings:
        """Run one OpenAI-format embeddings body (without ``model``). Raises the same as :meth:`chat`."""
        call = ModelCall("embeddings", body, task, model, timeouts or self.timeouts)
        return Embeddings(self.answer(policy, call))

    def answer(self, policy: Policy, call: ModelCall) -> Answer:
        """The answer to a call that is no stream."""
        answers = [item for item in self.items(policy, call) if isinstance(item, Answer)]
        return answers[0]

    def items(self, policy: Policy, call: ModelCall) -> Iterator[Item]:
        """Drive the flow of a call: Opened and chunks of a stream, then the Answer. Closing it cancels."""
        flow: Flow = run(call, policy)
        exchange = _Exchange(self.client)
        turn = _Turn(flow)
        effect = turn.step()
        try:
            while effect is not None:
                failure: BaseException | None = None
                if not isinstance(effect, AskRoute | Reserve | Send | Read):
                    yield effect
                else:
                    try:
                        if isinstance(effect, AskRoute):
                            turn.send(policy.route(effect.task, effect.model, effect.needs, effect.demand))
                        elif isinstance(effect, Reserve):
                            policy.reserve(effect.demand, effect.task, effect.number, effect.candidate)
                        elif isinstance(effect, Send):
                            turn.send(exchange.send(effect))
                        else:
                            turn.send(exchange.read(effect))
                    except BaseException as error:
                        failure = error
                effect = turn.step(failure)
        finally:
            flow.close()
            exchange.close()

    def close(self) -> None:
        """Close the connections that the engine opened."""
        if self._owned:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEngine:
    """Runs requests over a route's candidates, for an event loop. The same as :class:`Engine` otherwise.

    Cancelling the task cancels the request; its attempt is on record as cancelled.
    """

    def __init__(self, client: httpx.AsyncClient | None = None, *, timeouts: Timeouts | None = None) -> None:
        self.client = client or httpx.AsyncClient(timeout=None, mounts=_NO_PROXY)  # noqa: S113 - requests bring theirs
        self.timeouts = timeouts or Timeouts()
        self._owned = client is None

    async def chat(
        self,
        policy: AsyncPolicy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        schema: Any = None,
    ) -> ChatAnswer:
        """See :meth:`Engine.chat`."""
        call = ModelCall("chat", {**body, "stream": False}, task, model, timeouts or self.timeouts)
        return ChatAnswer(await self.answer(policy, call), schema)

    def stream(
        self,
        policy: AsyncPolicy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        schema: Any = None,
    ) -> AsyncChatStream:
        """See :meth:`Engine.stream`."""
        call = ModelCall("chat", {**body, "stream": True}, task, model, timeouts or self.timeouts)
        return AsyncChatStream(self.items(policy, call), schema)

    async def embed(
        self,
        policy: AsyncPolicy,
        body: Json,
        *,
        task: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> Embeddings:
        """See :meth:`Engine.embed`."""
        call = ModelCall("embeddings", body, task, model, timeouts or self.timeouts)
        return Embeddings(await self.answer(policy, call))

    async def answer(self, policy: AsyncPolicy, call: ModelCall) -> Answer:
        """See :meth:`Engine.answer`."""
        answers = [item async for item in self.items(policy, call) if isinstance(item, Answer)]
        return answers[0]

    async def items(self, policy: AsyncPolicy, call: ModelCall) -> AsyncIterator[Item]:
        """See :meth:`Engine.items`."""
        flow: Flow = run(call, policy)
        exchange = _AsyncExchange(self.client)
        turn = _Turn(flow)
        effect = turn.step()
        try:
            while effect is not None:
                failure: BaseException | None = None
                if not isinstance(effect, AskRoute | Reserve | Send | Read):
                    yield effect
                else:
                    try:
                        if isinstance(effect, AskRoute):
                            turn.send(
                                await policy.route(effect.task, effect.model, effect.needs, effect.demand)
                            )
                        elif isinstance(effect, Reserve):
                            await policy.reserve(effect.demand, effect.task, effect.number, effect.candidate)
                        elif isinstance(effect, Send):
                            turn.send(await exchange.send(effect))
                        else:
                            turn.send(await exchange.read(effect))
                    except BaseException as error:
                        failure = error
                effect = turn.step(failure)
        finally:
            flow.close()
            await exchange.aclose()

    async def aclose(self) -> None:
        """Close the connections that the engine opened."""
        if self._owned:
            await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Exchange:
    """One HTTP exchange after the other, of one request.

    httpx has no time-out for a whole response here, so the flow looks at the clock after each piece. The
    time-out of reading is fixed when the body begins: for a stream it is the longer of the attempt's and the
    idle one.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes]

    def send(self, send: Send) -> Head:
        self.close()
        request = _sound(lambda: _request(send, read=send.timeout))
        options: Any = {"stream": True, "auth": None, "follow_redirects": False}
        response = _sound(lambda: self._client.send(request, **options))
        if send.idle is not None:
            request.extensions["timeout"]["read"] = max(send.timeout, send.idle)
        self._response, self._pieces = response, response.iter_bytes()
        return _head(response)

    def read(self, read: Read) -> bytes | None:
        return _sound(lambda: next(self._pieces, None))

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class _AsyncExchange:
    """One HTTP exchange after the other, of one request; time-outs are exact."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes]

    async def send(self, send: Send) -> Head:
        await self.aclose()
        request = _sound(lambda: _request(send, read=None))
        options: Any = {"stream": True, "auth": None, "follow_redirects": False}
        response = await async_sound(self._client.send(request, **options), send.timeout)
        self._response, self._pieces = response, response.aiter_bytes()
        return _head(response)

    async def read(self, read: Read) -> bytes | None:
        return await async_sound(anext(self._pieces, None), read.timeout)

    async def aclose(self) -> None:
        if self._response is not None:
            response, self._response = self._response, None
            await response.aclose()


class _Turn:
    """Resumes a flow with what came of its last effect.

    That passes through no local variable: crash reporters show those of each frame, and a provider may
    quote a key.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._inbox: list[Any] = []

    def send(self, result: Any) -> None:
        self._inbox.append(result)

    def step(self, error: BaseException | None = None) -> Effect | Item | None:
        """The flow's next effect or item; None at its end."""
        try:
            if error is not None:
                return self._flow.throw(error)
            return self._flow.send(self._inbox.pop() if self._inbox else None)
        except StopIteration:
            return None


def _request(send: Send, read: float | None) -> httpx.Request:
    """The request with its key; built apart from the client, which might add headers or cookies to it."""
    return httpx.Request(
        "POST",
        send.request.url,
        headers=send.headers(),
        content=send.request.content,
        extensions={
            "timeout": {"connect": min(_CONNECT, send.timeout), "read": read, "write": read, "pool": read}
        },
    )


def _head(response: httpx.Response) -> Head:
    return Head(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def _sound(do: Callable[[], T]) -> T:
    """What ``do`` returns. An httpx error becomes a fault without it: it holds the request, key and all.

    A RuntimeError is that of a closed client or event loop, whose frames hold the request, too.
    """
    try:
        return do()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RuntimeError) as error:
        fault = _fault(error)
    raise fault


async def async_sound(doing: Awaitable[T], timeout: float) -> T:
    """The same for an awaitable that may take ``timeout`` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await doing
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError, RuntimeError) as error:
        fault = _fault(error)
    raise fault


def _fault(error: Exception) -> FaultError:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return FaultError("timeout", "")
    if isinstance(error, httpx.LocalProtocolError | UnicodeError):
        return FaultError("auth", "the key holds a character that no HTTP header can carry")
    if isinstance(error, httpx.DecodingError):
        return FaultError("invalid_response", "the answer cannot be decompressed")
    if isinstance(error, httpx.TransportError):
        return FaultError("connection", str(error))
    if isinstance(error, RuntimeError) and not isinstance(error, httpx.StreamError):
        return FaultError("connection", "the HTTP client is closed, or belongs to another event loop")
    return FaultError("connection", "the request cannot be sent")
