"""The migrations in an existing project: they leave its own objects alone and are applied once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supa_llm import LocalError
from supa_llm.local import LocalStack
from supa_llm.local.install import cache_directory, install
from supa_llm.local.layout import layout_for
from tests.database.support import Adopter, Connection, Http, inventory, new_user, owner
from tests.support import ROOT, Stack, key_for, unique


def test_the_migrations_do_not_change_a_projects_own_objects(adopter: Adopter) -> None:
    with owner(adopter.stack) as connection:
        after = inventory(connection)
    for kind, before in adopter.before.items():
        assert after[kind] == before, kind


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
    assert http.admin.rpc("list_llm_runtimes")[0]["revoked_at"]
