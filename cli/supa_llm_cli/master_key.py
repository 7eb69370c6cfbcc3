"""`supa-llm master-key`: what to do when the key that encrypts all stored keys is lost."""

from __future__ import annotations

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.project import administrator

app = typer.Typer(
    name="master-key", help="Replace the master key, which encrypts all stored keys.", no_args_is_help=True
)

#: Problems of a master key that is lost.
_LOST = ("master_key_missing", "master_key_unreadable")


@app.callback()
def _group() -> None:
    pass


@app.command()
def replace(
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Replace a lost master key. Users must store their keys again.

    Do this only if you have no backup of the master key: see docs/backup.md. The stored keys are marked as
    unreadable, and routes skip them. A master key that is not lost is not replaced.
    """
    with administrator(url, directory) as admin:
        unreadable = None
        if dry_run:
            lost = any(it.code in _LOST for it in admin.list_problems())
        else:
            if not yes:
                typer.echo("Without the lost master key, no stored key can be read.", err=True)
            confirm("create a new master key", yes)
            unreadable, lost = admin.replace_master_key(), True
    report(
        {"lost": lost, "unreadable_keys": unreadable},
        would="Would create a new master key."
        if lost
        else "The master key is not lost, so it would not be replaced.",
        done=f"Created a new master key. {counted(unreadable or 0, 'key')} must be stored again.",
        dry_run=dry_run,
        as_json=as_json,
    )
