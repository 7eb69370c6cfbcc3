"""Creates, starts and stops a PostgreSQL cluster that is set up like a hosted project."""

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
from supa_llm.local.layout import Layout
from supa_llm.local.stack_keys import StackKeys

if TYPE_CHECKING:
    import psycopg

DefaultPrivileges = Literal["old", "new"]

_SQL = Path(__file__).parent / "sql"
_SUPERUSER = "supabase_admin"
_START_SECONDS = 60

# Marks a complete cluster. A data directory without it is the leftover of an interrupted start.
_MARKER = "supa_llm_complete"
_VAULT_KEY = "supa_llm_vault.key"

_CONFIG = """\
listen_addresses = '127.0.0.1'
port = {port}
# No socket file, so that other users of the machine need a password.
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
# PostgreSQL's default. initdb writes 400 kB, because its trial starts do not find this file.
shared_buffers = 128MB
shared_preload_libraries = 'pg_stat_statements'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u '
# A failed statement may contain a key, and the detail of a constraint violation prints the row.
log_statement = 'none'
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
"""

_THROWAWAY_CONFIG = """\
# Faster. A power cut may destroy the data; a killed server does not.
fsync = off
full_page_writes = off
"""

_HBA = """\
host all all 127.0.0.1/32 scram-sha-256
"""


def ensure_cluster(layout: Layout, runtime: Runtime, *, port: int, keys: StackKeys, throwaway: bool) -> bool:
    """Create the cluster if it does not exist, and write its configuration. Returns whether it is new.

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
    """Return whether a complete cluster exists."""
    return (layout.data / _MARKER).exists()


def start(layout: Layout, runtime: Runtime) -> None:
    """Start the server and wait until it accepts connections.

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
    """Stop the server and its remaining processes."""
    process = processes.read(layout.pid_file("postgres"))
    if process is not None:
        # SIGINT is PostgreSQL's fast shutdown: it ends sessions and flushes data.
        processes.stop([process], gentle=signal.SIGINT, seconds=30)
    _clear_remains(layout)
    layout.pid_file("postgres").unlink(missing_ok=True)


def bootstrap(layout: Layout, *, port: int, keys: StackKeys, privileges: DefaultPrivileges) -> None:
    """Create roles, schemas and default grants in a new cluster.

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
                # Hashed by the client, so that the log and pg_stat_statements never contain the password.
                hashed = connection.pgconn.encrypt_password(
                    password.encode(), role.encode(), b"scram-sha-256"
                )
                statement = psycopg.sql.SQL("alter role {} password {}")
                connection.execute(statement.format(psycopg.sql.Identifier(role), hashed.decode()))
    except psycopg.Error as error:
        raise _failed("Cannot set up the database", str(error).strip()) from error
    write_private(layout.data / _MARKER, "", layout.user)


@contextlib.contextmanager
def connect(port: int, keys: StackKeys) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
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


def answers(port: int, keys: StackKeys) -> bool:
    """Return whether the server accepts connections and runs queries."""
    psycopg = require("psycopg")
    try:
        with connect(port, keys) as connection:
            connection.execute("select")
    except psycopg.Error:
        return False
    return True


def superuser_url(port: int, keys: StackKeys) -> str:
    """Connect as the superuser. For tests."""
    return f"postgresql://{_SUPERUSER}:{keys.superuser_password}@127.0.0.1:{port}/postgres"


def _initdb(layout: Layout, runtime: Runtime, keys: StackKeys) -> None:
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
                # PostgreSQL's builtin C.UTF-8 sorts the same on every machine and needs no installed locale.
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
    """PostgreSQL writes its state to the eighth line of its pid file."""
    try:
        return (layout.data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _clear_remains(layout: Layout) -> None:
    """Remove the leftovers of a killed server: backends that hold its shared memory, and its pid file.

    PostgreSQL refuses to start if a process has the pid in that file, even an unrelated one.
    """
    remains = processes.strays(layout.data)
    if remains:
        processes.stop(remains, gentle=signal.SIGQUIT, seconds=5)
    (layout.data / "postmaster.pid").unlink(missing_ok=True)


def _failed(what: str, detail: str) -> LocalError:
    last = detail.splitlines()[-1] if detail else "its log is empty"
    return LocalError(
        f"{what}: {last}",
        code="local_postgres_failed",
        hint="Show its log: supa-llm local logs postgres",
    )
