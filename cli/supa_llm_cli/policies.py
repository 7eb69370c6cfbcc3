"""`supa-llm test policies`: what protects users' keys and data, tested in a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from supa_llm_cli.colors import styled
from supa_llm_cli.options import HOME, AsJson, Directory
from supa_llm_cli.project import first_set, stack_env
from supa_llm_cli.tables import print_json

if TYPE_CHECKING:
    from supa_llm.local.policies import PolicyResult

app = typer.Typer(name="test", help="Test the policies that protect keys and data.", no_args_is_help=True)

# There is no option, because the URL contains the password.
_URLS = ("SUPABASE_DB_URL", "DB_URL")


@app.callback()
def _group() -> None:
    pass


@app.command()
def policies(directory: Directory = HOME, as_json: AsJson = False) -> None:
    """Run the tests of supa-llm's policies in a database, in a transaction that is rolled back.

    They run as the role `postgres`, on the database in SUPABASE_DB_URL or on the running local stack. Prints
    one line per property, and exits with 1 if one does not hold.
    """
    from supa_llm.local.policies import run_policies

    results = []
    for result in run_policies(_url(directory), directory, lambda text: typer.echo(text, err=True)):
        results.append(result)
        if not as_json:
            _print(result)
    failed = sum(bool(result.failures) for result in results)
    if as_json:
        print_json(
            {
                "passed": not failed,
                "properties": [
                    {"name": it.name, "file": it.file, "tests": it.tests, "failures": it.failures}
                    for it in results
                ],
            }
        )
    elif not failed:
        typer.echo(f"All {len(results)} properties hold.")
    else:
        typer.echo(f"{failed} of {len(results)} properties failed.")
    if failed:
        raise typer.Exit(1)


def _url(directory: Path) -> str:
    return first_set(_URLS) or stack_env(directory, "SUPABASE_DB_URL", "database")["DB_URL"]


def _print(result: PolicyResult) -> None:
    passed = not result.failures
    line = f"{'✓' if passed else '✗'} {result.name}"
    typer.echo(line if passed else styled(line, sys.stdout, fg="red"))
    for failure in result.failures:
        typer.echo("\n".join(f"    {line}" for line in failure.splitlines()))
