"""What a command changes: shown, confirmed and reported in the same way everywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import typer

from supa_llm.errors import ConfigurationError
from supa_llm_cli.tables import print_json


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the fields that differ: `field old → new`, or `field value` if only one of them has it."""
    parts = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            parts.append(f"{name} {short(old.get(name, new.get(name)))}")
        elif old[name] != new[name]:
            parts.append(f"{name} {short(old[name])} → {short(new[name])}")
    return ", ".join(parts)


def short(value: object) -> str:
    """Return a value in one line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def confirm(action: str, yes: bool) -> None:
    """Ask before a change, such as `remove quota 1`, unless the option --yes answers.

    Raises:
        ConfigurationError: code ``confirmation_required``: there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"Confirmation is required to {action}.",
            code="confirmation_required",
            hint="Nothing was changed. Pass --yes to confirm.",
        )
    question = f"{action[0].upper()}{action[1:]}?"
    typer.confirm(question, abort=True, err=True)  # standard output may be JSON


def report(fields: Mapping[str, Any], *, would: str, done: str, dry_run: bool, as_json: bool) -> None:
    """Print what a command changed, or would change: one line, or the fields as JSON."""
    if as_json:
        print_json({"dry_run": dry_run, **fields})
    else:
        typer.echo(would if dry_run else done)
