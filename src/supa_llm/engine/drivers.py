"""The I/O of :mod:`supa_llm.engine.flow` over httpx: one driver for threads, one for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self, TypeVar, cast

import httpx

from supa_llm.engine.effects import (
    Answer,
    AskRoute,
    AsyncAccount,
    Effect,
    Flow,
    Head,
    Item,
    Limits,
    ModelCall,
    Read,
    Reserve,
    Send,
    SyncAccount,
    Wait,
)
from supa_llm.engine.flow import run
from supa_llm.engine.inflate import Inflater
from supa_llm.wire.base import FaultError

T = TypeVar("T")

#: Plain http is only for providers on this machine, and a proxy could read their keys.
_NO_PROXY = {"http://": None}
#: Connections of a client with concurrent requests. As many stay open as there can be, because httpcore may
#: close a surplus connection that it has just given to another request (encode/httpcore#1110).
POOL = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
#: Seconds that opening a connection may take, within the timeout of the attempt.
_CONNECT = 10.0


class Engine:
    """Runs requests on the candidates of a route, for threads.

    Args:
        client: an httpx client with proxies, certificates or limits; the caller closes it. Its headers,
            cookies, authentication and redirects are not used, so that a provider gets only its own.
        limits: the largest responses that are read.

    Example:
        >>> with Engine() as engine:
        ...     answer = engine.answer(account, ModelCall("chat", {"messages": messages}))
        >>> answer.payload, answer.receipt.answered_by.provider
    """

    def __init__(self, client: httpx.Client | None = None, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._owned = client is None
        self.client = client or self._open()

    def answer(self, account: SyncAccount, call: ModelCall) -> Answer:
        """The answer to a call without ``stream``.

        Raises:
            NoCandidateError: no candidate; the hint says what the user can do.
            ProviderError: BadRequestError, TotalTimeoutError, or every candidate failed.
        """
        answers = [item for item in self.items(account, call) if isinstance(item, Answer)]
        return answers[0]

    def items(self, account: SyncAccount, call: ModelCall) -> Iterator[Item]:
        """Run a call: yields Opened and the chunks of a stream, then the Answer. Closing it cancels."""
        flow: Flow = run(call, account, self._limits)
        exchange = _Exchange(self.client)
        resumer = _Resumer(flow)
        effect = resumer.step()
        try:
            while effect is not None:
                failure: BaseException | None = None
                if not isinstance(effect, AskRoute | Reserve | Wait | Send | Read):
                    yield effect
                else:
                    try:
                        if isinstance(effect, AskRoute):
                            resumer.send(
                                account.route(effect.task, effect.model, effect.needs, effect.demand)
                            )
                        elif isinstance(effect, Reserve):
                            account.reserve(effect.demand, effect.task, effect.number, effect.candidate)
                        elif isinstance(effect, Wait):
                            exchange.close()
                            time.sleep(effect.seconds)
                        elif isinstance(effect, Send):
                            resumer.send(exchange.send(effect))
                        else:
                            resumer.send(exchange.read(effect))
                    except BaseException as error:
                        failure = error
                effect = resumer.step(failure)
        finally:
            flow.close()
            exchange.close()

    def begin_child(self) -> None:
        """Share no connection with the parent of this forked process."""
        if self._owned:
            self.client = self._open()

    def _open(self) -> httpx.Client:
        return httpx.Client(timeout=None, mounts=_NO_PROXY, limits=POOL)  # noqa: S113 - each request has its own

    def close(self) -> None:
        """Close the connections that the engine opened."""
        if self._owned:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEngine:
    """The twin of :class:`Engine` for asyncio.

    Canceling the task cancels the request; its attempt is recorded as cancelled.
    """

    def __init__(self, client: httpx.AsyncClient | None = None, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._owned = client is None
        self.client = client or self._open()

    async def answer(self, account: AsyncAccount, call: ModelCall) -> Answer:
        """See :meth:`Engine.answer`."""
        answers = [item async for item in self.items(account, call) if isinstance(item, Answer)]
        return answers[0]

    async def items(self, account: AsyncAccount, call: ModelCall) -> AsyncIterator[Item]:
        """See :meth:`Engine.items`."""
        flow: Flow = run(call, account, self._limits)
        exchange = _AsyncExchange(self.client)
        resumer = _Resumer(flow)
        effect = resumer.step()
        try:
            while effect is not None:
                failure: BaseException | None = None
                if not isinstance(effect, AskRoute | Reserve | Wait | Send | Read):
                    yield effect
                else:
                    try:
                        if isinstance(effect, AskRoute):
                            resumer.send(
                                await account.route(effect.task, effect.model, effect.needs, effect.demand)
                            )
                        elif isinstance(effect, Reserve):
                            await account.reserve(effect.demand, effect.task, effect.number, effect.candidate)
                        elif isinstance(effect, Wait):
                            await exchange.aclose()
                            await asyncio.sleep(effect.seconds)
                        elif isinstance(effect, Send):
                            resumer.send(await exchange.send(effect))
                        else:
                            resumer.send(await exchange.read(effect))
                    except BaseException as error:
                        failure = error
                effect = resumer.step(failure)
        finally:
            flow.close()
            await exchange.aclose()

    def begin_child(self) -> None:
        """See :meth:`Engine.begin_child`."""
        if self._owned:
            self.client = self._open()

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=None, mounts=_NO_PROXY, limits=POOL)  # noqa: S113 - each request has its own

    async def aclose(self) -> None:
        """Close the connections that the engine opened."""
        if self._owned:
            await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Exchange:
    """The HTTP exchanges of one request, one after the other."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes]

    def send(self, send: Send) -> Head:
        self.close()
        request = _guarded(lambda: _request(send, read=send.timeout))
        options: Any = {"stream": True, "auth": None, "follow_redirects": False}
        response = _guarded(lambda: self._client.send(request, **options))
        self._response, self._pieces = response, _pieces(response)
        _Reading.watch(response)
        return _head(response)

    def read(self, read: Read) -> bytes | None:
        with _Reading(read.timeout):
            return _guarded(lambda: next(self._pieces, None))

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class _Reading:
    """Limits the time of one read of a body in this thread.

    httpcore fixes the timeout of all reads when a body begins, so its network streams get another ``read``.
    It uses the time that this thread's read has left, and httpcore's timeout at any other time.
    """

    _here = threading.local()

    def __init__(self, timeout: float) -> None:
        self._until = time.monotonic() + timeout

    def __enter__(self) -> None:
        self._here.until = self._until

    def __exit__(self, *_: object) -> None:
        self._here.until = None

    @classmethod
    def watch(cls, response: httpx.Response) -> None:
        """Limit the reads of the response's connection."""
        stream = response.extensions.get("network_stream")  # a transport of the app's may have none
        plain = getattr(stream, "read", None)
        if plain is None or hasattr(plain, "limited"):
            return

        def read(max_bytes: int, timeout: float | None = None) -> bytes:
            until = getattr(cls._here, "until", None)
            data: bytes = plain(max_bytes, timeout if until is None else max(until - time.monotonic(), 0.001))
            return data

        read.limited = True  # type: ignore[attr-defined]
        stream.read = read  # type: ignore[union-attr]


