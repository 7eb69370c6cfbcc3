"""`make migration`: one file a version, and what is released stays as it is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.support import ROOT
from tools.migration import path_of, problems, version, write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project's SQL, to be changed."""
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def release(project: Path) -> Path:
    """Freeze the migration of the present version."""
    migration = path_of(project, version(project))
    digest = hashlib.sha256(migration.read_bytes()).hexdigest()
    (project / "supabase" / "released.sha256").write_text(f"{digest}  {migration.name}\n")
    return migration


def change_a_schema_file(project: Path) -> None:
    with (project / "supabase" / "schemas" / "95_data.sql").open("a") as file:
        file.write("\nselect 1;\n")


def test_the_migrations_of_this_project_are_in_order() -> None:
    assert problems(ROOT) == []


def test_a_change_of_a_schema_file_needs_the_migration_made_anew(project: Path) -> None:
    change_a_schema_file(project)
    migration = path_of(project, version(project))
    assert problems(project) == [f"{migration.name} is out of date: run `make migration`."]
    write(project)
    assert problems(project) == []
    assert migration.read_text().endswith("\nselect 1;\n")


def test_a_released_migration_does_not_follow_the_schema_files(project: Path) -> None:
    before = release(project).read_text()
    change_a_schema_file(project)
    assert problems(project) == []
    with pytest.raises(SystemExit, match="is released: a change needs a new version"):
        write(project)
    assert path_of(project, version(project)).read_text() == before


def test_a_released_migration_that_was_changed_is_found(project: Path) -> None:
    migration = release(project)
    migration.write_text(migration.read_text() + "\n")
    assert problems(project) == [f"{migration.name} is released, and is no longer what was released."]
    migration.unlink()
    assert problems(project) == [f"{migration.name} is released, and is no longer what was released."]


def test_a_migration_that_nothing_makes_is_found(project: Path) -> None:
    (project / "supabase" / "migrations" / "20270101000000_more.sql").write_text("select 1;\n")
    assert problems(project) == [
        "20270101000000_more.sql is neither released nor the migration of this version."
    ]
