"""`supa-llm uninstall`: writes one migration, and nothing before it is confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import run
from tests.support import ROOT, Stack, User

STATEMENTS = (ROOT / "supabase" / "uninstall.sql").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Supabase project with its own migration."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20250101000000_todos.sql").write_text("create table public.todos (id bigint);\n")
    return tmp_path


def migrations(project: Path) -> list[Path]:
    return sorted((project / "supabase" / "migrations").iterdir())


def test_the_migration_is_the_projects_newest(project: Path) -> None:
    assert run("migrations", "copy", cwd=project).returncode == 0
    before = migrations(project)
    done = run("uninstall", "--yes", cwd=project)
    assert done.returncode == 0, done.stderr
    assert migrations(project)[:-1] == before
    written = migrations(project)[-1]
    assert written.name.endswith("_remove_supa_llm.sql")
    assert written.read_text() == STATEMENTS
    assert f"Wrote supabase/migrations/{written.name}." in done.stdout
    assert "supabase db push" in done.stdout


def test_nothing_is_written_unless_it_is_confirmed(project: Path) -> None:
    before = migrations(project)
    done = run("uninstall", cwd=project)  # without a terminal, nobody can confirm
    assert done.returncode == 1
    assert "Pushing it deletes all keys, settings and quotas of your users." in done.stdout
    assert "It deletes their usage, too." in done.stdout
    assert "Their usage is kept." in run("uninstall", "--keep-usage", cwd=project).stdout
    assert migrations(project) == before


def test_a_second_migration_is_refused(project: Path) -> None:
    run("uninstall", "--yes", cwd=project)
    done = run("uninstall", "--yes", cwd=project)
    assert done.returncode == 1
    assert "[already_uninstalled]" in done.stderr
    assert len(migrations(project)) == 2


def test_usage_is_exported_first(project: Path, stack: Stack, user: User) -> None:
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    done = run("uninstall", "--yes", "--export", "usage.csv", cwd=project, **environment)
    assert done.returncode == 0, done.stderr
    assert (project / "usage.csv").read_text().startswith("user_id,")
    failing = run("uninstall", "--yes", "--export", "missing/usage.csv", cwd=project, **environment)
    assert failing.returncode == 1
    assert len(migrations(project)) == 2


def test_a_failed_export_writes_no_migration(project: Path, stack: Stack) -> None:
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": "sb_secret_wrong"}
    done = run("uninstall", "--yes", "--export", "usage.csv", cwd=project, **environment)
    assert done.returncode == 1
    assert len(migrations(project)) == 1


def test_another_folder_than_a_projects_is_refused(tmp_path: Path) -> None:
    done = run("uninstall", "--yes", cwd=tmp_path)
    assert done.returncode == 1
    assert "Run this in the folder of your Supabase project." in done.stderr
