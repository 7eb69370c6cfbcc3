"""PostgreSQL: make a cluster that looks like a hosted project's, start it, stop it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from supa_llm.errors import LocalError
from supa_llm.local import processes
from supa_llm.local.extras import require
from supa_llm.local.files import private_directory, remove_tree, write_private
from supa_llm.local.install import Runtime
from supa_llm.local.keys import Keys
from supa_llm.local.layout import Layout

if TYPE_CHECKING:
    import psycopg

DefaultPrivileges = Literal["old", "new"]

_SQL = Path(__file__).parent / "sql"
_SUPERUSER = "supabase_admin"
_START_SECONDS = 60

# Written when the cluster is bootstrapped. A data directory without it was cut off while it was made.
_MARKER = "supa_llm_complete"
_VAULT_KEY = "supa_llm_vault.key"

_CONFIG = """\
listen_addresses = '127.0.0.1'
port = {port}
# TCP with passwords only: a socket file would be one more thing for other users of the machine to find.
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u '
# A statement that fails may hold a key in a literal, and the detail of a constraint violation prints the row.
log_statement = 'none'
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
"""

_THROWAWAY_CONFIG = """\
# A stack that is deleted after the test need not survive a power cut; a killed server it still does.
fsync = off
full_page_writes = off
"""

_HBA = """\
host all all 127.0.0.1/32 scram-sha-256
"""


def ensure_cluster(layout: Layout, runtime: Runtime, *, port: int, keys: Keys, throwaway: bool) -> bool:
    """Make the cluster if there is none, and write its configuration. Returns whether it was made.

    Raises:
        LocalError: `local_postgres_failed`, `local_directory_unwritable`.
    """
    fresh = not complete(layout)
    if fresh:
        remove_tree(layout.data)
        _initdb(layout, runtime, keys)
        write_private(layout.data / _VAULT_KEY, secrets.token_hex(32), layout.user)
        write_private(layout.data / "pg_hba.conf", _HBA, layout.user)
    configuration = _CONFIG.format(port=port) + (_THROWAWAY_CONFIG if throwaway else "")
    write_private(layout.data / "supa_llm.conf", configuration, layout.user)
    return fresh


def complete(layout: Layout) -> bool:
    """Whether there is a cluster that was set up to the end."""
    return (layout.data / _MARKER).exists()


def start(layout: Layout, runtime: Runtime) -> None:
    """Start the server and wait until it takes connections.

    Raises:
        LocalError: `local_postgres_failed`.
    """
    _clear_remains(layout)
    process = processes.start(
        [str(runtime.postgres / "bin" / "postgres"), "-D", str(layout.data)],
        pid_file=layout.pid_file("postgres"),
        log=layout.log("postgres"),
        cwd=layout.data,
        env=layout.service_environment(),
        user=layout.user,
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _ready(layout):
        if not processes.alive(process) or time.monotonic() > deadline:
            raise _failed("PostgreSQL did not start", layout.log_reason("postgres"))
        time.sleep(0.02)


def stop(layout: Layout) -> None:
    """Stop the server and everything that it left behind."""
    process = processes.read(layout.pid_file("postgres"))
    if process is not None:
        # SIGINT is PostgreSQL's fast shutdown: sessions are ended, data is flushed.
        processes.stop([process], gentle=signal.SIGINT, seconds=30)
    _clear_remains(layout)
    layout.pid_file("postgres").unlink(missing_ok=True)


def bootstrap(layout: Layout, *, port: int, keys: Keys, privileges: DefaultPrivileges) -> None:
    """Create roles, schemas and default grants in a fresh cluster.

    Raises:
        LocalError: `local_postgres_failed`.
    """
    psycopg = require("psycopg")
    scripts = ["bootstrap.sql", "vault.sql"] + (["new_default_privileges.sql"] if privileges == "new" else [])
    passwords = {
        "postgres": keys.postgres_password,
        "authenticator": keys.authenticator_password,
        "supabase_auth_admin": keys.auth_admin_password,
    }
    try:
        with connect(port, keys) as connection, connection.transaction():
            for script in scripts:
                connection.execute((_SQL / script).read_bytes())
            for role, password in passwords.items():
                # Hashed here, so that neither the log nor pg_stat_statements can show it.
                hashed = connection.pgconn.encrypt_password(
                    password.encode(), role.encode(), b"scram-sha-256"
                )
                statement = psycopg.sql.SQL("alter role {} password {}")
                connection.execute(statement.format(psycopg.sql.Identifier(role), hashed.decode()))
    except psycopg.Error as error:
        raise _failed("The database could not be set up", str(error).strip()) from error
    write_private(layout.data / _MARKER, "", layout.user)


@contextlib.contextmanager
def connect(port: int, keys: Keys) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Connect as the superuser, in autocommit mode."""
    psycopg = require("psycopg")
    with psycopg.connect(
        host="127.0.0.1",
        port=port,
        dbname="postgres",
        user=_SUPERUSER,
        password=keys.superuser_password,
        sslmode="disable",
        connect_timeout=10,
        autocommit=True,
    ) as connection:
        yield connection


def answers(port: int, keys: Keys) -> bool:
    """Whether the server takes connections and runs queries."""
    psycopg = require("psycopg")
    try:
        with connect(port, keys) as connection:
            connection.execute("select")
    except psycopg.Error:
        return False
    return True


def superuser_url(port: int, keys: Keys) -> str:
    """For tests that must look behind what `postgres` may see."""
    return f"postgresql://{_SUPERUSER}:{keys.superuser_password}@127.0.0.1:{port}/postgres"


def _initdb(layout: Layout, runtime: Runtime, keys: Keys) -> None:
    private_directory(layout.data, layout.user)
    descriptor, name = tempfile.mkstemp(dir=layout.run)
    password_file = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(keys.superuser_password)
            if layout.user is not None:
                os.fchown(descriptor, layout.user.uid, layout.user.gid)
        made = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [
                str(runtime.postgres / "bin" / "initdb"),
                *("--pgdata", str(layout.data), "--username", _SUPERUSER, "--pwfile", str(password_file)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions", "--no-sync"),
                # PostgreSQL's own C.UTF-8 sorts alike on every machine and needs no locale to be installed.
                *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                *("--set", "include_if_exists=supa_llm.conf"),
            ],
            cwd=layout.run,
            env=layout.service_environment(),
            capture_output=True,
            text=True,
            check=False,
            umask=0o077,
            user=layout.user.uid if layout.user else None,
            group=layout.user.gid if layout.user else None,
            extra_groups=[] if layout.user else None,
        )
    finally:
        password_file.unlink()
    if made.returncode:
        raise _failed("initdb failed", made.stderr.strip())


def _ready(layout: Layout) -> bool:
    """PostgreSQL writes its state into the eighth line of its own pid file."""
    try:
        return (layout.data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _clear_remains(layout: Layout) -> None:
    """Remove what a killed server leaves: backends that hold its shared memory, and its own pid file.

    PostgreSQL refuses to start when the pid in that file is alive, even if it now belongs to something else.
    """
    remains = processes.strays(layout.data)
    if remains:
        processes.stop(remains, gentle=signal.SIGQUIT, seconds=5)
    (layout.data / "postmaster.pid").unlink(missing_ok=True)


def _failed(what: str, detail: str) -> LocalError:
    last = detail.splitlines()[-1] if detail else "it left no message"
    return LocalError(
        f"{what}: {last}",
        code="local_postgres_failed",
        hint="See `supa-llm local logs postgres`.",
    )
