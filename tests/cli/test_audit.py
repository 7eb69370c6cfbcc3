"""`supa-llm audit`, on a real project."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import run, start
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


def test_a_new_quota_is_shown_once_without_empty_fields(cli: Cli, stack: Stack, user: User) -> None:
    for limit in (5, 6):
        quota = {"unit": "requests", "period": "day", "limit": limit, "user_id": user.id}
        stack.admin("set_llm_quota", p_quota=quota)
    _, changed, created = cli("--action", "quota_set", "--limit", "2").stdout.splitlines()
    assert "limit 5, period day" in created
    assert "quota {" not in created
    assert "null" not in created
    assert f'"user_id": "{user.id}"' in changed  # which quota it was
    assert "limit 5 → 6" in changed


def test_the_log_is_filtered_and_shown_in_full(cli: Cli, stack: Stack, user: User) -> None:
    group = f"group-{uuid.uuid4().hex}"
    for number in range(3):
        stack.admin("set_llm_user_group", p_user_id=user.id, p_group=f"{group}-{number}")
    provider = f"p-{uuid.uuid4().hex[:8]}"
    fields = {"base_url": "https://p.test", "default_model": "m"}
    stack.admin("set_llm_provider", p_provider={"id": provider, **fields})
    (entry,) = json.loads(cli("--provider", provider, "--json").stdout)
    assert (entry["action"], entry["provider"]) == ("provider_set", provider)
    found = json.loads(cli("--action", "user_group_set", "--by", "service_role", "--json").stdout)
    assert {it["action"] for it in found} == {"user_group_set"}
    assert len(found) >= 3
    assert cli("--by", "nobody@example.com").stdout == "No entries.\n"
    today = entry["at"][:10]
    assert provider in cli("--provider", provider, "--since", today, "--until", today).stdout
    assert cli("--provider", provider, "--until", "2020-01-01").stdout == "No entries.\n"
    everything = json.loads(cli("--all", "--json").stdout)
    assert len({it["id"] for it in everything}) == len(everything) >= 4
    refused = cli("--follow", "--all")
    assert (refused.returncode, "cannot be combined" in refused.stderr) == (2, True)


@pytest.mark.parametrize("as_json", [True, False])
def test_the_log_is_followed_until_ctrl_c(stack: Stack, user: User, tmp_path: Path, as_json: bool) -> None:
    environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    stack.admin("set_llm_user_group", p_user_id=user.id, p_group="before")
    options = ["--json"] if as_json else []
    process = start("audit", "--follow", "--limit", "1", *options, cwd=tmp_path, **environment)
    assert process.stdout is not None
    assert "before" in process.stdout.readline()
    stack.admin("set_llm_user_group", p_user_id=user.id, p_group="after")
    line = process.stdout.readline()
    if as_json:
        assert json.loads(line)["detail"]["new"] == {"group": "after"}
    else:
        assert f"user_group_set  user {user.email}, group before → after" in line
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "")
