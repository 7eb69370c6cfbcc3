"""Runs the front of the stack: Supabase Auth and the gateway to PostgREST, in one Node process."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import time
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local import processes
from supa_llm.local.config import ProjectConfig
from supa_llm.local.files import private_directory, write_private
from supa_llm.local.install import Runtime
from supa_llm.local.layout import Layout
from supa_llm.local.stack_keys import StackKeys

_HERE = Path(__file__).parent
_START_SECONDS = 60


def start(
    layout: Layout,
    runtime: Runtime,
    *,
    keys: StackKeys,
    config: ProjectConfig,
    port: int,
    db_port: int,
    rest_port: int,
) -> None:
    """Start the front. `wait_ready` waits until it serves requests.

    Raises:
        LocalError: `local_directory_unwritable`.
    """
    directory = private_directory(layout.service("auth"), layout.user)
    # Node looks for packages in the directory of the script.
    for script in (_HERE / "node").glob("*.mjs"):
        shutil.copyfile(script, directory / script.name)
        (directory / script.name).chmod(0o644)
    modules = directory / "node_modules"
    modules.unlink(missing_ok=True)
    modules.symlink_to(runtime.modules)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "port": port,
        "restPort": rest_port,
        "databaseUrl": f"postgres://supabase_auth_admin:{keys.auth_admin_password}@127.0.0.1:{db_port}/postgres",
        "jwtSecret": keys.jwt_secret,
        "jwks": keys.jwks(private=False),
        "keys": {
            keys.publishable_key: {"role": "anon", "kind": "publishable"},
            keys.secret_key: {"role": "service_role", "kind": "secret"},
            keys.anon_key: {"role": "anon", "kind": "legacy"},
            keys.service_role_key: {"role": "service_role", "kind": "legacy"},
        },
        "auth": {"site_url": url, **config.auth},
        "authFunctions": (_HERE / "sql" / "auth_functions.sql").read_text(),
    }
    write_private(directory / "front.json", json.dumps(settings), layout.user)
    processes.start(
        [str(runtime.node), "front.mjs", "front.json"],
        pid_file=layout.pid_file("auth"),
        log=layout.log("auth"),
        cwd=directory,
        env={**layout.service_environment(), "NODE_ENV": "production"},
        user=layout.user,
    )


def wait_ready(layout: Layout, port: int) -> None:
    """Wait until the front serves requests, which it does once the auth schema exists.

    Raises:
        LocalError: `local_auth_failed`.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not answers(port, seconds=2):
        if processes.read(layout.pid_file("auth")) is None or time.monotonic() > deadline:
            raise LocalError(
                f"Supabase Auth did not start: {layout.log_reason('auth')}",
                code="local_auth_failed",
                hint="Show its log: supa-llm local logs auth",
            )
        time.sleep(0.03)


def stop(layout: Layout) -> None:
    """Stop the front, even if its pid file is missing."""
    running = [process for process in [processes.read(layout.pid_file("auth"))] if process]
    running += processes.strays(layout.service("auth"))
    processes.stop(running, gentle=signal.SIGTERM, seconds=3)
    layout.pid_file("auth").unlink(missing_ok=True)


def answers(port: int, *, seconds: float) -> bool:
    """Return whether the front serves requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()
