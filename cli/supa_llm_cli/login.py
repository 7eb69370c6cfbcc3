"""`supa-llm login`, `logout` and `whoami`: the user on whose behalf `supa-llm ask` runs."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from supa_llm.errors import NotSignedInError
from supa_llm_cli.account import Account
from supa_llm_cli.options import HOME, AsJson, Directory, UsersUrl
from supa_llm_cli.tables import print_json


def login(
    email: Annotated[
        str | None, typer.Option(help="Email address. Default: asked for.", show_default=False)
    ] = None,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens",
            help="Use a session that began elsewhere: paste its access token and refresh token, or its JSON.",
        ),
    ] = False,
    url: UsersUrl = None,
    directory: Directory = HOME,
) -> None:
    """Sign in as a user of the app, with email address and password.

    The command asks for what is not passed. If standard input is not a terminal, it reads one line for each.
    The session is stored in the system's keyring if the package `keyring` is installed, otherwise in a file
    that only you can read.
    """
    account = Account(url, directory)
    if tokens:
        session, place = account.take_over(*_read_tokens())
    else:
        address = email or _read("Email", hidden=False)
        session, place = account.sign_in(address, _read("Password"))
    typer.echo(f"Signed in to {account.url} as {session.email or session.user_id}.")
    typer.echo(f"The session is stored in {place}.")


def logout(
    local: Annotated[
        bool, typer.Option("--local", help="Remove the session from this machine without revoking it.")
    ] = False,
    url: UsersUrl = None,
    directory: Directory = HOME,
) -> None:
    """End the user's session: revoke it in Supabase Auth, and remove it from this machine."""
    account = Account(url, directory)
    if local:
        account.remove()
        typer.echo(f"Removed the session of {account.url} from this machine. It is not revoked.")
        return
    try:
        account.sign_out()
    except NotSignedInError:
        typer.echo(f"No user is signed in to {account.url}.")
        return
    typer.echo(f"Signed out of {account.url}.")


def whoami(url: UsersUrl = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """Show the signed-in user, and where the session is stored."""
    account = Account(url, directory)
    session, place = account.checked_session()
    expires_at = datetime.fromtimestamp(session.expires_at, UTC)
    if as_json:
        print_json(
            {
                "email": session.email or None,
                "id": session.user_id,
                "project": account.url,
                "expires_at": expires_at,
                "stored_in": place,
            }
        )
        return
    typer.echo(f"{session.email or 'no email address'} ({session.user_id})")
    typer.echo(f"project    {account.url}")
    typer.echo(f"token      valid until {expires_at:%Y-%m-%d %H:%M} UTC, then refreshed")
    typer.echo(f"stored in  {place}")


def _read_tokens() -> tuple[str, str]:
    first = _read("Access token")
    if first.startswith("{"):
        return _tokens_of(first if sys.stdin.isatty() else first + sys.stdin.read())
    return first, _read("Refresh token")


def _tokens_of(text: str) -> tuple[str, str]:
    """The tokens of a session as JSON, as the apps' clients store it."""
    try:
        session = json.loads(text)
        access_token, refresh_token = session["access_token"], session["refresh_token"]
    except (ValueError, TypeError, KeyError):
        pass
    else:
        if isinstance(access_token, str) and isinstance(refresh_token, str):
            return access_token, refresh_token
    # Raised here, because the decoder's error contains the text.
    raise typer.BadParameter("The JSON has no access_token and refresh_token.")


def _read(label: str, *, hidden: bool = True) -> str:
    """Ask on a terminal, or else read a line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(label, hide_input=hidden, err=True)).strip()
    if text := sys.stdin.readline().rstrip("\r\n"):
        return text
    raise typer.BadParameter(f"{label} is missing: standard input has no such line.")
