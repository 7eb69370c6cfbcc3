"""`supa-llm migrations copy`: adds supa-llm's migrations to a project without changing its own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from supa_llm.local.policies import policy_tests
from supa_llm.local.project_files import packaged_project
from tests.cli.command import run

TESTS_UNCHANGED = f"unchanged  supabase/tests/supa_llm, {len(policy_tests())} tests"
PACKAGED = sorted((packaged_project() / "supabase" / "migrations").glob("*.sql"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Supabase project with its own migration."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20250101000000_todos.sql").write_text("create table public.todos (id bigint);\n")
    return tmp_path


def contents(project: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (project / "supabase" / "migrations").iterdir()}


def test_migrations_are_added_beside_the_projects_own(project: Path) -> None:
    before = contents(project)
    done = run("migrations", "copy", cwd=project)
    assert done.returncode == 0, done.stderr
    assert contents(project) == before | {file.name: file.read_bytes() for file in PACKAGED}
    assert all(f"new        supabase/migrations/{file.name}" in done.stdout for file in PACKAGED)
    assert "Apply the migrations: supabase db push\n" in done.stdout
    assert "--include-all" not in done.stdout


def test_a_second_copy_adds_only_new_migrations(project: Path) -> None:
    run("migrations", "copy", cwd=project)
    (project / "supabase" / "migrations" / PACKAGED[-1].name).unlink()
    done = run("migrations", "copy", cwd=project)
    before = [f"unchanged  supabase/migrations/{file.name}" for file in PACKAGED[:-1]]
    new = f"supabase/migrations/{PACKAGED[-1].name}"
    assert done.stdout.splitlines() == [
        *before,
        f"new        {new}",
        TESTS_UNCHANGED,
        "Apply the migrations: supabase db push",
    ]
    again = run("migrations", "copy", cwd=project)
    assert again.stdout.splitlines() == [*before, f"unchanged  {new}", TESTS_UNCHANGED]


def test_the_policy_tests_are_copied_and_kept_up_to_date(project: Path) -> None:
    own = project / "supabase" / "tests" / "todos.test.sql"
    own.parent.mkdir()
    own.write_text("select 1;\n")
    done = run("migrations", "copy", cwd=project)
    assert f"new        supabase/tests/supa_llm, {len(policy_tests())} tests" in done.stdout
    folder = own.parent / "supa_llm"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in policy_tests()
    }
    (folder / policy_tests()[0].name).write_text("-- of an earlier release\n")
    (folder / "removed.test.sql").write_text("-- of an earlier release\n")
    done = run("migrations", "copy", cwd=project)
    assert f"updated    supabase/tests/supa_llm, {len(policy_tests())} tests" in done.stdout
    assert "obsolete   supabase/tests/supa_llm/removed.test.sql" in done.stdout
    assert (folder / policy_tests()[0].name).read_bytes() == policy_tests()[0].read_bytes()
    assert own.read_text() == "select 1;\n"


def test_a_changed_file_stops_the_copy(project: Path) -> None:
    changed = project / "supabase" / "migrations" / PACKAGED[0].name
    changed.write_text("-- mine\n")
    before = contents(project)
    done = run("migrations", "copy", cwd=project)
    assert done.returncode == 1
    assert f"{PACKAGED[0].name} differs from supa-llm's" in done.stderr
    assert "[migrations_changed]" in done.stderr
    assert contents(project) == before


def test_a_used_version_stops_the_copy(project: Path) -> None:
    version = PACKAGED[0].name.partition("_")[0]
    (project / "supabase" / "migrations" / f"{version}_mine.sql").write_text("select 1;\n")
    before = contents(project)
    done = run("migrations", "copy", cwd=project)
    assert done.returncode == 1
    assert f"{version}_mine.sql uses a version of supa-llm's migrations" in done.stderr
    assert "[migrations_clash]" in done.stderr
    assert contents(project) == before


def test_newer_migrations_of_the_project_require_include_all(project: Path) -> None:
    (project / "supabase" / "migrations" / "20991231000000_later.sql").write_text("select 1;\n")
    assert "supabase db push --include-all" in run("migrations", "copy", cwd=project).stdout


def test_outside_a_project_a_folder_is_required(tmp_path: Path) -> None:
    done = run("migrations", "copy", cwd=tmp_path)
    assert done.returncode == 1
    assert "Folder not found: supabase." in done.stderr
    assert list(tmp_path.iterdir()) == []
    named = run("migrations", "copy", "--to", "db/migrations", cwd=tmp_path)
    assert named.returncode == 0, named.stderr
    assert len(list((tmp_path / "db" / "migrations").iterdir())) == len(PACKAGED)
