"""`supa-llm panel`: the settings panel in a browser, for your own project or the local stack."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError, LocalError
from supa_llm_cli.options import HOME, Directory
from supa_llm_cli.project import PUBLISHABLE_KEYS, RUNTIME_SECRET, first_set, stack_env


def panel(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            envvar=["SUPABASE_URL", "API_URL"],
            help="URL of the project. Set its publishable key in SUPABASE_PUBLISHABLE_KEY, and the secret of "
            "a runtime in SUPA_LLM_RUNTIME_SECRET. "
            "Default: the running local stack.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the panel. 0 picks a free port.")
    ] = 54330,
    directory: Directory = HOME,
) -> None:
    """Serve the settings panel, with sign-in, on this machine only. Press Ctrl-C to stop it.

    Provider keys in the environment (SUPA_LLM_OPENAI_API_KEY or OPENAI_API_KEY, …) are used as the operator's
    keys. The panel shows which providers have one, and never the key.
    """
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        raise ConfigurationError(
            "The panel needs packages that are not installed.",
            code="missing_extra",
            hint="Run: pip install 'supa-llm[panel]'",
        )
    import uvicorn

    from supa_llm.panel import panel_site

    project_url, key, secret = _project(url, directory)
    site = panel_site(project_url, key, runtime_secret=secret)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(
                f"Port {port} is not available ({error.strerror}).",
                code="local_port_in_use",
                hint="Choose another port with --port, or pass --port 0 for a free one.",
            ) from None
        typer.echo(f"Settings panel: http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", access_log=False))
        server.run(sockets=[listening])


def _project(url: str | None, directory: Path) -> tuple[str, str, str | None]:
    """Return URL, publishable key and runtime secret of the environment or the running local stack."""
    key = first_set(PUBLISHABLE_KEYS)
    if url and key:
        return url, key, os.environ.get(RUNTIME_SECRET)
    if url:
        raise ConfigurationError(
            "The project's publishable key is missing.",
            code="project_unknown",
            hint="Set SUPABASE_PUBLISHABLE_KEY.",
        )
    env = stack_env(directory, "SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY")
    return env["API_URL"], env["PUBLISHABLE_KEY"], env[RUNTIME_SECRET]
