"""The page of `supa-llm panel`: the settings panel with a sign-in, for projects without an app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supa_llm.errors import ConfigurationError
from supa_llm.panel.endpoint import panel_endpoint

_PACKAGE = Path(__file__).resolve().parent


def panel_files() -> Path:
    """The directory with ``supa-llm-settings.js`` and the files that it loads, for apps without npm.

        app.mount("/supa-llm", StaticFiles(directory=panel_files()))

    Raises:
        ConfigurationError: ``panel_not_built``.
    """
    return _built("lib", "dist", "supa-llm-settings.js")


def page_directory() -> Path:
    """The directory of the built page.

    Raises:
        ConfigurationError: ``panel_not_built``.
    """
    return _built("page", "dist-page", "index.html")


def _built(packaged: str, in_checkout: str, file: str) -> Path:
    """The directory that contains the file, in the package or in a checkout."""
    for folder in (_PACKAGE / packaged, _PACKAGE.parents[2] / "panel" / in_checkout):
        if (folder / file).is_file():
            return folder
    raise ConfigurationError(
        "The settings panel is not built.",
        code="panel_not_built",
        hint="In a checkout run: make panel",
    )


def panel_site(
    url: str,
    publishable_key: str,
    *,
    runtime_secret: str | None = None,
    operator_keys: Mapping[str, str] | None = None,
) -> Starlette:
    """The ASGI app of `supa-llm panel`: the page at ``/``, and the panel's endpoint at ``/llm``.

    Raises:
        ConfigurationError: ``panel_not_built``.
    """
    page = page_directory()
    endpoint = panel_endpoint(
        url, publishable_key, runtime_secret=runtime_secret, operator_keys=operator_keys
    )
    known = {"url": url.rstrip("/"), "publishable_key": publishable_key, "runtime": "/llm"}

    async def index(_: Request) -> Response:
        return FileResponse(page / "index.html", headers={"cache-control": "no-store"})

    async def config(_: Request) -> Response:
        return JSONResponse(known, headers={"cache-control": "no-store"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Starlette does not run the lifespan of a mounted app.
        async with endpoint.router.lifespan_context(endpoint):
            yield

    return Starlette(
        routes=[
            Route("/", index),
            Route("/config.json", config),
            Mount("/llm", endpoint),
            Mount("/assets", StaticFiles(directory=page / "assets")),
        ],
        middleware=[Middleware(_Guarded, project=url)],
        lifespan=lifespan,
    )


class _Guarded:
    """Adds headers that forbid inline code, code from elsewhere, and frames."""

    def __init__(self, app: ASGIApp, project: str) -> None:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(project))
        self._app = app
        self._headers = {
            "content-security-policy": "; ".join((
                "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
                f"connect-src 'self' {origin}", "base-uri 'none'", "form-action 'none'",
                "frame-ancestors 'none'", "require-trusted-types-for 'script'",
            )),
            "cross-origin-opener-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                # The names of files in assets/ contain their hash.
                if scope["path"].startswith("/assets/") and message["status"] == 200:
                    headers["cache-control"] = "public, max-age=31536000, immutable"
            await send(message)

        await self._app(scope, receive, guarded)
