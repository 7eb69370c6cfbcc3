"""What the settings panel asks of a server: to check a key, and which providers the operator has keys for."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.session import AccessToken
from supa_llm.database import key_checks, routes
from supa_llm.database.transport import AsyncDatabase, Project
from supa_llm.errors import InvalidInputError, NotFoundError, NotSignedInError, SupaLLMError
from supa_llm.panel import key_check
from supa_llm.values.secrets import Secret

#: Enough for any key, and for all changes of a user's settings.
_MOST_BYTES = 65_536


def panel_endpoint(
    url: str,
    publishable_key: str,
    *,
    runtime_secret: str | None = None,
    operator_keys: Mapping[str, str] | None = None,
    origins: Sequence[str] = (),
    http_client: httpx.AsyncClient | None = None,
) -> Starlette:
    """An ASGI app for the panel's attribute ``runtime``; mount it in your own.

        app.mount("/llm", panel_endpoint(url, publishable_key))

    ``POST /keys/check`` asks a provider whether a key works, the stored one or one that is being typed, for
    the user whose access token comes with it. ``POST /explain`` tells that user's route, with the operator's
    keys and this runtime counted in. ``GET /operator-providers`` lists the providers that
    ``operator_keys`` has a key for. Errors are JSON: ``code``, ``message``, ``hint``.

    Args:
        url: of the Supabase project.
        runtime_secret: of this server, where it is a registered runtime; default: SUPA_LLM_RUNTIME_SECRET.
        operator_keys: provider → key; default: the environment (``OPENAI_API_KEY``, …). No key is shown.
        origins: of pages on other hosts that may call it, such as ``https://app.example.com``.
        http_client: for the providers, where you need a proxy or certificates; yours to close.
    """
    secret = runtime_secret or os.environ.get("SUPA_LLM_RUNTIME_SECRET") or None
    project = Project(f"{url.rstrip('/')}/rest/v1", publishable_key, Secret(secret) if secret else None)
    offered = OperatorKeys(operator_keys).providers
    # Plain http is for providers on this very machine: no proxy gets to read their keys.
    providers = http_client or httpx.AsyncClient(timeout=None, mounts={"http://": None})  # noqa: S113
    database_http = httpx.AsyncClient(timeout=15)
    database = AsyncDatabase(project, database_http)

    async def check_key(request: Request) -> JSONResponse:
        token = _token(request)
        asked = _fields(await _body(request), {"provider": str, "key": str})
        check = await database.run(key_checks.begin_key_check(asked["provider"], asked["key"]), token)
        key = check.key if asked["key"] is None else Secret(asked["key"])
        if key is None:
            raise NotFoundError("There is no key to test.", code="key_not_found")
        said = await key_check.check_key(check, key, providers)
        stored = await database.run(
            key_checks.record_key_check(check.id, said.result, said.retry_after), token
        )
        return _json(
            {
                "result": said.result,
                "reason": said.reason,
                "message": said.message,
                "said": said.said,
                "key": stored,
            }
        )

    async def explain_route(request: Request) -> JSONResponse:
        token = _token(request)
        asked = _fields(await _body(request), {"task": str, "changes": dict})
        call = routes.explain_route(asked["task"], None, (), offered, asked["changes"])
        return _json(await database.run(replace(call, parse=lambda route: route), token))

    async def operator_providers(_: Request) -> JSONResponse:
        return _json({"providers": list(offered)})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await database_http.aclose()
        if http_client is None:
            await providers.aclose()

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
    )
    return Starlette(
        routes=[
            Route("/keys/check", check_key, methods=["POST"]),
            Route("/explain", explain_route, methods=["POST"]),
            Route("/operator-providers", operator_providers, methods=["GET"]),
        ],
        exception_handlers={SupaLLMError: _refusal},
        middleware=[cors] if origins else [],
        lifespan=lifespan,
    )


def _token(request: Request) -> Secret:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotSignedInError("There is no access token.", hint="Send it as Authorization: Bearer ….")
    return AccessToken.read(token.strip()).secret


async def _body(request: Request) -> Any:
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise InvalidInputError("The request is too long.", hint=f"At most {_MOST_BYTES} bytes.")
    try:
        return json.loads(b"".join(pieces))
    except (ValueError, RecursionError):
        pass
    # Out here: the decoder's error holds the text, and a key may be in it.
    raise InvalidInputError("The request is no JSON.", hint='Send {"provider": "…"}.')


def _fields(body: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The named fields of an object; those that are not there are None."""
    if not isinstance(body, dict) or not set(body) <= set(kinds):
        raise InvalidInputError("The request has another form.", hint=f"Allowed: {', '.join(kinds)}.")
    for name, kind in kinds.items():
        if not isinstance(body.get(name), kind | None):
            raise InvalidInputError(f"{name} has a value of the wrong kind.", hint=f"Send a {kind.__name__}.")
    return {name: body.get(name) for name in kinds}


async def _refusal(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SupaLLMError):
        raise error
    body = {"code": error.code, "message": str(error.args[0]), "hint": error.hint or ""}
    return _json(body, error.http_status)


def _json(body: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(body, status, {"cache-control": "no-store"})
