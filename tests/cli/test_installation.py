"""`supa-llm init` and `uninstall`: what they write, and that they touch nothing else."""

from __future__ import annotations

import subprocess
import uuid
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


def files(project: Path) -> dict[str, str]:
    """The files of the project by name, without those of git."""
    found = (path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(project)): path.read_text() for path in found}


def test_a_project_is_prepared_in_two_runs(project: Path, stack: Stack) -> None:
    before = files(project)
    first = run("init", "--yes", cwd=project)
    assert first.returncode == 0, first.stderr
    assert (
        "Will copy supa-llm's migration to supabase/migrations, and its tests to supabase/tests.\n"
        in first.stdout
    )
    assert "to a local stack: supa-llm local up" in first.stdout
    assert first.stdout.endswith("  npx supabase db push --remote\n  supa-llm init\n")
    copied = files(project)
    assert copied.items() > before.items()
    assert all(name.startswith("supabase/") for name in copied.keys() - before.keys())

    name = f"server-{uuid.uuid4().hex}"
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    (project / ".env").write_text("MINE=1\n")
    second = run("init", "--yes", "--runtime", name, cwd=project, **environment)
    assert second.returncode == 0, second.stderr
    assert f"Registered the runtime {name}. SUPA_LLM_RUNTIME_SECRET is set in .env." in second.stdout
    assert "supa-llm prices sync" in second.stdout
    assert {file: text for file, text in files(project).items() if file != ".env"} == copied
    mine, secret = (project / ".env").read_text().splitlines()
    assert mine == "MINE=1"
    assert secret.startswith("SUPA_LLM_RUNTIME_SECRET=slr_")
    assert secret.partition("=")[2] not in second.stdout + second.stderr
    assert (project / ".env").stat().st_mode & 0o777 == 0o600

    after = files(project)
    third = run("init", cwd=project, **environment)  # asks nothing
    assert third.returncode == 0, third.stderr
    assert "supa-llm is installed." in third.stdout
    assert files(project) == after
    assert [it["name"] for it in stack.admin("list_llm_runtimes")].count(name) == 1


def test_nothing_is_done_without_confirmation(project: Path, stack: Stack) -> None:
    before = files(project)
    assert run("init", cwd=project).returncode == 1
    dry = run("init", "--dry-run", cwd=project)
    plan = "Would copy supa-llm's migration to supabase/migrations, and its tests to supabase/tests.\n"
    assert dry.stdout == plan
    assert files(project) == before


def test_a_secret_in_the_environment_is_enough(project: Path, stack: Stack) -> None:
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    done = run("init", "--yes", cwd=project, SUPA_LLM_RUNTIME_SECRET="slr_mine", **environment)
    assert "SUPA_LLM_RUNTIME_SECRET is set in the environment, so no runtime was registered.\n" in done.stdout
    assert "Registered" not in done.stdout
    assert not (project / ".env").exists()


def test_a_named_file_gets_a_secret_whatever_the_environment_has(project: Path, stack: Stack) -> None:
    name = f"server-{uuid.uuid4().hex}"
    environment = {
        "SUPABASE_URL": stack.api_url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "SUPA_LLM_RUNTIME_SECRET": "slr_of_another_project",
    }
    options = ("init", "--yes", "--runtime", name, "--env-file", ".env.production")
    done = run(*options, cwd=project, **environment)
    assert "SUPA_LLM_RUNTIME_SECRET is set in .env.production.\n" in done.stdout, done.stderr
    assert (project / ".env.production").read_text().startswith("SUPA_LLM_RUNTIME_SECRET=slr_")
    assert "Registered" not in run(*options, cwd=project, **environment).stdout
    taken = run(*options[:-1], ".env.other", cwd=project, **environment)
    assert f"supa-llm runtimes rotate {name} [runtime_exists]\n" in taken.stderr


def test_a_file_that_git_would_add_gets_no_secret(project: Path, stack: Stack) -> None:
    subprocess.run(["git", "init", "-q", project], check=True)
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    name = f"server-{uuid.uuid4().hex}"
    done = run("init", "--yes", "--runtime", name, cwd=project, **environment)
    assert done.returncode == 1
    assert "[env_file_not_ignored]" in done.stderr
    assert len(migrations(project)) == 1
    assert name not in [it["name"] for it in stack.admin("list_llm_runtimes")]
    (project / ".gitignore").write_text(".env\n")
    assert run("init", "--yes", "--runtime", name, cwd=project, **environment).returncode == 0


@pytest.mark.parametrize(
    "statement",
    [
        "create table public.llm_keys (id int);",
        "create table if not exists llm_prices (id int);",
        'create view "public"."llm_usage_events" as select 1;',
        "CREATE OR REPLACE FUNCTION set_llm_key(a int) RETURNS int LANGUAGE sql RETURN 1;",
        "create type public.llm_problem as enum ('a');",
        "create schema if not exists llm_private;",
    ],
)
def test_a_name_that_the_project_uses_is_refused_before_anything_is_written(
    project: Path, statement: str
) -> None:
    (project / "supabase" / "migrations" / "20250102000000_mine.sql").write_text(f"select 1;\n{statement}\n")
    before = files(project)
    done = run("init", "--yes", cwd=project)
    assert done.returncode == 1
    assert "[name_taken]" in done.stderr
    assert "supabase/migrations/20250102000000_mine.sql" in done.stderr
    assert files(project) == before


@pytest.mark.parametrize(
    "statement",
    [
        "create table app.llm_keys (id int);",
        "create table llm_keys_of_mine (id int);",
        "create table public.llm_chats (id int); -- llm_keys",
        "alter table llm_keys add column x int;",
    ],
)
def test_other_names_are_the_projects_own(project: Path, statement: str) -> None:
    (project / "supabase" / "migrations" / "20250102000000_mine.sql").write_text(statement)
    assert run("init", "--yes", cwd=project).returncode == 0


def test_another_project_than_supabases_is_an_error(project: Path) -> None:
    before = files(project)
    environment = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_x"}
    done = run("init", "--yes", cwd=project, **environment)
    assert done.returncode == 1
    assert "[database_unavailable]" in done.stderr
    assert files(project) == before


def test_the_migration_is_the_projects_newest(project: Path) -> None:
    assert run("init", "--yes", cwd=project).returncode == 0
    before = migrations(project)
    done = run("uninstall", "--yes", cwd=project)
    assert done.returncode == 0, done.stderr
    assert migrations(project)[:-1] == before
    written = migrations(project)[-1]
    assert written.name.endswith("_remove_supa_llm.sql")
    assert written.read_text() == STATEMENTS
    assert f"Wrote supabase/migrations/{written.name}." in done.stdout
    assert "supabase db push" in done.stdout
    assert done.stdout.endswith("Then delete supabase/tests/supa_llm: these tests fail without supa-llm.\n")


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
