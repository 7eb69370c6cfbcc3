"""`make migration`: a released migration never changes, and a later one is compared with the schema files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from supa_llm_cli.migrations import copy

from supa_llm.local import project_files
from supa_llm.local.policies import policy_tests
from tests.support import ROOT
from tools.migration import FIRST, compare, first_file, freeze, problems, version, write

FIRST_FILE = f"{FIRST}_supa_llm_0_1_0.sql"
SECOND = "20270201000000_supa_llm_0_2_0.sql"
ADD_NOTE = "alter table llm_private.examples add column note text;\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This project's SQL and a table `examples`, before the first release."""
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    set_columns(tmp_path, "id bigint primary key")
    (tmp_path / "supabase" / "released.sha256").write_text("")
    shutil.rmtree(tmp_path / "supabase" / "migrations")
    set_version(tmp_path, "0.1.0")
    write(tmp_path)
    return tmp_path


@pytest.fixture
def later(project: Path) -> Path:
    """The project after the release of 0.1.0, on the way to 0.2.0 with one more column."""
    freeze(project)
    set_version(project, "0.2.0")
    set_columns(project, "id bigint primary key, note text")
    return project


def set_version(project: Path, name: str) -> None:
    (project / "pyproject.toml").write_text(f'[project]\nversion = "{name}"\n')


def set_columns(project: Path, columns: str) -> None:
    file = project / "supabase" / "schemas" / "96_examples.sql"
    file.write_text(f"create table llm_private.examples ({columns});\n")


def add_migration(project: Path, sql: str, name: str = SECOND) -> None:
    (project / "supabase" / "migrations" / name).write_text(sql)


def change_a_schema_file(project: Path) -> None:
    with (project / "supabase" / "schemas" / "96_examples.sql").open("a") as file:
        file.write("\nselect 1;\n")


def test_the_migrations_of_this_project_are_in_order() -> None:
    assert problems(ROOT) == []


def test_before_the_first_release_the_migration_follows_the_schema_files(project: Path) -> None:
    change_a_schema_file(project)
    assert problems(project) == [f"{first_file(project).name} is out of date. Run: make migration"]
    write(project)
    assert problems(project) == []
    assert "\nselect 1;\n" in first_file(project).read_text()


def test_a_migration_of_another_version_is_refused(project: Path) -> None:
    add_migration(project, "select 1;\n")
    assert problems(project) == [
        f"{SECOND} is not of version {version(project)}. Name it <timestamp>_supa_llm_0_1_0.sql."
    ]


def test_a_released_migration_does_not_follow_the_schema_files(project: Path) -> None:
    freeze(project)
    change_a_schema_file(project)
    assert problems(project) == []


def test_a_released_migration_that_changed_is_refused(project: Path) -> None:
    released = first_file(project)
    freeze(project)
    with released.open("a") as file:
        file.write("\n")
    refused = (
        f"{released.name} is released and has changed. Restore it, and make the change in a new migration."
    )
    assert problems(project) == [refused]
    released.unlink()
    assert problems(project) == [refused]


def test_a_second_migration_that_adds_the_column_is_accepted(
    later: Path, empty: psycopg.Connection[Any]
) -> None:
    add_migration(later, ADD_NOTE)
    assert problems(later) == []
    assert compare(empty, later) == []


def test_a_forgotten_migration_is_reported_with_what_it_lacks(
    later: Path, empty: psycopg.Connection[Any]
) -> None:
    assert problems(later) == []
    headline, _, missing = compare(empty, later)
    assert headline.startswith("supabase/schemas and supabase/migrations build different databases.")
    assert missing.startswith("- column llm_private examples ")
    assert " note text " in missing


def test_a_migration_that_does_more_than_the_schema_files_is_reported(
    later: Path, empty: psycopg.Connection[Any]
) -> None:
    add_migration(later, ADD_NOTE + "create index more on llm_private.examples (note);\n")
    _, _, more = compare(empty, later)
    assert more.startswith("+ index llm_private more CREATE INDEX more ")


def test_a_second_migration_runs_after_the_first(later: Path) -> None:
    early = SECOND.replace("2027", "2025")
    add_migration(later, ADD_NOTE, early)
    assert problems(later) == [f"{early} would run before {FIRST_FILE}. Give it a later timestamp."]


def test_both_releases_stay_frozen(later: Path) -> None:
    add_migration(later, ADD_NOTE)
    assert freeze(later) == [SECOND]
    assert problems(later) == []
    assert freeze(later) == []
    add_migration(later, "select 1;\n")
    assert [line.partition(" ")[0] for line in problems(later)] == [SECOND]


def test_adopters_get_both_migrations(
    later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project_files, "packaged_project", lambda: later)
    add_migration(later, ADD_NOTE)
    target = tmp_path / "app" / "migrations"
    copy(target)
    assert sorted(file.name for file in target.iterdir()) == [
        path.name for path in sorted((later / "supabase" / "migrations").iterdir())
    ]
    (target / SECOND).unlink()
    own = target / "20270301000000_mine.sql"
    own.write_text("select 1;\n")
    capsys.readouterr()
    [new] = copy(target)
    assert new.name > own.name
    assert new.name.endswith("_supa_llm_0_2_0.sql")
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"new        {new}",
        f"unchanged  {target.parent / 'tests' / 'supa_llm'}, {len(policy_tests())} tests",
    ]
