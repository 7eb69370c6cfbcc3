"""Runs the tests of supa-llm's policies (supabase/tests) on a database, in a transaction that is rolled back.

The tests use pgTAP, as with `supabase test db`. A database that has no pgTAP gets it in the same transaction:
as the extension that Supabase offers or, on the local stack, from PGlite's package, which comes with Supabase
Lite.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supa_llm.errors import ConfigurationError
from supa_llm.local.extras import require
from supa_llm.local.install import Progress, cache_directory, install
from supa_llm.local.layout import layout_for
from supa_llm.local.project_files import packaged_project

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

_PGTAP = "share/postgresql/extension/pgtap.sql"
_PLAN = re.compile(r"1\.\.(\d+)$")
_TEST = re.compile(r"(not )?ok \d+(?: - )?(.*)$")


@dataclass(frozen=True)
class PolicyResult:
    """What the test file of one property found.

    Attributes:
        file: name of the file in supabase/tests.
        tests: how many tests ran.
        failures: what failed, with pgTAP's diagnostics; empty if the property holds.
    """

    file: str
    tests: int
    failures: tuple[str, ...]

    @property
    def name(self) -> str:
        """The property in words, which is the name of its file."""
        return self.file.removesuffix(".test.sql").replace("_", " ")


def policy_tests() -> list[Path]:
    """The test files that supa-llm ships, one per property.

    Raises:
        ConfigurationError: `project_files_missing`.
    """
    return sorted((packaged_project() / "supabase" / "tests").glob("*.test.sql"))


def run_policies(url: str, directory: Path, progress: Progress) -> Iterator[PolicyResult]:
    """Test the policies of the database at `url`, one file after the other.

    Args:
        url: connects as `postgres`, which owns supa-llm's tables.
        directory: directory of the local stack.

    Raises:
        ConfigurationError: `database_unreachable`, `migrations_missing`, `policies_untestable`.
        LocalError: `local_extra_missing`, or an error of installing the local stack.
    """

    psycopg = require("psycopg")
    try:
        with (
            psycopg.connect(url, connect_timeout=10) as connection,
            prepared(connection, directory, progress),
        ):
            for file in policy_tests():
                yield run_file(connection, file)
    except psycopg.Error as error:
        # The error about a malformed URL quotes it, with the password. It never reached a server.
        malformed = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
        raise ConfigurationError(
            f"Cannot use the database: {'Its URL is malformed.' if malformed else _first_line(error)}",
            code="database_unreachable",
            hint="Check SUPABASE_DB_URL, and that the database is running.",
        ) from None


@contextmanager
def prepared(connection: Connection, directory: Path, progress: Progress) -> Iterator[None]:
    """Open a transaction with pgTAP, and roll it back at the end.

    Arguments and errors as in `run_policies`.
    """
    psycopg = require("psycopg")
    with connection.transaction(force_rollback=True):
        found = connection.execute("select to_regnamespace('llm_private') is not null").fetchone()
        if found != (True,):
            raise ConfigurationError(
                "The database has no supa-llm.",
                code="migrations_missing",
                hint="Run: supa-llm init, then supabase db push",
            )
        try:
            _load(connection, directory, progress)
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"This role cannot load pgTAP: {_first_line(error)}",
                code="policies_untestable",
                hint="Connect as the role postgres, or run: create extension pgtap with schema extensions;",
            ) from None
        yield


def run_file(connection: Connection, file: Path) -> PolicyResult:
    """Run one test file in a savepoint that is rolled back."""
    # The file's own transaction would end the one that has pgTAP.
    statements = re.sub(r"^(begin|rollback);$", "", file.read_text(), flags=re.MULTILINE)
    with connection.transaction(force_rollback=True):
        lines, error = _output(connection, statements)
    return _read_tap(file.name, lines, error)


def _load(connection: Connection, directory: Path, progress: Progress) -> None:
    schema = _schema(connection)
    if schema is None:
        schema = "extensions"
        connection.execute("create schema if not exists extensions")
        if connection.execute("select from pg_available_extensions where name = 'pgtap'").fetchone():
            connection.execute("create extension pgtap with schema extensions")
        else:
            connection.execute("set local search_path = extensions")
            connection.execute(_packaged_pgtap(directory, progress))
    connection.execute("select set_config('search_path', 'public, extensions, ' || %s, true)", [schema])


def _schema(connection: Connection) -> str | None:
    """The schema of the pgTAP that the database already has."""
    row = connection.execute(
        "select pronamespace::regnamespace::text from pg_proc where proname = 'throws_ok' limit 1"
    ).fetchone()
    return str(row[0]) if row else None


def _packaged_pgtap(directory: Path, progress: Progress) -> bytes:
    runtime = install(cache_directory(layout_for(directory, "").user), progress)
    with tarfile.open(runtime.modules / "@electric-sql" / "pglite" / "dist" / "pgtap.tar.gz") as archive:
        file = archive.extractfile(_PGTAP)
        assert file is not None, "a regular file"  # noqa: S101 - of a package whose version is locked
        return file.read()


def _output(connection: Connection, statements: str) -> tuple[list[str], str | None]:
    """Run statements, and return the lines of their results and the error that ended them."""
    psycopg = require("psycopg")
    lines: list[str] = []
    # psycopg's cursor would drop the results before an error.
    connection.pgconn.send_query(statements.encode())
    error = None
    while (result := connection.pgconn.get_result()) is not None:
        if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
            for row in range(result.ntuples):
                lines += (result.get_value(row, 0) or b"").decode().splitlines()
        elif result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            error = (result.error_message or b"").decode(errors="replace").strip()
    return lines, error


def _read_tap(file: str, lines: list[str], error: str | None) -> PolicyResult:
    planned, tests = None, 0
    failures: list[str] = []
    failing = False
    for line in lines:
        if plan := _PLAN.match(line):
            planned = int(plan[1])
        elif test := _TEST.match(line):
            tests += 1
            failing = test[1] is not None
            if failing:
                failures.append(test[2])
        elif failing and line.startswith("#") and not line.startswith("# Failed test"):
            failures[-1] += f"\n{line.removeprefix('#').strip()}"
    if error is not None:
        failures.append(error)
    elif planned != tests:
        failures.append(f"{planned} tests were planned, and {tests} ran.")
    return PolicyResult(file, tests, tuple(failures))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
