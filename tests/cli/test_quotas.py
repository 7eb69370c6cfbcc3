"""`supa-llm quotas`, on a real project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.support import Stack, User

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm` for the project in the environment."""

    def supa_llm(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run("quotas", *arguments, cwd=tmp_path, **environment)

    return supa_llm


def test_a_quota_is_set_listed_and_removed(cli: Cli, user: User) -> None:
    done = cli("set", "5", "cost", "month", "--user", user.id, "--key-source", "operator", "--alert-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f": $5 per month for user {user.email}, operator keys.\n")
    (quota,) = json.loads(cli("list", "--user", user.id, "--json").stdout)
    assert (quota["unit"], quota["period"], quota["enforced"]) == ("cost", "month", False)
    (row,) = [it for it in cli("list").stdout.splitlines() if user.email in it]
    assert row.endswith("alert-only")
    removed = cli("remove", str(quota["id"]), "--yes")
    assert removed.stdout == f"Removed quota {quota['id']}.\n"
    assert cli("list", "--user", user.id, "--json").stdout == "[]\n"


def test_a_groups_quota_applies_to_its_users(cli: Cli, user: User) -> None:
    assert cli("set-group", user.id, "students").stdout == f"User {user.id} is in group students.\n"
    done = cli("set", "1", "requests", "lifetime", "--group", "students")
    assert done.stdout.endswith(": 1 request in total for each user in group students.\n")
    try:
        (quota,) = json.loads(cli("list", "--user", user.id, "--json").stdout)
        assert cli("set-group", user.id).stdout == f"User {user.id} is in no group.\n"
        assert cli("list", "--user", user.id, "--json").stdout == "[]\n"
    finally:
        cli("remove", done.stdout.split(":")[0].removeprefix("Quota "), "--yes")
    assert quota["group"] == "students"


def test_a_unit_that_does_not_exist_is_refused_with_the_units(cli: Cli) -> None:
    done = cli("set", "5", "euros", "month")
    assert done.returncode == 2
    assert all(unit in done.stderr for unit in ("requests", "tokens", "cost"))
