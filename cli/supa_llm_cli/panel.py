"""`supa-llm panel`: the settings panel in a browser, for a project of one's own or the local stack."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError, LocalError
from supa_llm_cli.project import HOME, Directory

_KEYS = ("SUPABASE_PUBLISHABLE_KEY", "PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "ANON_KEY")


def panel(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            envvar=["SUPABASE_URL", "API_URL"],
            help="URL of the project; its publishable key is read from SUPABASE_PUBLISHABLE_KEY. "
            "Default: the local stack that is running.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the page; 0 takes a free one.")
    ] = 54330,
    directory: Directory = HOME,
) -> None:
    """Serve the settings panel, with sign-in, to this machine only. Ctrl-C ends it.

    Provider keys in the environment (OPENAI_API_KEY, …) count as the operator's: the panel shows that there
    are some, never what they are.
    """
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        raise ConfigurationError(
            "The panel needs packages that are not installed.",
            code="missing_extra",
            hint="Run: pip install 'supa-llm[panel]'",
        )
    import uvicorn

    from supa_llm.panel import panel_site

    site = panel_site(*_project(url, directory))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(
                f"Port {port} is in use, or may not be used ({error.strerror}).",
                code="local_port_in_use",
                hint="Choose another one: --port; --port 0 takes a free one.",
            ) from None
        typer.echo(f"Settings panel: http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", access_log=False))
        server.run(sockets=[listening])


def _project(url: str | None, directory: Path) -> tuple[str, str]:
    """URL and publishable key: of the environment, else of the local stack, if it is running."""
    from supa_llm.local import LocalStack

    key = next((value for name in _KEYS if (value := os.environ.get(name))), None)
    if url and key:
        return url, key
    if url:
        raise ConfigurationError(
            "The project has no publishable key: set SUPABASE_PUBLISHABLE_KEY.", code="project_unknown"
        )
    stack = LocalStack(directory)
    if not stack.status().running:
        raise ConfigurationError(
            "It is not known which project is meant.",
            code="project_unknown",
            hint="Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY, or start a local one: supa-llm local up.",
        )
    env = stack.env()
    return env["API_URL"], env["PUBLISHABLE_KEY"]
