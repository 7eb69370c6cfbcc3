"""`supa-llm users`, and users by email address in other commands, on a real project."""

from __future__ import annotations

import json
import stat
import uuid
from pathlib import Path

from tests.cli.conftest import Cli
from tests.database.support import usage_event
from tests.support import Stack, User, key_for, unique


def test_a_user_is_found_by_email_address_and_shown_without_a_key(supa_llm: Cli, user: User) -> None:
    key = key_for("groq", 5)
    user.rpc("set_llm_key", provider="groq", key=key)
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    user.rpc("record_llm_usage", **usage_event(outcome="failed", error_class="server_error", model="broken"))
    (row,) = [it for it in supa_llm("users", "list", user.email[:20]).stdout.splitlines() if user.id in it]
    assert row.startswith(user.email)
    done = supa_llm("users", "show", user.email)
    assert done.returncode == 0, done.stderr
    for text in ("default provider", "groq/broken", "server_error", "untested"):
        assert text in done.stdout
    shown = json.loads(supa_llm("users", "show", user.id, "--json").stdout)
    assert (shown["email"], shown["keys"][0]["provider"]) == (user.email, "groq")
    assert key not in done.stdout + json.dumps(shown)


def test_refused_requests_are_shown_for_a_user_and_for_all(supa_llm: Cli, user: User) -> None:
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 12, "quota_exceeded": 1})
    shown = supa_llm("users", "show", user.email).stdout
    assert "Refused requests of the last 30 days" in shown
    assert any(line.split()[2:] == ["no_usable_key", "12"] for line in shown.splitlines())
    explained = supa_llm("users", "explain", user.email, "--operator-keys", "")
    assert "no_usable_key" in explained.stdout
    assert json.loads(supa_llm("users", "show", user.id, "--json").stdout)["refusals"][0]["refusals"] == 12
    found = json.loads(supa_llm("usage", "refusals", "--user", user.email, "--json").stdout)
    assert {it["code"]: (it["refusals"], it["users"]) for it in found} == {
        "no_usable_key": (12, 1),
        "quota_exceeded": (1, 1),
    }
    assert "no_usable_key" in supa_llm("usage", "refusals").stdout
    assert (
        supa_llm("usage", "refusals", "--until", "2020-01-01").stdout
        == "No refused requests in this period.\n"
    )
    report = supa_llm("usage", "--user", user.email).stdout
    assert report.endswith(
        "13 requests refused before reaching a provider. See why: supa-llm usage refusals\n"
    )
    assert len(json.loads(supa_llm("users", "export", user.email).stdout)["refusals"]) == 2


def test_an_unknown_address_is_an_error_with_a_hint(supa_llm: Cli) -> None:
    done = supa_llm("users", "show", f"{uuid.uuid4()}@example.com")
    assert done.returncode == 1
    assert done.stderr.endswith("Search for a part of it: supa-llm users list TEXT [unknown_user]\n")


def test_a_route_is_explained_as_the_user_gets_it(supa_llm: Cli, user: User) -> None:
    none = supa_llm("users", "explain", user.email, "--operator-keys", "")
    assert none.returncode == 1
    assert none.stdout.startswith("No provider can serve this request.")
    assert "No key for Anthropic." in none.stdout
    assert "You have no key" not in none.stdout
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    done = supa_llm("users", "explain", user.email, "--task", "speed", "--operator-keys", "openai", "--json")
    route = json.loads(done.stdout)
    assert [(it["provider"], it["key_source"]) for it in route["candidates"]] == [
        ("groq", "user"),
        ("openai", "operator"),
    ]
    environment = {"OPENAI_API_KEY": key_for("openai")}
    assert "operator" in supa_llm("users", "explain", user.email, **environment).stdout


def test_a_suspended_user_gets_no_route_until_resumed(supa_llm: Cli, stack: Stack, user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    assert supa_llm("users", "suspend", user.email, "--reason", "unpaid").returncode == 0
    refused = stack.rpc("resolve_llm_route", user.access_token)
    assert (refused.status_code, refused.json()["details"]) == (403, "account_suspended")
    assert "unpaid" in supa_llm("users", "show", user.email).stdout
    assert user.id in supa_llm("users", "list", "--suspended", user.email).stdout
    explained = supa_llm("users", "explain", user.email)
    assert (explained.returncode, "[account_suspended]" in explained.stderr) == (1, True)
    assert f"user {user.email}" in supa_llm("audit", "--limit", "5").stdout
    supa_llm("users", "resume", user.email)
    assert "account_suspended" not in stack.rpc("resolve_llm_route", user.access_token).text


def test_data_is_exported_then_removed_with_a_receipt(supa_llm: Cli, user: User, tmp_path: Path) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 6))
    for _ in range(3):
        user.rpc("record_llm_usage", **usage_event())
    file = tmp_path / "export.json"
    done = supa_llm("users", "export", user.email, str(file))
    assert done.stdout == f"Wrote the data of {user.email} to {file}.\n", done.stderr
    data = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert data["user"]["email"] == user.email
    assert (len(data["usage_events"]), data["audit_log"][0]["action"]) == (3, "key_set")
    assert key_for("groq", 6) not in file.read_text()
    assert json.loads(supa_llm("users", "export", user.email).stdout) == data
    again = supa_llm("users", "export", user.email, str(file))
    assert (again.returncode, "[file_unwritable]" in again.stderr) == (1, True)
    assert supa_llm("users", "remove-data", user.email, "--dry-run").stdout.startswith("Would remove")
    receipt = json.loads(supa_llm("users", "remove-data", user.email, "--yes", "--json").stdout)["removed"]
    assert (receipt["usage_events"], receipt["keys"], receipt["settings"]) == (3, 1, 1)
    assert user.rpc("list_llm_keys") == []
    assert supa_llm("users", "remove-data", user.email, "--yes").stdout.startswith(
        f"Removed all data of {user.email}: "
    )


def test_a_user_is_named_by_email_address_everywhere(supa_llm: Cli, user: User) -> None:
    user.rpc("record_llm_usage", **usage_event())
    done = supa_llm("quotas", "set", "5", "requests", "month", "--user", user.email)
    assert f"for user {user.email}." in done.stdout
    try:
        assert user.email in supa_llm("quotas", "list", "--user", user.email).stdout
        assert user.email in supa_llm("usage", "--by", "user", "--user", user.email).stdout
        assert supa_llm("audit", "--user", user.email).returncode == 0
    finally:
        supa_llm("quotas", "remove", done.stdout.split(":")[0].removeprefix("Quota "), "--yes")


def test_a_misspelled_group_is_warned_of(supa_llm: Cli, user: User) -> None:
    group = unique("students")
    empty = supa_llm("quotas", "set", "5", "requests", "month", "--group", group, "--json")
    assert empty.stderr == f"Warning: the group {group} has no members.\n"
    try:
        wrong = supa_llm("quotas", "set-group", user.email, f"{group}x")
        assert f"no quota is set for the group {group}x. Groups with quotas: " in wrong.stderr
        assert group in wrong.stderr
        assert supa_llm("quotas", "set-group", user.email, group).stderr == ""
        assert user.email in supa_llm("users", "list", "--group", group).stdout
    finally:
        supa_llm("quotas", "remove", str(json.loads(empty.stdout)["id"]), "--yes")
