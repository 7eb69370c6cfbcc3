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
    models,
    panel,
    policies,
    prices,
    providers,
    quotas,
    runtimes,
    settings,
    teams,
    usage,
    users,
    vault,
)
from supa_llm_cli.colors import styled

app = typer.Typer(
    name="supa-llm",
    help="Manage bring-your-own-key LLM settings for the users of a Supabase app.\n\n"
    "Commands use the project in SUPABASE_URL and SUPABASE_SECRET_KEY, or the running local stack "
    "if they are unset.",
    epilog="Exit codes: 0 success, 1 expected error, 2 invalid usage, 130 interrupted with Ctrl-C. "
    "Completion of commands and options: supa-llm --install-completion",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# The short help of each command fits on one line of a narrow terminal.
_SET_UP, _MANAGE, _REPORTS = "Set up", "Manage", "Reports"
_AS_A_USER, _LOCAL = "Act as a user", "Local development"

app.command(rich_help_panel=_SET_UP, short_help="Add supa-llm to your Supabase project.")(installation.init)
app.command(rich_help_panel=_SET_UP, short_help="Find problems of the installation.")(doctor.doctor)
app.command(rich_help_panel=_SET_UP, short_help="Add this version's migrations to your project.")(
    installation.upgrade
)
app.command(rich_help_panel=_SET_UP, short_help="Write the migration that removes supa-llm.")(
    installation.uninstall
)
app.add_typer(
    policies.app, rich_help_panel=_SET_UP, short_help="Test the policies that protect keys and data."
)

app.add_typer(providers.app, rich_help_panel=_MANAGE, short_help="Add, change, check and remove providers.")
app.command(rich_help_panel=_MANAGE, short_help="List the known models and their prices.")(models.models)
app.add_typer(
    runtimes.app, rich_help_panel=_MANAGE, short_help="Register servers, and rotate or revoke their secrets."
)
app.add_typer(users.app, rich_help_panel=_MANAGE, short_help="Find, explain, suspend and export users.")
app.add_typer(teams.app, rich_help_panel=_MANAGE, short_help="Create and remove teams, and manage members.")
app.add_typer(
    settings.app, rich_help_panel=_MANAGE, short_help="Change settings; export and import the configuration."
)
app.add_typer(
    prices.app, rich_help_panel=_MANAGE, short_help="Sync, set and list prices, and recalculate costs."
)
app.add_typer(quotas.app, rich_help_panel=_MANAGE, short_help="Limit requests, tokens or cost.")
app.add_typer(vault.app, rich_help_panel=_MANAGE, short_help="Rotate the master key, or replace a lost one.")
app.add_typer(maintenance.app, rich_help_panel=_MANAGE, short_help="Roll up usage, and drop expired data.")

app.add_typer(usage.app, rich_help_panel=_REPORTS, short_help="Report, export and check usage and cost.")
app.add_typer(alerts.app, rich_help_panel=_REPORTS, short_help="List and dismiss alerts.")
app.add_typer(audit.app, rich_help_panel=_REPORTS, short_help="Show and verify the audit logs.")

app.command(rich_help_panel=_AS_A_USER, short_help="Sign in as a user of the app.")(login.login)
app.command(rich_help_panel=_AS_A_USER, short_help="Send a prompt as the signed-in user.")(ask.ask)
app.command(rich_help_panel=_AS_A_USER, short_help="Show the signed-in user.")(login.whoami)
app.command(rich_help_panel=_AS_A_USER, short_help="End the user's session.")(login.logout)
app.command(rich_help_panel=_AS_A_USER, short_help="Serve the settings panel on this machine.")(panel.panel)

app.command(rich_help_panel=_LOCAL, short_help="Run the end-to-end demo.")(demo.demo)
app.add_typer(local.app, rich_help_panel=_LOCAL, short_help="Run a Supabase project without Docker.")


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
