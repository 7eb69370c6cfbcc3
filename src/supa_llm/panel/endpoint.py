"""The server side of the settings panel: checks keys and knows the operator's providers."""

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

from supa_llm.client import key_check
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.session import AccessToken
from supa_llm.database import key_checks, routes
from supa_llm.database.transport import AsyncDatabase, Project
from supa_llm.engine import POOL
from supa_llm.errors import InvalidInputError, NotFoundError, NotSignedInError, SupaLLMError
from supa_llm.values.credentials import (
    require_project_url,
    require_publishable_key,
    require_runtime_secret,
)
from supa_llm.values.secrets import Secret

#: Enough for any key and for any change of a user's settings.
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

    ``POST /keys/check`` asks a provider whether a key works: the user's stored key, a team's, or one that
    they typed. ``POST /explain`` returns the user's route, including the operator's keys and this runtime.
    Both need the user's access token. ``GET /operator-providers`` lists the providers in ``operator_keys``;
    none without a runtime secret, because these keys serve only requests of a runtime. Errors are JSON with
    ``code``, ``message`` and ``hint``.

    Args:
        url: URL of the Supabase project.
        runtime_secret: secret of this server if it is a registered runtime; None reads
            ``SUPA_LLM_RUNTIME_SECRET``.
        operator_keys: provider ID → key; None reads the environment (``SUPA_LLM_OPENAI_API_KEY``, …).
        origins: origins of pages on other hosts that may call it, such as ``https://app.example.com``.
        http_client: HTTP client for providers, with proxies or certificates; the app closes it.

    Raises:
        ConfigurationError: the URL, the key or the runtime secret is not what belongs in its place.
    """
    secret = runtime_secret or os.environ.get("SUPA_LLM_RUNTIME_SECRET") or None
    require_project_url(url)
    require_publishable_key(publishable_key, "The publishable key")
    if secret:
        require_runtime_secret(secret)
    project = Project(f"{url.rstrip('/')}/rest/v1", publishable_key, Secret(secret) if secret else None)
    offered = OperatorKeys(operator_keys).providers if secret else ()
    # Plain http is only for providers on this machine, and a proxy could read their keys.
    providers = http_client or httpx.AsyncClient(timeout=None, mounts={"http://": None}, limits=POOL)  # noqa: S113
    database_http = httpx.AsyncClient(timeout=15, limits=POOL)
    database = AsyncDatabase(project, database_http)

    async def check_key(request: Request) -> JSONResponse:
        token = _token(request)
        fields = _fields(await _body(request), {"provider": str, "key": str, "team_id": str})
        call = key_checks.begin_key_check(fields["provider"], fields["key"], fields["team_id"])
        check = await database.run(call, token)
        key = check.key if fields["key"] is None else Secret(fields["key"])
        if key is None:
            raise NotFoundError("There is no key to check.", code="key_not_found")
        result = await key_check.check_key(check, key, providers)
        stored = await database.run(
            key_checks.record_key_check(check.check_id, result.result, result.retry_after), token
        )
        return _json(
            {
                "result": result.result,
                "reason": result.reason,
                "message": result.message,
                "detail": result.detail,
                "key": stored,
            }
        )

    async def explain_route(request: Request) -> JSONResponse:
        token = _token(request)
        fields = _fields(await _body(request), {"task": str, "changes": dict, "team": str})
        call = routes.explain_route(fields["task"], None, (), offered, fields["changes"], fields["team"])
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
        raise NotSignedInError(
            "The access token is missing.", hint="Send the header Authorization: Bearer …."
        )
    return AccessToken.read(token.strip()).secret


async def _body(request: Request) -> Any:
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            raise InvalidInputError("The request is too long.", hint=f"Send at most {_MOST_BYTES} bytes.")
    try:
        return json.loads(b"".join(pieces))
    except (ValueError, RecursionError):
        pass
    # Raised here, because the decoder's error contains the body, which may contain a key.
    raise InvalidInputError("The request is not JSON.", hint='Send {"provider": "…"}.')


def _fields(body: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The named fields of an object; missing ones are None."""
    if not isinstance(body, dict) or not set(body) <= set(kinds):
        raise InvalidInputError(
            "The request has an unknown field.", hint=f"Allowed fields: {', '.join(kinds)}."
        )
    for name, kind in kinds.items():
        if not isinstance(body.get(name), kind | None):
            raise InvalidInputError(f"{name} has the wrong type.", hint=f"Send a {kind.__name__}.")
    return {name: body.get(name) for name in kinds}


async def _refusal(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SupaLLMError):
        raise error
    body = {"code": error.code, "message": str(error.args[0]), "hint": error.hint or ""}
    return _json(body, error.http_status)


def _json(body: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(body, status, {"cache-control": "no-store"})