class _AsyncExchange:
    """The HTTP exchanges of one request, one after the other."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._response: httpx.Response | None = None
        self._pieces: AsyncGenerator[bytes, None]

    async def send(self, send: Send) -> Head:
        await self.aclose()
        request = _guarded(lambda: _request(send, read=None))
        options: Any = {"stream": True, "auth": None, "follow_redirects": False}
        response = await async_guarded(self._client.send(request, **options), send.timeout)
        self._response, self._pieces = response, _async_pieces(response)
        return _head(response)

    async def read(self, read: Read) -> bytes | None:
        return await async_guarded(anext(self._pieces, None), read.timeout)

    async def aclose(self) -> None:
        if self._response is not None:
            response, self._response = self._response, None
            await self._pieces.aclose()
            await response.aclose()


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    """The decompressed body, in pieces of bounded size; httpx would decompress all that it has received."""
    inflater = Inflater(response.headers.get("content-encoding", ""))
    for raw in cast(httpx.SyncByteStream, response.stream):
        yield from inflater.pieces(raw)


async def _async_pieces(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The twin of :func:`_pieces`."""
    inflater = Inflater(response.headers.get("content-encoding", ""))
    async for raw in cast(httpx.AsyncByteStream, response.stream):
        for piece in inflater.pieces(raw):
            yield piece


class _Resumer:
    """Resumes a flow with the result of its last effect.

    The result is never in a local variable, because crash reporters show those of each frame and a provider
    may quote a key.
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
    """The request with its key; built without the client, which might add headers or cookies."""
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


def _guarded(do: Callable[[], T]) -> T:
    """Call ``do``; raise its error as a FaultError without it, because it holds the request and key.

    A closed client or event loop raises RuntimeError, whose frames hold the request too.
    """
    try:
        return do()
    except FaultError:
        raise
    except Exception as error:
        fault = _fault(error)
    raise fault


async def async_guarded(doing: Awaitable[T], timeout: float) -> T:
    """The twin of :func:`_guarded` for an awaitable that may take ``timeout`` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await doing
    except FaultError:
        raise
    except Exception as error:
        fault = _fault(error)
    raise fault


def _fault(error: Exception) -> FaultError:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return FaultError("timeout", "")
    if isinstance(error, httpx.LocalProtocolError | UnicodeError):
        return FaultError("auth", "the key holds a character that no HTTP header can carry")
    if isinstance(error, httpx.TransportError):
        # A reused connection may be closed at any time.
        closed = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
        return FaultError("connection", str(error), closed=closed)
    if isinstance(error, RuntimeError) and not isinstance(error, httpx.StreamError):
        return FaultError("connection", "the HTTP client is closed, or belongs to another event loop")
    return FaultError("connection", "the request cannot be sent")
