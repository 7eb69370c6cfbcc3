"""The entry point of `supa-llm`, and how errors look on it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from supa_llm.errors import SupaLLMError
from supa_llm_cli import alerts, demo, local, migrations, panel, prices, quotas, usage

app = typer.Typer(
    name="supa-llm",
    help="Bring-your-own-key LLM settings for every user of a Supabase app.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(demo.demo)
app.add_typer(local.app)
app.add_typer(migrations.app)
app.add_typer(prices.app)
app.add_typer(quotas.app)
app.add_typer(usage.app)
app.command()(alerts.alerts)
app.command()(panel.panel)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"supa-llm {version('supa-llm')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an expected error is one line with its code and what to do, and exit code 1."""
    try:
        app()
    except SupaLLMError as error:
        typer.secho(f"Error: {error} [{error.code}]", fg="red", err=True)
        sys.exit(1)
