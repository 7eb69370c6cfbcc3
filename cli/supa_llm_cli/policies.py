"""`supa-llm test policies`: what protects users' keys and data, tested in a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from supa_llm.errors import ConfigurationError
from supa_llm_cli.options import HOME, AsJson, Directory
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
    from supa_llm.local import LocalStack

    url = next((value for name in _URLS if (value := os.environ.get(name))), None)
    if url:
        return url
    stack = LocalStack(directory)
    if not stack.status().running:
        raise ConfigurationError(
            "No database selected.",
            code="project_unknown",
            hint="Set SUPABASE_DB_URL, or start a local stack: supa-llm local up",
        )
    return stack.env()["DB_URL"]


def _print(result: PolicyResult) -> None:
    passed = not result.failures
    typer.secho(f"{'✓' if passed else '✗'} {result.name}", fg=None if passed else "red")
    for failure in result.failures:
        typer.echo("\n".join(f"    {line}" for line in failure.splitlines()))
