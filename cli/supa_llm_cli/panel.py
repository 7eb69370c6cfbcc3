"""`supa-llm panel`: the settings panel in a browser, for your own project or the local stack."""

from __future__ import annotations

import importlib.util
import socket
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError, LocalError
from supa_llm_cli.options import HOME, Directory, UsersUrl
from supa_llm_cli.project import project_of_users


def panel(
    url: UsersUrl = None,
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

    project_url, key, secret = project_of_users(url, directory)
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
        # Before the URL is printed, so that a browser that opens it at once waits instead of failing.
        listening.listen()
        typer.echo(f"Settings panel: http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", access_log=False))
        server.run(sockets=[listening])
