"""A user's requests from libraries that use the official openai client, or make one of their own.

A library may make both a synchronous and an asynchronous client. Each gets an HTTP client that opens no
connection, so that no call leaves the engine, whatever keys and addresses are in the environment.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from supa_llm.client import dropin
from supa_llm.client.chat import AsyncChat, Chat
from supa_llm.client.dropin import AsyncEngineTransport, EngineTransport, OnReceipt
from supa_llm.engine import Retries, Timeouts
from supa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class _Options(ABC):
    """The arguments of libraries, for a synchronous and an asynchronous client alike."""

    @abstractmethod
    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts: ...

    @abstractmethod
    def _transports(
        self, task: str | None, team: UUID | str | None, on_receipt: OnReceipt | None
    ) -> tuple[httpx.BaseTransport, httpx.AsyncBaseTransport]:
        """The transports for synchronous and for asynchronous calls."""

    def langchain_options(
        self,
        *,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> dict[str, Any]:
        """The arguments that make LangChain's ``ChatOpenAI`` and ``OpenAIEmbeddings`` use the user's keys.

            model = ChatOpenAI(model="auto", **llm.langchain_options(task="code"))

        No call of that object leaves supa-llm, even if ``OPENAI_API_KEY`` is in the environment. From a
        :class:`SupaLLM`, asynchronous calls run in threads. From an :class:`AsyncSupaLLM`, synchronous calls
        raise an error, because they would block the event loop.

        Args:
            task: task of the requests.
            team: team of the requests, as in :meth:`chat`.
            on_receipt: called with the receipt of each request when it ends, in the thread of the request.
        """
        client, async_client = self._http_clients(task, team, on_receipt)
        return {
            **dropin.client_options(self._timeouts(None, None), {}),
            "http_client": client,
            "http_async_client": async_client,
        }

    def llama_index_options(
        self,
        *,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> dict[str, Any]:
        """The arguments that make LlamaIndex's ``OpenAI`` and ``OpenAILike`` use the user's keys.

            model = OpenAILike(model="auto", is_chat_model=True, **llm.llama_index_options(task="code"))

        See :meth:`langchain_options`, which returns the same under LangChain's names.
        """
        client, async_client = self._http_clients(task, team, on_receipt)
        options = dropin.client_options(self._timeouts(None, None), {})
        return {
            "api_base": options.pop("base_url"),
            **options,
            "http_client": client,
            "async_http_client": async_client,
        }

    def _http_clients(
        self, task: str | None, team: UUID | str | None, on_receipt: OnReceipt | None
    ) -> tuple[httpx.Client, httpx.AsyncClient]:
        transport, async_transport = self._transports(task, team, on_receipt)
        return (
            httpx.Client(transport=transport, trust_env=False),
            httpx.AsyncClient(transport=async_transport, trust_env=False),
        )


class Libraries(_Options, Chat):
    """A user's requests, also from other libraries."""

    def async_openai(
        self,
        *,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
        **options: Any,
    ) -> AsyncOpenAI:
        """The official ``openai`` client for asyncio, which some libraries need, such as pydantic-ai.

            client = llm.async_openai(task="code")
            agent = Agent(OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=client)))

        See :meth:`openai` for the arguments and errors. Each request runs in a thread, and ``on_receipt`` is
        called there. Canceling a task does not cancel a request that has not begun to answer.
        """
        transport = self._transport(task, team, on_receipt, dropin.retries_of(options, self._retries))
        return dropin.async_client(_ThreadedTransport(transport), self._timeouts(None, None), options)

    def _transports(
        self, task: str | None, team: UUID | str | None, on_receipt: OnReceipt | None
    ) -> tuple[EngineTransport, _ThreadedTransport]:
        transport = self._transport(task, team, on_receipt, self._retries)
        return transport, _ThreadedTransport(transport)

    def _transport(
        self, task: str | None, team: UUID | str | None, on_receipt: OnReceipt | None, retries: Retries
    ) -> EngineTransport:
        timeouts = self._timeouts(None, None)
        return EngineTransport(
            self._account,
            self._engine,
            timeouts=timeouts,
            retries=retries,
            task=task,
            team=team,
            on_receipt=on_receipt,
        )


class AsyncLibraries(_Options, AsyncChat):
    """The twin of :class:`Libraries`."""

    def _transports(
        self, task: str | None, team: UUID | str | None, on_receipt: OnReceipt | None
    ) -> tuple[_RefusingTransport, AsyncEngineTransport]:
        transport = AsyncEngineTransport(
            self._account,
            self._engine,
            timeouts=self._timeouts(None, None),
            retries=self._retries,
            task=task,
            team=team,
            on_receipt=on_receipt,
        )
        return _RefusingTransport(), transport


class _RefusingTransport(httpx.BaseTransport):
    """Refuses synchronous calls of an asynchronous client, which would block its event loop."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        error = ConfigurationError(
            "AsyncSupaLLM cannot serve a synchronous call.",
            hint="Call the library's asynchronous method, such as ainvoke, or use SupaLLM.",
        )
        return dropin.error_response(error, request)


class _ThreadedTransport(httpx.AsyncBaseTransport):
    """Serves asynchronous calls of a synchronous client: its engine runs in threads."""

    def __init__(self, transport: EngineTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        running = asyncio.ensure_future(asyncio.to_thread(self._transport.handle_request, request))
        try:
            response = await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_discard)
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _ThreadedBody(response.stream)
        return response


class _ThreadedBody(httpx.AsyncByteStream):
    """A body that is read in threads."""

    def __init__(self, body: httpx.SyncByteStream) -> None:
        self._body, self._pieces = body, iter(body)
        #: A thread that reads goes on when its task is canceled, and closing waits for it.
        self._reading = threading.Lock()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await asyncio.to_thread(self._next)) is not None:
            yield piece

    def _next(self) -> bytes | None:
        with self._reading:
            return next(self._pieces, None)

    async def aclose(self) -> None:
        canceled = self._reading.locked()
        closing = asyncio.get_running_loop().run_in_executor(None, self._close)
        if not canceled:  # otherwise the provider may be silent for long
            await closing

    def _close(self) -> None:
        with self._reading:
            self._body.close()


def _discard(running: asyncio.Future[httpx.Response]) -> None:
    """End a request whose task was canceled before its answer began."""
    if not running.cancelled() and running.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, running.result().close)
