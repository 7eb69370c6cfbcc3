"""`supa-llm upgrade`: adds new migrations to a project without changing its own files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from supa_llm_cli import installation, migrations

from supa_llm.local.policies import policy_tests
from supa_llm.local.project_files import packaged_project
from tests.cli.command import run
from tests.support import Stack

TESTS_UNCHANGED = f"unchanged  supabase/tests/supa_llm, {len(policy_tests())} tests"
PACKAGED = sorted((packaged_project() / "supabase" / "migrations").glob("*.sql"))
NEWEST = PACKAGED[-1].stem.partition("_supa_llm_")[2].replace("_", ".")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Supabase project with its own migration, to which `supa-llm init` added supa-llm's."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20250101000000_todos.sql").write_text("create table public.todos (id bigint);\n")
    assert run("init", "--yes", cwd=tmp_path).returncode == 0
    return tmp_path


def contents(project: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (project / "supabase" / "migrations").iterdir()}


def test_init_adds_the_migrations_beside_the_projects_own(project: Path) -> None:
    added = {file.name: file.read_bytes() for file in PACKAGED}
    assert (
        contents(project) == {"20250101000000_todos.sql": b"create table public.todos (id bigint);\n"} | added
    )


def test_an_upgrade_without_anything_new_changes_nothing(project: Path) -> None:
    before = contents(project)
    done = run("upgrade", cwd=project)
    assert done.returncode == 0, done.stderr
    unchanged = [f"unchanged  supabase/migrations/{file.name}" for file in PACKAGED]
    assert done.stdout.splitlines() == [*unchanged, TESTS_UNCHANGED]
    assert contents(project) == before


def test_the_policy_tests_are_kept_up_to_date(project: Path) -> None:
    own = project / "supabase" / "tests" / "todos.test.sql"
    own.write_text("select 1;\n")
    folder = own.parent / "supa_llm"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in policy_tests()
    }
    (folder / policy_tests()[0].name).write_text("-- of an earlier release\n")
    (folder / "removed.test.sql").write_text("-- of an earlier release\n")
    done = run("upgrade", cwd=project)
    assert f"updated    supabase/tests/supa_llm, {len(policy_tests())} tests" in done.stdout
    assert "obsolete   supabase/tests/supa_llm/removed.test.sql" in done.stdout
    assert (folder / policy_tests()[0].name).read_bytes() == policy_tests()[0].read_bytes()
    assert own.read_text() == "select 1;\n"


def test_an_edited_file_stops_the_upgrade(project: Path) -> None:
    edited = project / "supabase" / "migrations" / PACKAGED[0].name
    edited.write_text("-- mine\n")
    before = contents(project)
    done = run("upgrade", cwd=project)
    assert done.returncode == 1
    assert f"Nothing was copied. supabase/migrations/{edited.name} differs from supa-llm's." in done.stderr
    assert "[migrations_changed]" in done.stderr
    assert contents(project) == before


def test_an_older_client_does_not_upgrade(project: Path) -> None:
    (project / "supabase" / "migrations" / "20990101000000_supa_llm_9_0_0.sql").write_text("select 1;\n")
    before = contents(project)
    done = run("upgrade", cwd=project)
    assert done.returncode == 1
    assert "20990101000000_supa_llm_9_0_0.sql is of a newer supa-llm than this one" in done.stderr
    assert "[client_outdated]" in done.stderr
    assert "pip install --upgrade supa-llm" in done.stderr
    assert contents(project) == before


@pytest.mark.parametrize(
    ("own", "later"),
    [
        ("20261128000001", "now"),
        # The same version as supa-llm's, and one from the future.
        (PACKAGED[0].name.partition("_")[0], "now"),
        ("20991231000000", "20991231000001"),
    ],
)
def test_new_migrations_come_after_all_of_the_projects_own(tmp_path: Path, own: str, later: str) -> None:
    # `supabase db push` would refuse them without --include-all otherwise.
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / f"{own}_mine.sql").write_text("select 1;\n")
    earliest = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    assert run("init", "--yes", cwd=tmp_path).returncode == 0
    mine, *added = sorted(contents(tmp_path))
    assert mine == f"{own}_mine.sql"
    assert [name.partition("_")[2] for name in added] == [file.name.partition("_")[2] for file in PACKAGED]
    version = added[0].partition("_")[0]
    assert version >= max(earliest, own) if later == "now" else version == later
    assert added[0].endswith(PACKAGED[0].name.partition("_")[2])
    # They keep their names from then on.
    assert f"unchanged  supabase/migrations/{added[0]}" in run("upgrade", cwd=tmp_path).stdout
    assert "Would copy" not in run("init", "--dry-run", cwd=tmp_path).stdout


def test_a_project_without_supa_llm_is_not_upgraded(tmp_path: Path) -> None:
    missing = run("upgrade", cwd=tmp_path)
    assert missing.returncode == 1
    assert "Folder not found: supabase." in missing.stderr
    (tmp_path / "supabase").mkdir()
    done = run("upgrade", cwd=tmp_path)
    assert done.returncode == 1
    assert "supabase/migrations has no migration of supa-llm." in done.stderr
    assert "supa-llm init" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "supabase"]


def test_another_folder_is_upgraded(project: Path) -> None:
    (project / "supabase").rename(project / "db")
    done = run("upgrade", "--to", "db/migrations", cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"unchanged  db/migrations/{PACKAGED[0].name}" in done.stdout


@pytest.fixture
def installed(db: psycopg.Connection[Any]) -> Iterator[Any]:
    """A function that makes the database one of another release."""
    [(before,)] = db.execute("select version from llm_private.installation").fetchall()
    yield lambda version: db.execute("update llm_private.installation set version = %s", [version])
    db.execute("update llm_private.installation set version = %s", [before])


def test_the_client_is_compared_with_the_database(project: Path, stack: Stack, installed: Any) -> None:
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    done = run("upgrade", cwd=project, **environment)
    assert done.stdout.endswith(f"The database is up to date: supa-llm {NEWEST}.\n")
    installed("9.0.0")
    done = run("upgrade", cwd=project, **environment)
    assert f"The database has supa-llm 9.0.0, which is newer than this client's {NEWEST}." in done.stdout
    assert "pip install --upgrade supa-llm" in done.stdout


def test_an_older_database_is_reported_with_the_next_step(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migrations, "packaged", lambda: {NEWEST: PACKAGED[-1], "9.0.0": PACKAGED[-1]})
    monkeypatch.setenv("SUPABASE_SECRET_KEY", stack.secret_key)
    installation._show_versions(stack.api_url, tmp_path, is_new=False)
    shown = capsys.readouterr().out
    assert f"The database has supa-llm {NEWEST}, and this client needs 9.0.0." in shown
    assert "Push the migrations: npx supabase db push --remote" in shown


def test_a_database_that_cannot_be_asked_does_not_stop_the_upgrade(project: Path) -> None:
    environment = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_x"}
    done = run("upgrade", cwd=project, **environment)
    assert done.returncode == 0, done.stderr
    assert "The version of the database is unknown." in done.stdout
