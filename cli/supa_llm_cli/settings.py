"""`supa-llm settings`: the operator's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from supa_llm_cli.changes import differences, short
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

app = typer.Typer(
    name="settings",
    help="Show and change the operator's settings.",
    no_args_is_help=True,
)


@app.command("list")
def list_(url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """List the operator's settings with their values."""
    with administrator(url, directory) as admin:
        settings = admin.get_operator_settings()
    if as_json:
        print_json(settings)
    else:
        rows = [(name, short(value)) for name, value in settings.items() if name != "updated_at"]
        print_table(("setting", "value"), rows)


@app.command("set")
def set_(
    changes: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE", help="Setting and its value. null resets a limit to none."),
    ],
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Set one or more of the operator's settings. All of them change, or none."""
    wanted = dict(_pair(change) for change in changes)
    with administrator(url, directory) as admin:
        before = admin.get_operator_settings()
        after = {**before, **wanted} if dry_run else admin.set_operator_settings(**wanted)
    if as_json:
        print_json(after)
    elif changed := differences(_without_time(before), _without_time(after)):
        typer.echo(f"{'Would change' if dry_run else 'Changed'}: {changed}.")
    else:
        typer.echo("Nothing changed.")


def _pair(change: str) -> tuple[str, Any]:
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{change} is not of the form NAME=VALUE.")
    try:
        return name, json.loads(value)  # true, null and numbers
    except ValueError:
        return name, value


def _without_time(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "updated_at"}
