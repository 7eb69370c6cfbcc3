"""`supa-llm audit`, on a real project."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
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


# Seals --------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(stack: Stack, user: User) -> Iterator[User]:
    """A user with two entries. What a test does to their log does not stay."""
    for fallbacks in (False, True):
        user.rpc("set_llm_settings", p_changes={"enable_fallbacks": fallbacks})
    yield user
    with stack.connect() as connection:
        for table in ("public.llm_audit_log", "llm_private.audit_seals", "llm_private.audit_findings"):
            connection.execute(f"delete from {table} where user_id = %s", [user.id])


def rewrite(stack: Stack, user: User) -> str:
    """Change the user's first entry, and make new seals of the log, as the database's owner can."""
    with stack.connect() as connection:
        (entry,) = connection.execute(
            "update public.llm_audit_log set actor = 'runtime' where id ="
            " (select id from public.llm_audit_log where user_id = %s order by id limit 1)"
            " returning id::text",
            [user.id],
        ).fetchone() or [""]
        connection.execute("delete from llm_private.audit_seals where user_id = %s", [user.id])
        connection.execute(
            "select llm_private.seal_audit_log(%s, '00000000-0000-0000-0000-000000000000')", [user.id]
        )
    return str(entry)


def test_an_intact_log_is_verified(cli: Cli, sealed: User) -> None:
    done = cli("verify", "--user", sealed.email)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Verified: 2 entries.",
        "No entry was changed, removed or inserted.",
    ]
    found = json.loads(cli("verify", "--user", sealed.email, "--json").stdout)
    assert (found["verified"], found["first_problem"], found["compared"]) == (2, None, None)


def test_a_changed_entry_is_named_and_the_exit_code_is_1(cli: Cli, stack: Stack, sealed: User) -> None:
    assert cli("verify", "--user", sealed.id).returncode == 0
    with stack.connect() as connection:
        connection.execute("update public.llm_audit_log set detail = '{}' where user_id = %s", [sealed.id])
    done = cli("verify", "--user", sealed.id)
    assert done.returncode == 1
    (entry,) = json.loads(cli("--user", sealed.id, "--json").stdout)[-1:]
    assert f"Entry {entry['id']} was changed in the log of {sealed.email}." in done.stdout
    as_json = cli("verify", "--user", sealed.id, "--json")
    problem = json.loads(as_json.stdout)["first_problem"]
    assert (as_json.returncode, problem["kind"], problem["entry"]) == (1, "changed", entry["id"])
    done = cli("verify", "--all")
    assert (done.returncode, "was changed" in done.stdout) == (1, True)
    done = cli("seals", "--user", sealed.id)
    assert (done.returncode, "was changed" in done.stderr, len(done.stdout.splitlines())) == (1, True, 2)


def test_a_rewritten_log_is_found_by_exported_seals(
    cli: Cli, stack: Stack, sealed: User, tmp_path: Path
) -> None:
    done = cli("seals", "seals.jsonl", "--user", sealed.email)
    assert (done.returncode, done.stdout) == (0, "Wrote the seals of 2 entries to seals.jsonl.\n")
    # Other tests may have changed other logs.
    assert cli("seals", "all.jsonl").stdout.startswith("Wrote the seals of ")
    assert (tmp_path / "seals.jsonl").stat().st_mode & 0o777 == 0o600
    for file in ("seals.jsonl", "all.jsonl"):
        assert cli("verify", "--user", sealed.id, "--seals", file).stdout.splitlines()[:2] == [
            "Verified: 2 entries.",
            "Verified with the exported seals: 2 entries.",
        ]
    entry = rewrite(stack, sealed)
    assert cli("verify", "--user", sealed.id).returncode == 0
    done = cli("verify", "--user", sealed.id, "--seals", "seals.jsonl", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["first_problem"]["entry"]) == (1, entry)
    assert (found["verified"], found["compared"]["verified"]) == (2, 1)
    done = cli("verify", "--seals", "seals.jsonl")
    assert f"Entry {entry} was changed in the log of {sealed.email}" in done.stdout
    assert cli("seals", "seals.jsonl").returncode == 1, "an older export is not overwritten"


def test_seals_that_cannot_be_read_are_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("verify", "--seals", "missing.jsonl")
    assert (done.returncode, "Cannot read missing.jsonl" in done.stderr) == (1, True)
    (tmp_path / "damaged.jsonl").write_text("{}\n")
    done = cli("verify", "--seals", "damaged.jsonl")
    assert (done.returncode, "Line 1 of the exported seals is damaged." in done.stderr) == (1, True)
    done = cli("verify", "--all", "--user", "x")
    assert (done.returncode, "cannot be combined" in done.stderr) == (2, True)
