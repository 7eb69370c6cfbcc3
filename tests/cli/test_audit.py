"""`supa-llm audit`, on a real project."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.support import Stack, User

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm audit` for the project in the environment."""

    def supa_llm(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run("audit", *arguments, cwd=tmp_path, **environment)

    return supa_llm


def test_the_log_shows_what_an_administrator_changed(cli: Cli, stack: Stack, user: User) -> None:
    group = f"group-{uuid.uuid4().hex}"
    for name in (group, f"{group}-2"):
        stack.admin("set_llm_user_group", p_user_id=user.id, p_group=name)
    done = cli("--limit", "2")
    assert done.returncode == 0, done.stderr
    heading, newest, older = done.stdout.splitlines()
    assert heading.split() == ["time", "(UTC)", "by", "action", "details", "id"]
    assert f"service_role  user_group_set  user {user.email}, group {group} → {group}-2" in newest
    assert f"group null → {group} " in older
    next_page = cli("--limit", "1", "--before", newest.split()[-1])
    assert older.split()[-1] in next_page.stdout


def test_the_log_of_one_user_as_a_table_and_as_json(cli: Cli, user: User) -> None:
    assert cli("--user", user.id).stdout == "No entries.\n"
    user.rpc("set_llm_settings", p_changes={"enable_fallbacks": False})
    line = cli("--user", user.id).stdout.splitlines()[1]
    assert 'user  settings_changed  changes {"enable_fallbacks": false}, version 2' in line
    (entry,) = json.loads(cli("--user", user.id, "--json").stdout)
    assert (entry["action"], entry["detail"]["changes"]) == ("settings_changed", {"enable_fallbacks": False})
