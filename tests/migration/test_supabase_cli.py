"""The real Supabase CLI on supa-llm's migrations: pushes, upgrades, repairs and types."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from supa_llm_cli import installation

from supa_llm.local import project_files
from supa_llm.local.install import Runtime, cache_directory, install
from supa_llm.local.layout import layout_for
from tests.support import ROOT, Stack
from tools.migration import footer, public_names

OURS = "20261128000000"
TODOS = "create table public.todos (id bigint primary key, title text);\n"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """The installed Supabase CLI, with TypeScript."""
    return install(cache_directory(layout_for(tmp_path_factory.mktemp("layout"), "").user), print)


class Project:
    """A folder with an adopter's migrations, and the CLI on a database."""

    def __init__(self, folder: Path, runtime: Runtime, url: str) -> None:
        self.folder, self.runtime, self.url = folder, runtime, f"{url}?sslmode=disable"
        self.migrations = folder / "supabase" / "migrations"
        self.migrations.mkdir(parents=True)

    def supabase(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `supabase` on the database."""
        home = str(self.folder / "home")
        environment = {**os.environ, "SUPABASE_HOME": home, "SUPABASE_TELEMETRY_DISABLED": "1"}
        return subprocess.run(
            [str(self.runtime.supabase), *arguments, "--yes"],
            cwd=self.folder,
            env={**environment, "NO_COLOR": "1", "SUPABASE_NO_UPDATE_NOTIFIER": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, *arguments: str) -> str:
        """Run `supabase` on the database; it must succeed."""
        done = self.supabase(*arguments, f"--remote={self.url}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def applied(self) -> list[tuple[str, str]]:
        """The versions in the folder and in the database."""
        listed = json.loads(self.run("migration", "list", "--output-format", "json"))
        return [(it["local"], it["remote"]) for it in listed["migrations"]]


@pytest.fixture
def project(
    tmp_path: Path, runtime: Runtime, empty: psycopg.Connection[Any]
) -> Iterator[tuple[Project, psycopg.Connection[Any]]]:
    """A project with its own migration, whose database ends as empty as it began."""
    info = empty.info
    url = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    project = Project(tmp_path, runtime, url)
    (project.migrations / "20250101000000_todos.sql").write_text(TODOS)
    try:
        yield project, empty
    finally:
        empty.execute("drop table if exists public.todos; drop schema if exists supabase_migrations cascade")


@pytest.fixture
def releases(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of supa-llm whose later release 9.0.0 has a second migration."""
    package = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "supabase", package / "supabase")
    names = [name for kind in public_names(ROOT).values() for name in kind]
    (package / "supabase" / "migrations" / "20261129000000_supa_llm_9_0_0.sql").write_text(
        "alter table llm_private.runtimes add column note text;\n" + footer("9.0.0", names)
    )
    monkeypatch.setattr(project_files, "packaged_project", lambda: package)
    return package


