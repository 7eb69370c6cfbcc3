"""Runs PostgREST, configured like a hosted project."""

from __future__ import annotations

import http.client
import json
import signal
import time

from supa_llm.errors import LocalError
from supa_llm.local import processes
from supa_llm.local.config import ProjectConfig
from supa_llm.local.files import private_directory, write_private
from supa_llm.local.install import Runtime
from supa_llm.local.layout import Layout
from supa_llm.local.stack_keys import StackKeys

_START_SECONDS = 30


def start(
    layout: Layout,
    runtime: Runtime,
    *,
    keys: StackKeys,
    config: ProjectConfig,
    port: int,
    db_port: int,
    api_port: int,
) -> None:
    """Start PostgREST. `wait_ready` waits until it serves requests.

    Raises:
        LocalError: `local_directory_unwritable`.
    """
    directory = private_directory(layout.service("rest"), layout.user)
    write_private(directory / "jwks.json", json.dumps(keys.jwks(private=True)), layout.user)
    database = f"postgresql://authenticator:{keys.authenticator_password}@127.0.0.1:{db_port}/postgres?sslmode=disable"
    settings: dict[str, str | int] = {
        "db-uri": database,
        "db-schemas": ", ".join(config.schemas),
        "db-extra-search-path": ", ".join(config.extra_search_path),
        "db-anon-role": "anon",
        "db-max-rows": config.max_rows,
        "db-pool": 30,
        # Verifies the tokens of older projects (HS256) and newer ones (ES256).
        "jwt-secret": f"@{directory / 'jwks.json'}",
        "server-host": "127.0.0.1",
        "server-port": port,
        "openapi-server-proxy-uri": f"http://127.0.0.1:{api_port}/rest/v1",
        # Requests are not logged, because their query strings contain data.
        "log-level": "error",
    }
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    write_private(directory / "rest.conf", text, layout.user)
    processes.start(
        [str(runtime.postgrest), str(directory / "rest.conf")],
        pid_file=layout.pid_file("rest"),
        log=layout.log("rest"),
        cwd=directory,
        env=layout.service_environment(),
        user=layout.user,
    )


def wait_ready(layout: Layout, port: int) -> None:
    """Wait until PostgREST has read the schema and serves requests.

    Raises:
        LocalError: `local_rest_failed`.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not answers(port, seconds=2):
        if processes.read(layout.pid_file("rest")) is None or time.monotonic() > deadline:
            raise LocalError(
                f"PostgREST did not start: {layout.log_reason('rest')}",
                code="local_rest_failed",
                hint="Show its log: supa-llm local logs rest",
            )
        time.sleep(0.03)


def stop(layout: Layout) -> None:
    """Stop PostgREST, even if its pid file is missing."""
    running = [process for process in [processes.read(layout.pid_file("rest"))] if process]
    running += processes.strays(layout.service("rest"))
    processes.stop(running, gentle=signal.SIGTERM, seconds=3)
    layout.pid_file("rest").unlink(missing_ok=True)


def answers(port: int, *, seconds: float) -> bool:
    """Return whether PostgREST serves requests. It responds with 503 until it has read the schema."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/rpc/-")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()
