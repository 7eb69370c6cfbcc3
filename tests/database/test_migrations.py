"""The migrations in somebody's project: they leave what is there alone, and go in once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from supa_llm.local.install import cache_directory, install
from supa_llm.local.layout import layout_for
from tests.database.support import Adopter, Http, inventory, new_user, owner
from tests.support import ROOT, Stack, key_for


def test_nothing_of_the_project_is_changed(adopter: Adopter) -> None:
    with owner(adopter.stack) as connection:
        after = inventory(connection)
    for kind, before in adopter.before.items():
        assert after[kind] == before, kind


def test_a_second_push_has_nothing_to_do(stack: Stack, tmp_path: Path) -> None:
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


def test_everything_works_with_the_default_privileges_of_new_projects(adopter: Adopter) -> None:
    assert adopter.stack.jwt_secret is not None
    http = Http(adopter.stack, adopter.stack.jwt_secret)
    user, runtime = new_user(http), http.admin.rpc("register_llm_runtime", p_name="app")
    assert user.rpc("list_llm_providers")
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    key = user.holds_key("groq")
    route = user.through(runtime["secret"]).rpc("resolve_llm_route", p_operator_providers=["openai"])
    assert [candidate["key"] for candidate in route["candidates"]] == [key_for("groq"), None]
    assert user.rpc("explain_llm_route")["candidates"]
    assert user.records(key_id=key["id"])
    assert user.rpc("get_llm_usage")[0]["requests"] == user.rpc("get_llm_settings")["total_requests"] == 1
    assert user.rpc("list_llm_keys")[0]["status"] == "working"
    assert user.rpc("reveal_llm_key", p_provider="groq") == key_for("groq")
    user.rpc("remove_llm_key", p_provider="groq")
    assert len(user.rpc("get_llm_audit_log")) == 5
    assert http.admin.rpc("set_llm_provider", p_provider={"id": "groq", "position": 20})
    assert http.admin.rpc("set_llm_operator_settings", p_changes={}) == http.admin.rpc(
        "get_llm_operator_settings"
    )
    http.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    assert http.admin.rpc("list_llm_runtimes")[0]["revoked_at"]
