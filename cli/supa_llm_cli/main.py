"""The entry point of `supa-llm`."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated

import typer

from supa_llm.errors import SupaLLMError
from supa_llm_cli import (
    alerts,
    ask,
    audit,
    demo,
    doctor,
    installation,
    local,
    login,
    maintenance,
    master_key,
    models,
    panel,
    policies,
    prices,
    providers,
    quotas,
    runtimes,
    settings,
    usage,
    users,
)
from supa_llm_cli.colors import styled

app = typer.Typer(
    name="supa-llm",
    help="Manage bring-your-own-key LLM settings for the users of a Supabase app.\n\n"
    "Commands use the project in SUPABASE_URL and SUPABASE_SECRET_KEY, or the running local stack "
    "if they are unset.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(installation.init)
app.command()(installation.upgrade)
app.command()(installation.uninstall)
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)
app.command()(ask.ask)
app.add_typer(local.app)
app.add_typer(policies.app)
app.add_typer(providers.app)
app.command()(models.models)
app.add_typer(runtimes.app)
app.add_typer(users.app)
app.add_typer(settings.app)
app.add_typer(prices.app)
app.add_typer(quotas.app)
app.add_typer(usage.app)
app.add_typer(maintenance.app)
app.add_typer(master_key.app)
app.add_typer(alerts.app)
app.command()(audit.audit)
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each request, and show where an error was raised.")
    ] = False,
) -> None:
    if verbose:
        # Not DEBUG: at that level, httpx's transport logs headers, which contain keys.
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


def main() -> None:
    """Run the command line. An expected error prints one line with its code and a hint, and exits with 1."""
    try:
        app()
    except SupaLLMError as error:
        if logging.root.isEnabledFor(logging.INFO):
            traceback.print_exc()
        typer.echo(styled(f"Error: {error} [{error.code}]", sys.stderr, fg="red"), err=True)
        sys.exit(1)
