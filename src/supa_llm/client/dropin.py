"""The official ``openai`` client with the engine as its HTTP transport.

Code and libraries that take an OpenAI client run unchanged, each user with their own keys and fallbacks. The
httpx transports open no connection: they pass the request to the engine and return its answer.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from supa_llm.client.answers import AsyncChatStream, ChatStream
from supa_llm.engine import (
    Answer,
    AsyncAccount,
    AsyncEngine,
    Engine,
    ModelCall,
    Retries,
    SyncAccount,
    Timeouts,
)
from supa_llm.errors import (
    BadRequestError,
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    ProviderError,
    SupaLLMError,
    TotalTimeoutError,
)
from supa_llm.values.receipts import Receipt
from supa_llm.values.routes import Candidate, Route
from supa_llm.wire.base import Json, Kind, is_event

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

OnReceipt = Callable[[Receipt], object]

#: This host cannot exist (RFC 2606), so a request that bypasses the transport goes nowhere.
BASE_URL = "https://supa-llm.invalid/v1"
#: Codes for which existing code checks.
_OPENAI_CODES = {"context_too_long": "context_length_exceeded"}
_SUPPORTED = "POST /chat/completions, POST /responses, POST /embeddings, GET /models and GET /models/{model}"
_KINDS: Mapping[str, Kind] = {
    "/chat/completions": "chat",
    "/embeddings": "embeddings",
    "/responses": "responses",
}
_OWN_CLIENT = "Use a client of the provider with a key of its own, such as openai.OpenAI(api_key=…)."
#: The first part of a path that is not supported → what to use instead.
_INSTEAD: Mapping[str, str] = {
    "audio": f"To send audio, use an 'input_audio' part of a chat. For speech and transcripts: {_OWN_CLIENT}",
    "batches": f"Send the requests one by one, with service_tier='flex' for a lower price. {_OWN_CLIENT}",
    "completions": "Use client.chat.completions or client.responses.",
    "conversations": "Send the earlier items in the 'input' of client.responses.create().",
    "files": f"Send a file with the request, as the 'file_data' of an 'input_file' part. {_OWN_CLIENT}",
    "images": f"To send images, use 'input_image' parts of client.responses. To generate them: {_OWN_CLIENT}",
    "responses": "Responses are not stored. Send the earlier items in 'input'.",
    "threads": "Send the earlier items in the 'input' of client.responses.create().",
}


def openai(
    new_account: Callable[[UUID | str | None], SyncAccount],
    engine: Engine,
    *,
    timeouts: Timeouts,
    retries: Retries,
    task: str | None = None,
    team: UUID | str | None = None,
    on_receipt: OnReceipt | None = None,
    **options: Any,
) -> OpenAI:
    """An ``openai.OpenAI`` client that runs through the engine.

    ``model="auto"`` leaves the model to the route; ``provider/model`` or a bare model requests that model.
    The header ``x-llm-task`` (``extra_headers={"x-llm-task": "code"}``) sets the task of one request, and
    ``x-llm-team`` its team. A timeout on the client or on a request limits the whole request, in seconds.

    Responses carry ``x-request-id`` (``completion._request_id``), ``x-llm-provider``, ``x-llm-model`` and
    ``x-llm-key-source``. Errors are those of the openai package; their ``body`` has supa-llm's
    ``code`` and ``hint``.

    Args:
        new_account: creates the account of each request, from its team.
        timeouts: for requests that have none of their own.
        retries: unless ``options`` have ``max_retries``.
        task: task of the requests.
        team: team of the requests.
        on_receipt: called with the receipt of each request when it ends, answered or not; not for a stream
            that is closed before its end.
        options: arguments of ``openai.OpenAI``. ``max_retries`` is that of the engine, because the openai
            package makes no retries.

    Raises:
        ConfigurationError: the ``openai`` package is not installed (code ``missing_extra``).

    Example:
        >>> client = openai(lambda team: account, engine, timeouts=Timeouts(), retries=Retries(), task="code")
        >>> client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])
    """
    try:
        from openai import OpenAI
    except ImportError:
        raise _no_openai() from None
    retries = retries_of(options, retries)
    transport = EngineTransport(
        new_account,
        engine,
        timeouts=timeouts,
        retries=retries,
        task=task,
        team=team,
        on_receipt=on_receipt,
    )
    # It accepts an httpx client too, although it is typed for httpx2.
    client: Any = httpx.Client(transport=transport, trust_env=False)
    return OpenAI(http_client=client, **client_options(timeouts, options))


def async_openai(
    new_account: Callable[[UUID | str | None], AsyncAccount],
    engine: AsyncEngine,
    *,
    timeouts: Timeouts,
    retries: Retries,
    task: str | None = None,
    team: UUID | str | None = None,
    on_receipt: OnReceipt | None = None,
    **options: Any,
) -> AsyncOpenAI:
    """An ``openai.AsyncOpenAI`` client that runs through the engine. See :func:`openai`."""
    retries = retries_of(options, retries)
    transport = AsyncEngineTransport(
        new_account,
        engine,
        timeouts=timeouts,
        retries=retries,
        task=task,
        team=team,
        on_receipt=on_receipt,
    )
    return async_client(transport, timeouts, options)


def async_client(
    transport: httpx.AsyncBaseTransport, timeouts: Timeouts, options: Mapping[str, Any]
) -> AsyncOpenAI:
    """An ``openai.AsyncOpenAI`` client that sends its requests to a transport."""
    try:
        from openai import AsyncOpenAI
    except ImportError:
        raise _no_openai() from None
    client: Any = httpx.AsyncClient(transport=transport, trust_env=False)
    return AsyncOpenAI(http_client=client, **client_options(timeouts, options))


def client_options(timeouts: Timeouts, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an openai client: the caller's ``options``, and supa-llm's."""
    # The openai package requires a key; nothing reads this one.
    defaults = {"api_key": "supa-llm", "timeout": timeouts.total}
    return {**defaults, **options, "base_url": BASE_URL, "max_retries": 0}