def test_pushes_upgrades_and_repairs(
    project: tuple[Project, psycopg.Connection[Any]],
    releases: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    it, db = project
    monkeypatch.chdir(it.folder)
    shutil.copy(next((ROOT / "supabase" / "migrations").glob("*.sql")), it.migrations)
    it.run("db", "push")
    # The app goes on, before supa-llm is upgraded.
    (it.migrations / "20270101000000_done.sql").write_text("alter table public.todos add column done bool;\n")
    it.run("db", "push")
    assert it.applied() == [(version, version) for version in ("20250101000000", OURS, "20270101000000")]

    installation.upgrade(directory=it.folder)
    assert "Push the migrations: npx supabase db push --remote" in capsys.readouterr().out
    [added] = it.migrations.glob("*_supa_llm_9_0_0.sql")
    version = added.name.partition("_")[0]
    assert it.applied()[-1] == (version, "")
    it.run("db", "push")  # without --include-all
    assert it.applied()[-1] == (version, version)
    row = db.execute("select version from llm_private.installation").fetchone()
    assert row is not None
    assert tuple(row) == ("9.0.0",)

    # After a restore into a new project, the history may be repaired.
    db.execute("delete from supabase_migrations.schema_migrations")
    versions = [local for local, remote in it.applied() if not remote]
    it.run("migration", "repair", "--status", "applied", *versions)
    assert "up to date" in it.run("db", "push")
    it.run("migration", "repair", "--status", "reverted", version)
    assert it.applied()[-1] == (version, "")
    it.run("migration", "repair", "--status", "applied", version)

    installation.uninstall(directory=it.folder, yes=True)
    it.run("db", "push")
    left = db.execute("select to_regnamespace('llm_private'), to_regclass('public.todos')").fetchone()
    assert left is not None
    assert tuple(map(str, left)) == ("None", "todos")


def test_the_older_option_for_a_url_works(project: tuple[Project, psycopg.Connection[Any]]) -> None:
    it, _ = project
    done = it.supabase("db", "push", "--db-url", it.url)
    assert done.returncode == 0, done.stderr
    assert it.applied() == [("20250101000000", "20250101000000")]


def test_a_migration_out_of_order_is_refused_without_include_all(
    project: tuple[Project, psycopg.Connection[Any]],
) -> None:
    it, _ = project
    it.run("db", "push")
    (it.migrations / "20240101000000_early.sql").write_text("select 1;\n")
    refused = it.supabase("db", "push", f"--remote={it.url}")
    assert refused.returncode != 0
    assert "--include-all" in refused.stdout + refused.stderr
    it.run("db", "push", "--include-all")


def typescript(page: str) -> list[str]:
    return re.findall(r"```ts\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def test_an_app_in_strict_typescript_calls_the_functions(
    tmp_path: Path, runtime: Runtime, stack: Stack
) -> None:
    project = Project(tmp_path, runtime, stack.db_url)
    (tmp_path / "database.types.ts").write_text(project.run("gen", "types", "--lang", "typescript"))
    [page] = typescript("rpc.md")
    (tmp_path / "app.ts").write_text(page)
    shutil.copy(ROOT / "panel" / "src" / "types.ts", tmp_path / "rows.ts")
    (tmp_path / "node_modules").symlink_to(runtime.modules)
    options = {
        "strict": True, "noEmit": True, "skipLibCheck": True, "module": "esnext", "target": "es2022",
        "moduleResolution": "bundler", "lib": ["es2022", "dom"], "types": [],
    }  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["app.ts"]}))
    compiler = runtime.modules / "typescript" / "bin" / "tsc"

    def compiled() -> str:
        return subprocess.run(
            [str(runtime.node), str(compiler), "--project", str(tmp_path)], capture_output=True, text=True
        ).stdout

    assert compiled() == ""
    # The types are there: a wrong argument does not compile.
    (tmp_path / "app.ts").write_text(page + '\nawait supabase.rpc("list_llm_models", { p_model: "x" });\n')
    assert "p_model" in compiled()


def test_a_diff_of_the_schema_public_leaves_the_months_alone(
    project: tuple[Project, psycopg.Connection[Any]], stack: Stack
) -> None:
    it, db = project
    shutil.copy(next((ROOT / "supabase" / "migrations").glob("*.sql")), it.migrations)
    it.run("db", "push")
    month = "llm_usage_events_2025_05"

    def diff(*options: str) -> str:
        ends = ("--from", f"{stack.db_url}?sslmode=disable", "--to", it.url)
        done = it.supabase("db", "diff", *options, *ends)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with stack.connect() as connection:
        connection.execute(
            "select llm_private.add_month_partition('llm_usage_events', 'request_id', '2025-05-01')"
        )
        try:
            # What docs/database.md warns of.
            assert f'DROP TABLE "llm_private"."{month}"' in diff("--use-pg-delta")
            for engine in ("--use-pg-delta", "--use-migra"):
                generated = diff(engine, "-s", "public")
                assert 'CREATE TABLE "public"."todos"' in generated
                assert "llm_" not in generated
        finally:
            connection.execute(f"drop table llm_private.{month}")
            db.execute((ROOT / "supabase" / "uninstall.sql").read_bytes())
