"""The migrations in an existing project: they leave its own objects alone and are applied once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import LocalError
from supa_llm.local import LocalStack
from supa_llm.local.install import cache_directory, install
from supa_llm.local.layout import layout_for
from tests.cli.command import run
from tests.database.support import (
    Adopter,
    Connection,
    Http,
    Transaction,
    inventory,
    new_user,
    owner,
    refused,
)
from tests.support import ROOT, Stack, key_for, unique


def test_the_migrations_do_not_change_a_projects_own_objects(adopter: Adopter) -> None:
    with owner(adopter.stack) as connection:
        after = inventory(connection)
    for kind, before in adopter.before.items():
        assert after[kind] == before, kind


@pytest.fixture
def removing(adopter: Adopter) -> Iterator[Connection]:
    """A connection in which supa-llm can be removed; the end of the test undoes that."""
    with owner(adopter.stack) as connection, connection.transaction(force_rollback=True):
        yield connection


UNINSTALL = (ROOT / "supabase" / "uninstall.sql").read_bytes()


def test_removing_supa_llm_leaves_the_project_as_it_was(adopter: Adopter, removing: Connection) -> None:
    user = new_user(Transaction(removing))
    user.holds_key("groq")
    user.records()
    removing.execute("create table public.notes (id bigint, author uuid references auth.users (id))")
    removing.execute("create extension if not exists pg_trgm with schema extensions")
    removing.execute("create view public.signed as select extensions.digest(author::text, 'md5') from notes")
    mine = inventory(removing)
    removing.execute(UNINSTALL)
    for kind, before in mine.items():
        assert inventory(removing)[kind] == before, kind
    assert objects(removing).keys() == {"pushed"}
    removing.execute("drop view public.signed")
    removing.execute("drop table public.notes")
    removing.execute("drop extension pg_trgm")
    for kind, before in adopter.before.items():
        assert inventory(removing)[kind] == before, kind


def test_usage_can_be_kept_for_administrators(removing: Connection, tmp_path: Path) -> None:
    tx = Transaction(removing)
    user = new_user(tx)
    user.records()
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    assert run("uninstall", "--keep-usage", "--yes", cwd=tmp_path).returncode == 0
    (file,) = (tmp_path / "supabase" / "migrations").iterdir()
    removing.execute(file.read_bytes())
    assert objects(removing).keys() == {"pushed", "relations"}
    query = (
        "select provider, requested_at > now() - interval '1 minute' as is_new from public.llm_usage_archive"
    )
    with tx.as_role(tx.admin) as connection:
        assert connection.execute(f"{query} where user_id = %s", [user.id]).fetchall() == [
            {"provider": "groq", "is_new": True}
        ]
    with refused("42501"), tx.as_role(user) as connection:
        connection.execute(query)


@pytest.mark.parametrize(
    ("statement", "dependent"),
    [
        ("create view public.spent as select sum(cost) from public.llm_usage_totals", "view spent"),
        (
            "create table public.notes (provider text references public.llm_providers (id))",
            "constraint notes_provider_fkey on table notes",
        ),
        ("create table public.notes (problem public.llm_problem)", "table notes"),
        (
            "create function public.mine() returns bigint language sql"
            " begin atomic select count(*) from public.llm_keys; end",
            "function mine()",
        ),
    ],
    ids=["view", "foreign key", "column", "function"],
)
def test_removing_is_refused_while_objects_of_the_project_need_supa_llm(
    removing: Connection, statement: str, dependent: str
) -> None:
    removing.execute(statement)
    before = objects(removing)
    with pytest.raises(psycopg.errors.RaiseException, match=re.escape(dependent)), removing.transaction():
        removing.execute(UNINSTALL)
    assert objects(removing) == before


def test_a_failed_push_leaves_nothing_behind(tmp_path: Path) -> None:
    """The CLI sends a migration as one transaction, which no statement in it may end."""
    empty, failing = tmp_path / "empty", tmp_path / "failing"
    (empty / "supabase" / "migrations").mkdir(parents=True)
    shutil.copytree(ROOT / "supabase", failing / "supabase")
    (migration,) = (failing / "supabase" / "migrations").glob("*.sql")
    migration.write_text(f"{migration.read_text()}\nselect 1 / 0;\n")
    options: dict[str, Any] = {"port": 0, "throwaway": True}
    local = LocalStack(tmp_path / "stack", project=empty, **options)
    try:
        local.up()
        with owner(Stack.from_env(local.env())) as connection:
            before = inventory(connection)
            with pytest.raises(LocalError, match="division by zero"):
                LocalStack(tmp_path / "stack", project=failing, **options).up()
            assert inventory(connection) == before
            assert objects(connection) == {}
        LocalStack(tmp_path / "stack", project=ROOT, **options).up()
        with owner(Stack.from_env(local.env())) as connection:
            assert objects(connection).keys() == {"schemas", "relations", "functions", "secrets", "pushed"}
    finally:
        local.destroy()


def objects(connection: Connection) -> dict[str, int]:
    """Count supa-llm's objects in a project by kind, without kinds that have none."""
    queries = {
        "schemas": "select from pg_namespace where nspname = 'llm_private'",
        "relations": "select from pg_class where relname ~ 'llm'",
        "functions": "select from pg_proc where proname ~ 'llm'",
        "secrets": "select from vault.secrets where name ~ 'llm'",
    }
    found = {kind: len(connection.execute(query).fetchall()) for kind, query in queries.items()}
    history = "supabase_migrations.schema_migrations"
    if connection.execute("select to_regclass(%s) as history", [history]).fetchall()[0]["history"]:
        found["pushed"] = len(connection.execute(f"select from {history}").fetchall())
    return {kind: count for kind, count in found.items() if count}


