"""`supa-llm settings`: the operator's settings, and the whole configuration as a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supa_llm.errors import ConfigurationError, InvalidInputError
from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, differences, short
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import ConfigurationChange

app = typer.Typer(
    name="settings",
    help="Show and change the operator's settings, and export or import the whole configuration.",
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


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Output file. - is standard output.")] = Path("-"),
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Export what administrators configured as JSON: settings, changed providers, prices and quotas.

    The file has no secret, and `supa-llm settings import` applies it to another project. Quotas and groups of
    single users are not part of it, because another project has other users.
    """
    with administrator(url, directory) as admin:
        text = json.dumps(admin.get_configuration(), indent=2, ensure_ascii=False)
    if str(file) == "-":
        typer.echo(text)
        return
    try:
        file.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write to {file}: {error.strerror or error}.",
            code="export_unwritable",
            hint="Choose a file in an existing folder that you may write to.",
        ) from error
    typer.echo(f"Wrote the configuration to {file}.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File from `supa-llm settings export`. - is standard input.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON. Apply only with --yes.")] = False,
) -> None:
    """Set what a file from `supa-llm settings export` has, after showing the changes. All of it, or nothing.

    Settings, providers, prices and quotas that the file does not name stay as they are. Running it again
    changes nothing.
    """
    configuration = _read(file)
    with administrator(url, directory) as admin:
        changes = admin.set_configuration(configuration)
        if as_json:
            print_json([asdict(change) for change in changes])
        else:
            _show(changes)
        if dry_run or not changes or (as_json and not yes):
            return
        confirm("apply these changes", yes)
        applied = admin.set_configuration(configuration, apply=True)
    if not as_json:
        typer.echo(f"Applied {counted(len(applied), 'change')}.")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        configuration = json.loads(text)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot read {file}: {error.strerror or error}.", code="invalid_configuration"
        ) from error
    except ValueError:  # not chained, because it quotes the file
        configuration = None
    if not isinstance(configuration, dict):
        raise InvalidInputError(
            f"{file} is not a JSON object.",
            code="invalid_configuration",
            hint="Write it with supa-llm settings export.",
        )
    return configuration


def _show(changes: Sequence[ConfigurationChange]) -> None:
    rows = []
    for change in changes:
        if isinstance(change.before, dict) and isinstance(change.after, dict):
            details = differences(change.before, change.after)
        elif change.before is None and change.kind != "setting":
            details = f"new: {short(change.after)}"
        else:
            details = f"{short(change.before)} → {short(change.after)}"
        rows.append((change.kind, change.name, details))
    if rows:
        print_table(("kind", "name", "change"), rows)
    else:
        typer.echo("Nothing to change.")


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
