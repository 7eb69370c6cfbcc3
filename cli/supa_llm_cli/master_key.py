"""`supa-llm master-key`: what to do when the key that encrypts all stored keys is lost."""

from __future__ import annotations

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.options import HOME, Directory, Url, Yes
from supa_llm_cli.project import administrator

app = typer.Typer(
    name="master-key", help="Replace the master key, which encrypts all stored keys.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def replace(url: Url = None, directory: Directory = HOME, yes: Yes = False) -> None:
    """Replace a lost master key. Users must store their keys again.

    Do this only if you have no backup of the master key: see docs/backup.md. The stored keys are marked as
    unreadable, and routes skip them. A master key that is not lost is not replaced.
    """
    if not yes:
        typer.echo("Without the lost master key, no stored key can be read.")
        typer.confirm("Create a new master key?", abort=True)
    with administrator(url, directory) as admin:
        unreadable = admin.replace_master_key()
    typer.echo(f"Created a new master key. {counted(unreadable, 'key')} must be stored again.")