def test_a_second_push_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    runtime = install(cache_directory(layout_for(tmp_path, "").user), print)
    pushed = subprocess.run(
        [runtime.supabase, "db", "push", "--yes", f"--remote={stack.db_url}?sslmode=disable"],
        cwd=tmp_path,
        env={**os.environ, "SUPABASE_HOME": str(tmp_path), "SUPABASE_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert pushed.returncode == 0, pushed.stderr
    assert "Remote database is up to date." in pushed.stdout + pushed.stderr
    assert "WARN" not in pushed.stdout + pushed.stderr


def test_every_migration_reloads_the_schema_cache_of_postgrest() -> None:
    """A project without Supabase's event triggers does not find a new function before."""
    for migration in (ROOT / "supabase" / "migrations").glob("*.sql"):
        assert "\nnotify pgrst, 'reload schema';\n" in migration.read_text(), migration.name


def test_the_api_works_with_the_default_privileges_of_new_projects(adopter: Adopter) -> None:
    assert adopter.stack.jwt_secret is not None
    http = Http(adopter.stack, adopter.stack.jwt_secret)
    user, runtime = new_user(http), http.admin.rpc("register_llm_runtime", p_name=unique("app"))
    assert user.rpc("list_llm_providers")
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    key = user.holds_key("groq")
    route = user.through(runtime["secret"]).rpc("resolve_llm_route", p_operator_providers=["openai"])
    assert [candidate["key"] for candidate in route["candidates"]] == [key_for("groq"), None]
    assert user.rpc("explain_llm_route")["candidates"]
    assert user.records(key_id=key["id"])
    assert user.rpc("get_llm_usage")[0]["requests"] == user.rpc("get_llm_settings")["total_requests"] == 1
    assert user.rpc("list_llm_keys")[0]["status"] == "working"
    assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq")
    user.rpc("remove_llm_key", p_provider="groq")
    assert len(user.rpc("get_llm_audit_log")) == 5
    assert http.admin.rpc("set_llm_provider", p_provider={"id": "groq", "position": 20})
    assert http.admin.rpc("set_llm_operator_settings", p_changes={}) == http.admin.rpc(
        "get_llm_operator_settings"
    )
    http.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    revoked = {it["id"] for it in http.admin.rpc("list_llm_runtimes") if it["revoked_at"]}
    assert revoked == {runtime["id"]}
