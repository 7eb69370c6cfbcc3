"""Pushes a project's migrations with the Supabase CLI, as to a hosted project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local.files import private_directory, remove_tree
from supa_llm.local.install import Runtime
from supa_llm.local.layout import Layout
from supa_llm.local.postgres import connect
from supa_llm.local.stack_keys import StackKeys

_VERSION = re.compile(r"^(\d+)_.*\.sql$")
_PUSH_SECONDS = 600


def pending(project: Path, *, db_port: int, keys: StackKeys) -> list[str]:
    """The versions of the migrations that the database does not have yet."""
    files = (project / "supabase" / "migrations").glob("*.sql")
    versions = sorted(match[1] for file in files if (match := _VERSION.match(file.name)))
    with connect(db_port, keys) as connection:
        history = connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()
        if history == (None,):
            return versions
        applied = connection.execute("select version from supabase_migrations.schema_migrations").fetchall()
    return [version for version in versions if (version,) not in applied]


def push(
    layout: Layout,
    runtime: Runtime,
    project: Path,
    *,
    db_port: int,
    keys: StackKeys,
    seed: bool,
    lock: int,
) -> None:
    """Run `supabase db push` as the role `postgres`, with the seed files if `seed` is true.

    The command holds `lock` even if this process is killed, because two concurrent pushes would collide.

    Raises:
        LocalError: `local_migration_failed`.
    """
    workdir = _workdir(layout, project)
    arguments = ["db", "push", "--yes", "--include-all", "--workdir", str(workdir)]
    # Other users can read the arguments but not the environment, so the password goes there.
    arguments.append(f"--remote=postgresql://postgres@127.0.0.1:{db_port}/postgres?sslmode=disable")
    if seed:
        arguments.append("--include-seed")
        if (project / "supabase" / "roles.sql").exists():
            arguments.append("--include-roles")
    own = str(private_directory(layout.directory / "cli"))
    environment = {
        **os.environ,
        "PGPASSWORD": keys.postgres_password,
        # Keeps its files out of the user's home directory and /tmp.
        "SUPABASE_HOME": own,
        "TMPDIR": own,
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "SUPABASE_NO_UPDATE_NOTIFIER": "1",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    try:
        pushed = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [str(runtime.supabase), *arguments],
            cwd=workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PUSH_SECONDS,
            umask=0o077,
            pass_fds=(lock,),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalError(
            f"`supabase db push` did not finish within {_PUSH_SECONDS} s.",
            code="local_migration_failed",
            hint="Show the database's log: supa-llm local logs postgres",
        ) from error
    if pushed.returncode:
        raise LocalError(
            f"`supabase db push` failed: {_reason(pushed.stdout + pushed.stderr)}",
            code="local_migration_failed",
            hint="Fix the migration or seed in supabase/, then run: supa-llm local up. "
            "To start over with an empty database: supa-llm local reset",
        )


def _workdir(layout: Layout, project: Path) -> Path:
    """Copy the project, because the Supabase CLI writes into its working directory."""
    workdir = private_directory(layout.directory / "workdir")
    remove_tree(workdir / "supabase")
    ignore = shutil.ignore_patterns(".temp", ".branches", "functions", "node_modules")
    shutil.copytree(project / "supabase", workdir / "supabase", ignore=ignore)
    return workdir


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line.lower()]
    return (errors or lines or ["it printed no message"])[0]