def retries_of(options: Mapping[str, Any], retries: Retries) -> Retries:
    """The engine's retries of an openai client: ``max_retries`` of its options, if it is there."""
    return replace(retries, most=options["max_retries"]) if "max_retries" in options else retries


class EngineTransport(httpx.BaseTransport):
    """Serves OpenAI's HTTP API from an engine. See :func:`openai` for the arguments."""

    def __init__(
        self,
        new_account: Callable[[UUID | str | None], SyncAccount],
        engine: Engine,
        *,
        timeouts: Timeouts,
        retries: Retries,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> None:
        self._new_account, self._engine, self._timeouts = new_account, engine, timeouts
        self._retries, self._task, self._team, self._on_receipt = retries, task, team, on_receipt

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        try:
            account = self._new_account(request.headers.get("x-llm-team") or self._team)
            requested = _Requested.read(request, self._task, self._timeouts, self._retries)
            if requested.call is None:
                return requested.models(account.explain_route(requested.task, requested.model))
            if not requested.call.stream:
                answer = self._engine.answer(account, requested.call)
                return requested.respond(answer, self._on_receipt)
            stream = ChatStream(self._engine.items(account, requested.call)).open()
            return requested.stream(stream, _Body(stream, self._on_receipt))
        except SupaLLMError as error:
            return error_response(error, request, self._on_receipt)


class AsyncEngineTransport(httpx.AsyncBaseTransport):
    """Serves OpenAI's HTTP API from an engine. See :func:`openai` for the arguments."""

    def __init__(
        self,
        new_account: Callable[[UUID | str | None], AsyncAccount],
        engine: AsyncEngine,
        *,
        timeouts: Timeouts,
        retries: Retries,
        task: str | None = None,
        team: UUID | str | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> None:
        self._new_account, self._engine, self._timeouts = new_account, engine, timeouts
        self._retries, self._task, self._team, self._on_receipt = retries, task, team, on_receipt

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        try:
            account = self._new_account(request.headers.get("x-llm-team") or self._team)
            requested = _Requested.read(request, self._task, self._timeouts, self._retries)
            if requested.call is None:
                return requested.models(await account.explain_route(requested.task, requested.model))
            if not requested.call.stream:
                answer = await self._engine.answer(account, requested.call)
                return requested.respond(answer, self._on_receipt)
            stream = await AsyncChatStream(self._engine.items(account, requested.call)).open()
            return requested.stream(stream, _AsyncBody(stream, self._on_receipt))
        except SupaLLMError as error:
            return error_response(error, request, self._on_receipt)


@dataclass(frozen=True, slots=True)
class _Requested:
    """An HTTP request, parsed; ``call`` is None for the list of models, or the one that ``path`` names."""

    path: str
    call: ModelCall | None
    task: str | None
    base64: bool = False

    @classmethod
    def read(
        cls, request: httpx.Request, task: str | None, timeouts: Timeouts, retries: Retries
    ) -> _Requested:
        task = request.headers.get("x-llm-task") or task
        path = request.url.path.removeprefix(httpx.URL(BASE_URL).path)
        if request.method == "GET" and re.fullmatch("/models(/.+)?", path):
            return cls(path, None, task)
        if request.method != "POST" or path not in _KINDS:
            instead = _INSTEAD.get(path.strip("/").partition("/")[0], _OWN_CLIENT)
            raise NotFoundError(
                f"{request.method} {path} is not supported.",
                code="unsupported_endpoint",
                hint=f"{instead} This client supports {_SUPPORTED}.",
            )
        try:
            body = json.loads(request.content)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise InvalidInputError("The request's body is not a JSON object.")
        model = body.pop("model", None)
        timeouts = _timeouts(request, timeouts)
        call = ModelCall(_KINDS[path], body, task, _named(model), timeouts, retries)
        return cls(path, call, task, body.get("encoding_format") == "base64")

    @property
    def model(self) -> str | None:
        """The model of ``GET /models/{model}`` that a route must name; None for ``auto`` and for the list."""
        return _named(self.path.removeprefix("/models").removeprefix("/"))

    def models(self, route: Route) -> httpx.Response:
        """The models of a route, or the requested one."""
        models = [_model("auto", "supa-llm")]
        models += [_model(f"{it.provider}/{it.model}", it.provider) for it in route.candidates]
        if self.path == "/models":
            unique = list({model["id"]: model for model in models}.values())
            return httpx.Response(200, json={"object": "list", "data": unique})
        if self.model is None:
            return httpx.Response(200, json=models[0])
        for candidate in route.candidates:
            if candidate.reason == "requested":
                return httpx.Response(200, json=_model(self.model, candidate.provider))
        reasons = " ".join(it.message for it in route.skipped)
        raise NotFoundError(
            f"No key can serve the model {self.model!r}.",
            code="model_not_found",
            hint=f"client.models.list() lists the models of the route. {reasons}".rstrip(),
        )

    def respond(self, answer: Answer, on_receipt: OnReceipt | None) -> httpx.Response:
        if on_receipt:
            on_receipt(answer.receipt)
        payload = _as_base64(answer.payload) if self.base64 else answer.payload
        headers = _headers(answer.receipt.request_id, answer.candidate)
        return httpx.Response(200, json=payload, headers=headers)

    def stream(
        self, stream: ChatStream | AsyncChatStream, body: httpx.SyncByteStream | httpx.AsyncByteStream
    ) -> httpx.Response:
        assert stream.candidate is not None  # noqa: S101 - an open stream has one
        headers = {**_headers(stream.request_id, stream.candidate), "content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=body)


class _Ending:
    """Reports a stream's receipt once, although the openai client may iterate the body again."""

    def __init__(self, on_receipt: OnReceipt | None) -> None:
        self._on_receipt = on_receipt

    def answered(self, receipt: Receipt | None) -> bytes:
        if self._on_receipt and receipt:
            self._on_receipt(receipt)
        self._on_receipt = None
        return b"data: [DONE]\n\n"

    def failed(self, error: SupaLLMError) -> bytes:
        _report(self._on_receipt, error)
        self._on_receipt = None
        return _event(_error_body(error))


class _Body(httpx.SyncByteStream):
    """The chunks of a stream as server-sent events. Closing the response cancels the request."""

    def __init__(self, stream: ChatStream, on_receipt: OnReceipt | None) -> None:
        self._stream, self._ending = stream, _Ending(on_receipt)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream.chunks():
                yield _event(chunk)
        except SupaLLMError as error:
            yield self._ending.failed(error)
        else:
            yield self._ending.answered(self._stream.receipt)

    def close(self) -> None:
        self._stream.close()


class _AsyncBody(httpx.AsyncByteStream):
    """The twin of :class:`_Body`."""

    def __init__(self, stream: AsyncChatStream, on_receipt: OnReceipt | None) -> None:
        self._stream, self._ending = stream, _Ending(on_receipt)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream.chunks():
                yield _event(chunk)
        except SupaLLMError as error:
            yield self._ending.failed(error)
        else:
            yield self._ending.answered(self._stream.receipt)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _no_openai() -> ConfigurationError:
    return ConfigurationError(
        "The official openai package is not installed.",
        code="missing_extra",
        hint="Run: pip install 'supa-llm[openai]'",
    )


def _timeouts(request: httpx.Request, defaults: Timeouts) -> Timeouts:
    """The caller's timeout, which the openai client sets on each request, as the total."""
    total = request.extensions.get("timeout", {}).get("read")
    if total is None:
        return defaults
    return Timeouts(total=total, attempt=min(total, defaults.attempt), idle=min(total, defaults.idle))


def _headers(request_id: object, candidate: Candidate) -> dict[str, str]:
    return {
        "x-request-id": str(request_id),
        "x-llm-provider": candidate.provider,
        "x-llm-model": candidate.model,
        "x-llm-key-source": candidate.key_source,
    }


def _named(model: Any) -> str | None:
    """The model that a request names; None if it leaves the model to the route."""
    return None if model in (None, "", "auto") else str(model)


def _model(name: str, owner: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _event(payload: Json) -> bytes:
    """A server-sent event. Those of a response have names, and the chunks of a chat have none."""
    name = f"event: {payload['type']}\n" if is_event(payload) else ""
    return f"{name}data: {json.dumps(payload)}\n\n".encode()


def _as_base64(payload: Json) -> Json:
    """The vectors as base64 of little-endian float32, which the openai client requests."""

    def packed(item: Json) -> Json:
        vector = item["embedding"]
        if isinstance(vector, str):
            return item
        return {**item, "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()}

    return {**payload, "data": [packed(item) for item in payload["data"]]}


def _report(on_receipt: OnReceipt | None, error: SupaLLMError) -> None:
    if on_receipt and isinstance(error, ProviderError):
        on_receipt(error.receipt)


def error_response(
    error: SupaLLMError, request: httpx.Request, on_receipt: OnReceipt | None = None
) -> httpx.Response:
    """The HTTP response for which the openai client raises the error that existing code expects."""
    if request.method == "GET" and error.code == "unknown_model":
        error = NotFoundError(error.args[0], code="model_not_found", hint=error.hint)
    _report(on_receipt, error)
    if isinstance(error, TotalTimeoutError):
        raise httpx.ReadTimeout(str(error), request=request) from error
    # A copy of the client, from with_options(), may have retries of its own.
    headers = {"x-should-retry": "false"}
    if isinstance(error, ProviderError):
        headers["x-request-id"] = str(error.receipt.request_id)
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, round(wait)))
    return httpx.Response(error.http_status, json=_error_body(error), headers=headers, request=request)


def _error_body(error: SupaLLMError) -> Json:
    body = dict(error.body or {}) if isinstance(error, BadRequestError) else {}
    return {
        "error": {
            "message": str(error),
            "type": body.get("type") or "supa_llm_error",
            "param": body.get("param"),
            "code": _OPENAI_CODES.get(error.code) or body.get("code") or error.code,
            "hint": error.hint,
        }
    }
