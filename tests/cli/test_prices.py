"""`supa-llm prices`, on a real project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supa_llm.local import LocalStack
from tests.cli.command import run
from tests.support import ROOT, Stack

Cli = Callable[..., subprocess.CompletedProcess[str]]
#: No project in the environment.
NOTHING = dict.fromkeys(
    [
        "SUPABASE_URL",
        "API_URL",
        "SUPABASE_SECRET_KEY",
        "SECRET_KEY",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SERVICE_ROLE_KEY",
    ],
    "",
)


@pytest.fixture
def provider(stack: Stack) -> Iterator[str]:
    """A provider with another ID than in genai-prices. Its prices are deleted at the end."""
    name = "night-rates"
    stack.admin(
        "set_llm_provider",
        p_provider={"id": name, "base_url": "https://api.deepseek.com/v1", "default_model": "deepseek-chat"},
    )
    yield name
    with stack.connect() as connection:
        for table in ("llm_private.price_names", "llm_private.price_list", "public.llm_prices"):
            connection.execute(f"delete from {table} where provider = %s", [name])
        connection.execute("delete from public.llm_providers where id = %s", [name])


@pytest.fixture
def cli(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm prices` for the project in the environment."""

    def prices(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run("prices", *arguments, cwd=tmp_path, **{**environment, **options})

    return prices


def rows(output: str, *words: str) -> list[str]:
    """The lines that contain all these words."""
    return [line for line in output.splitlines() if all(word in line for word in words)]


def test_a_sync_shows_changes_applies_them_and_then_finds_none(cli: Cli, provider: str) -> None:
    shown = cli("sync", provider, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert rows(
        shown.stdout, "added", provider, "deepseek-chat", "daily 16:30-00:30", "input 0.135, output 0.55"
    )
    assert rows(shown.stdout, "more change", "--all")
    assert "No prices." in cli("list", provider).stdout
    applied = cli("sync", provider, "--yes", "--all")
    assert applied.returncode == 0, applied.stderr
    assert f"Synced: {provider}." in applied.stdout
    assert "more change" not in applied.stdout
    assert rows(cli("list", provider, "deepseek-chat").stdout, "*", "catalog")
    assert cli("sync", provider, "--yes").stdout == "All prices are up to date.\n"


def test_an_unanswered_prompt_changes_nothing(cli: Cli, provider: str) -> None:
    asked = cli("sync", provider)
    assert asked.returncode == 1
    assert "[confirmation_required]" in asked.stderr
    assert "No prices." in cli("list", provider).stdout


def test_json_output_never_prompts(cli: Cli, provider: str) -> None:
    changes = json.loads(cli("sync", provider, "--json").stdout)[provider]
    assert {change["change"] for change in changes} == {"added"}
    assert json.loads(cli("list", provider, "--json").stdout) == []
    assert json.loads(cli("sync", provider, "--json", "--yes").stdout)[provider] == changes
    listed = json.loads(cli("list", provider, "--json").stdout)
    assert {price["model"] for price in listed} == {change["model"] for change in changes}


def test_a_provider_without_a_price_list_is_reported(cli: Cli, provider: str, stack: Stack) -> None:
    stack.admin("set_llm_provider", p_provider={"id": provider, "base_url": "https://llm.example.com"})
    done = cli("sync", provider, "--yes")
    assert done.returncode == 0
    assert f"genai-prices has no prices for {provider}" in done.stdout


def test_an_unknown_provider_is_an_error(cli: Cli) -> None:
    done = cli("sync", "nobody", "--yes")
    assert done.returncode == 1
    assert "Provider nobody does not exist" in done.stderr
    assert "[unknown_provider]" in done.stderr


def test_a_price_is_set_listed_first_and_ended(cli: Cli, provider: str) -> None:
    done = cli("set", provider, "my-*", "--input", "2.5", "--output", "10", "--key-source", "operator")
    assert done.returncode == 0, done.stderr
    assert f"{provider}/my-* costs input 2.5, output 10, from " in done.stdout
    (line,) = rows(cli("list", provider, "my-model").stdout, "my-*")
    assert line.startswith("*")
    number = line.split()[1]
    assert cli("end", number).stdout == f"Ended price {number} of {provider}/my-*.\n"
    assert "No prices." in cli("list", provider).stdout
    assert "[price_not_found]" in cli("end", "0").stderr


def test_rates_can_be_free_dated_and_of_any_kind(cli: Cli, provider: str) -> None:
    assert "costs input 0, output 0" in cli("set", provider, "free", "--free").stdout
    steps = '{"input": {"base": 1.25, "above": {"200000": 2.5}}, "output": 1}'
    dated = cli(
        "set", provider, "m", "--rates", steps, "--output", "9", "--from", "2026-01-01", "--tier", "flex"
    )
    assert "costs input 1.25 (2.5 above 200000), output 9, from 2026-01-01" in dated.stdout
    ends = cli("set", provider, "n", "--input", "1", "--from", "2026-01-01T09:30:00", "--until", "2099-01-01")
    assert "from 2026-01-01 09:30 until 2099-01-01" in ends.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--free", "--input", "1"], "--free"),
        (["--rates", "[]"], "--rates"),
        (["--rates", "{"], "--rates"),
        (["--input", "1", "--from", "tomorrow"], "--from"),
        (["--cached-input", "1"], "[invalid_price]"),
        ([], "[invalid_price]"),
    ],
)
def test_an_invalid_price_is_refused(cli: Cli, provider: str, arguments: list[str], said: str) -> None:
    done = cli("set", provider, "m", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "No prices." in cli("list", provider).stdout


def test_a_missing_extra_is_reported_with_the_command_that_installs_it(cli: Cli, provider: str) -> None:
    done = cli("sync", provider, without="genai_prices")
    assert done.returncode == 1
    assert "supa-llm[prices]" in done.stderr
    assert "[missing_extra]" in done.stderr


def test_a_key_without_administrator_rights_is_refused_and_not_shown(cli: Cli, stack: Stack) -> None:
    for key, code in ((stack.publishable_key, "secret_key_required"), ("sb_secret_wrong", "api_key_refused")):
        done = cli("list", SUPABASE_SECRET_KEY=key)
        assert done.returncode == 1
        assert f"[{code}]" in done.stderr
        assert key not in done.stderr


def test_a_project_without_its_key_does_not_fall_back_to_the_local_stack(cli: Cli) -> None:
    """A project without its key must not select the local stack instead."""
    for named in ({"SUPABASE_URL": "https://x.example"}, {"SUPABASE_SECRET_KEY": "sb_secret_x"}, {}):
        done = cli("list", **{**NOTHING, **named})
        assert done.returncode == 1
        assert "[project_unknown]" in done.stderr


def test_commands_use_the_local_stack_without_a_url(cli: Cli, tmp_path: Path) -> None:
    local = LocalStack(tmp_path / ".supa-llm", project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        assert "costs input 1" in cli("set", "groq", "m", "--input", "1", **NOTHING).stdout
        older = {
            "SUPABASE_URL": local.env()["API_URL"],
            "SUPABASE_SERVICE_ROLE_KEY": local.env()["SERVICE_ROLE_KEY"],
        }
        assert "input 1" in cli("list", "groq", **{**NOTHING, **older}).stdout
        local.down()
        assert "[project_unknown]" in cli("list", **NOTHING).stderr
    finally:
        local.destroy()
