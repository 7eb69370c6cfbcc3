"""The conventions of docs/admin.md for every command: --json, --dry-run, and --yes for destructive ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from supa_llm_cli.main import app

from tests.cli.conftest import Cli
from tests.support import Stack, User, unique

#: Commands that change nothing.
READ = {
    "alerts list", "ask", "audit", "audit verify", "doctor", "local logs", "local status", "models", "panel",
    "prices list", "providers check", "providers list", "quotas list", "runtimes list", "settings list",
    "teams invitations", "teams list", "teams members", "teams show", "test policies", "usage", "usage check",
    "usage refusals", "users explain", "users list", "users show", "vault status",
    "whoami",
}  # fmt: skip
NO_JSON = {
    "audit seals": "its output is JSON lines",
    "demo": "it tells a story",
    "init": "it writes files, and prints what to do next",
    "upgrade": "it writes files, and prints what to do next",
    "uninstall": "it writes a file, and prints what to do next",
    "local up": "local status prints the stack's values",
    "local down": "local status prints the state",
    "local reset": "local status prints the stack's values",
    "local status": "--output json",
    "local logs": "it prints lines of text",
    "login": "whoami prints the session",
    "logout": "whoami prints the session",
    "panel": "it serves a page until it is stopped",
    "settings export": "its output is JSON",
    "usage export": "it writes a file, also as JSON lines",
    "users export": "its output is JSON",
}
NO_DRY_RUN = {
    "audit seals": "it writes only the named file",
    "demo": "it changes only a stack of its own",
    "local up": "it starts processes of this machine",
    "local down": "it stops processes of this machine",
    "local reset": "it changes only the stack in the named directory",
    "login": "it changes only the session on this machine",
    "logout": "it ends only the session on this machine",
    "settings export": "it writes only the named file",
    "usage export": "it writes only the named file",
    "users export": "it writes only the named file",
}
#: Commands that ask first.
ASKING = {
    "init", "prices recalculate", "prices sync", "providers remove", "quotas remove",
    "runtimes revoke",
    "settings import", "teams remove", "teams remove-member", "uninstall", "users remove-data",
    "vault replace-lost-key", "vault rotate",
}  # fmt: skip


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something, with its options."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield name, {option for parameter in command.params for option in parameter.opts}
    for verb, each in inner.items():
        yield from leaves(each, f"{name} {verb}".strip())


COMMANDS = dict(leaves(typer.main.get_command(app)))


def test_every_command_prints_json_or_says_why_not() -> None:
    assert {name for name, options in COMMANDS.items() if "--json" not in options} == set(NO_JSON)


def test_every_command_that_changes_something_has_a_dry_run() -> None:
    without = {name for name, options in COMMANDS.items() if "--dry-run" not in options}
    assert without == READ | set(NO_DRY_RUN)


def test_commands_that_ask_can_be_confirmed_in_advance() -> None:
    assert {name for name, options in COMMANDS.items() if "--yes" in options} == ASKING


def removal_of_a_provider(stack: Stack, user: User, path: Path) -> list[str]:
    name = f"p{uuid4().hex[:10]}"
    fields = {"base_url": "https://p.test", "default_model": "m"}
    stack.admin("set_llm_provider", p_provider={"id": name, **fields})
    return ["providers", "remove", name]


def removal_of_a_quota(stack: Stack, user: User, path: Path) -> list[str]:
    quota = {"limit": 1, "unit": "cost", "period": "day", "user_id": user.id}
    return ["quotas", "remove", str(stack.admin("set_llm_quota", p_quota=quota)["id"])]


def revocation_of_a_runtime(stack: Stack, user: User, path: Path) -> list[str]:
    name = unique("revoked")
    stack.admin("register_llm_runtime", p_name=name)
    return ["runtimes", "revoke", name]


def removal_of_data(stack: Stack, user: User, path: Path) -> list[str]:
    return ["users", "remove-data", user.email]


def removal_of_a_team(stack: Stack, user: User, path: Path) -> list[str]:
    return ["teams", "remove", team_of(stack, user)]


def removal_of_a_member(stack: Stack, user: User, path: Path) -> list[str]:
    team, other = team_of(stack, user), stack.sign_up()
    stack.admin("set_llm_team_member", p_team_id=team, p_user_id=other.id, p_role="member")
    return ["teams", "remove-member", team, other.email]


def team_of(stack: Stack, user: User) -> str:
    """Create a team that the user owns."""
    return str(stack.admin("create_llm_team", p_name="A team", p_owner=user.id)["id"])


def recalculation(stack: Stack, user: User, path: Path) -> list[str]:
    return ["prices", "recalculate", "--from", "2020-01-01", "--until", "2020-01-02"]


def import_of_settings(stack: Stack, user: User, path: Path) -> list[str]:
    file = path / "llm.json"
    shift = stack.admin("get_llm_operator_settings")["lease_seconds"] + 1
    file.write_text(json.dumps({"format": 1, "settings": {"lease_seconds": shift}}))
    return ["settings", "import", str(file)]


def replacement_of_the_master_key(stack: Stack, user: User, path: Path) -> list[str]:
    return ["vault", "replace-lost-key"]


def rotation_of_the_master_key(stack: Stack, user: User, path: Path) -> list[str]:
    return ["vault", "rotate"]


def rotation_of_the_ticket_key(stack: Stack, user: User, path: Path) -> list[str]:
    return ["vault", "rotate", "--tickets"]


def uninstallation(stack: Stack, user: User, path: Path) -> list[str]:
    (path / "supabase" / "migrations").mkdir(parents=True)
    return ["uninstall"]


def initialization(stack: Stack, user: User, path: Path) -> list[str]:
    (path / "supabase" / "migrations").mkdir(parents=True)
    return ["init"]


Scenario = Callable[[Stack, User, Path], list[str]]


@pytest.mark.parametrize(
    "scenario",
    [
        removal_of_a_provider,
        removal_of_a_quota,
        revocation_of_a_runtime,
        removal_of_data,
        removal_of_a_team,
        removal_of_a_member,
        recalculation,
        replacement_of_the_master_key,
        rotation_of_the_master_key,
        rotation_of_the_ticket_key,
        import_of_settings,
        uninstallation,
        initialization,
    ],
)
def test_without_a_terminal_nothing_happens_unless_confirmed(
    supa_llm: Cli, stack: Stack, user: User, tmp_path: Path, scenario: Scenario
) -> None:
    command = scenario(stack, user, tmp_path)
    log = stack.admin("get_llm_audit_log")
    for options in ([], ["--dry-run"]):
        files = sorted(tmp_path.rglob("*"))
        done = supa_llm(*command, *options)
        assert done.returncode == (0 if options else 1), done.stderr
        if not options:
            refusal = (
                r"Error: Confirmation is required to [^?]+\. Nothing was changed\. Pass --yes to confirm\."
            )
            assert re.search(rf"^{refusal} \[confirmation_required\]$", done.stderr, re.MULTILINE), (
                done.stderr
            )
        assert sorted(tmp_path.rglob("*")) == files
    assert stack.admin("get_llm_audit_log") == log


def suspension(stack: Stack, user: User, path: Path) -> list[str]:
    return ["users", "suspend", user.email]


def resumption(stack: Stack, user: User, path: Path) -> list[str]:
    stack.admin("set_llm_user_suspended", p_user_id=user.id, p_suspended=True)
    return ["users", "resume", user.email]


def group(stack: Stack, user: User, path: Path) -> list[str]:
    return ["quotas", "set-group", user.email, "trial"]


def quota(stack: Stack, user: User, path: Path) -> list[str]:
    return ["quotas", "set", "5", "cost", "month", "--user", user.email]


def shared_quota(stack: Stack, user: User, path: Path) -> list[str]:
    return ["quotas", "set", "5", "requests", "lifetime", "--group", unique("group"), "--shared"]


def price(stack: Stack, user: User, path: Path) -> list[str]:
    return ["prices", "set", "groq", unique("model").replace(" ", "-"), "--input", "1", "--output", "2"]


def end_of_a_price(stack: Stack, user: User, path: Path) -> list[str]:
    arguments = {"p_provider": "groq", "p_model": unique("model").replace(" ", "-"), "p_rates": {"input": 1}}
    return ["prices", "end", str(stack.admin("set_llm_price", **arguments)["id"])]


def disabling(stack: Stack, user: User, path: Path) -> list[str]:
    return ["providers", "disable", "mistral"]


def enabling(stack: Stack, user: User, path: Path) -> list[str]:
    return ["providers", "enable", "mistral"]


def change_of_a_provider(stack: Stack, user: User, path: Path) -> list[str]:
    return ["providers", "set", "mistral", "--name", "Mistral AI"]


def creation_of_a_team(stack: Stack, user: User, path: Path) -> list[str]:
    return ["teams", "create", "A team", "--owner", user.email]


def addition_of_a_member(stack: Stack, user: User, path: Path) -> list[str]:
    return ["teams", "add-member", team_of(stack, user), stack.sign_up().email]


def change_of_a_role(stack: Stack, user: User, path: Path) -> list[str]:
    return ["teams", "set-role", team_of(stack, user), user.email, "admin"]


def registration(stack: Stack, user: User, path: Path) -> list[str]:
    return ["runtimes", "add", unique("app")]


def rotation(stack: Stack, user: User, path: Path) -> list[str]:
    name = unique("rotated")
    stack.admin("register_llm_runtime", p_name=name)
    return ["runtimes", "rotate", name]


def change_of_a_setting(stack: Stack, user: User, path: Path) -> list[str]:
    return ["settings", "set", "changes_per_day=321"]


def dismissal(stack: Stack, user: User, path: Path) -> list[str]:
    return ["alerts", "dismiss", "--all"]


def maintenance(stack: Stack, user: User, path: Path) -> list[str]:
    return ["maintenance", "run"]


@pytest.mark.parametrize(
    "scenario",
    [
        suspension,
        resumption,
        group,
        quota,
        shared_quota,
        price,
        end_of_a_price,
        disabling,
        enabling,
        change_of_a_provider,
        creation_of_a_team,
        addition_of_a_member,
        change_of_a_role,
        removal_of_a_team,
        removal_of_a_member,
        registration,
        rotation,
        change_of_a_setting,
        dismissal,
        maintenance,
        removal_of_a_provider,
        removal_of_a_quota,
        revocation_of_a_runtime,
        removal_of_data,
        recalculation,
        replacement_of_the_master_key,
        rotation_of_the_master_key,
        rotation_of_the_ticket_key,
    ],
)
def test_a_dry_run_changes_nothing_and_prints_json(
    supa_llm: Cli, stack: Stack, user: User, tmp_path: Path, scenario: Scenario
) -> None:
    command = scenario(stack, user, tmp_path)
    log, configuration = stack.admin("get_llm_audit_log"), stack.admin("get_llm_configuration")
    done = supa_llm(*command, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would" in done.stdout.lower() or "unchanged" in done.stdout
    shown = supa_llm(*command, "--dry-run", "--json")
    assert isinstance(json.loads(shown.stdout), dict), shown.stderr
    assert stack.admin("get_llm_audit_log") == log
    assert stack.admin("get_llm_configuration") == configuration


def test_the_same_fields_are_printed_with_and_without_a_dry_run(supa_llm: Cli, user: User) -> None:
    for command in (
        ["users", "suspend", user.email, "--reason", "unpaid"],
        ["users", "resume", user.email],
        ["quotas", "set-group", user.email, "trial"],
        ["providers", "enable", "mistral"],
        ["alerts", "dismiss", "--all"],
    ):
        preview = json.loads(supa_llm(*command, "--dry-run", "--json").stdout)
        done = json.loads(supa_llm(*command, "--json").stdout)
        assert preview == {**done, "dry_run": True}, command
        assert done["dry_run"] is False


def test_a_dry_run_checks_what_it_would_set(supa_llm: Cli) -> None:
    for command, code in (
        (["prices", "set", "nobody", "m", "--input", "1"], "unknown_provider"),
        (["prices", "set", "groq", "m", "--rates", '{"no unit": 1}'], "invalid_price"),
        (["quotas", "set", "5", "cost", "day", "--provider", "nobody"], "invalid_quota"),
        (["quotas", "remove", "999999999"], "not_found"),
        (["prices", "end", "999999999"], "price_not_found"),
        (["users", "suspend", str(uuid4())], "unknown_user"),
        (["providers", "disable", "nobody"], "unknown_provider"),
    ):
        done = supa_llm(*command, "--dry-run")
        assert (done.returncode, f"[{code}]" in done.stderr) == (1, True), (command, done.stderr)
