"""`supa-llm vault`: the master key, which protects all stored keys, and the key that signs tickets."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, MasterKey, TicketKey, Vault

app = typer.Typer(
    name="vault",
    help="Rotate the master key, which protects all stored keys, and replace it if it is lost.",
    no_args_is_help=True,
)

#: Problems of a master key that is lost.
_LOST = ("master_key_missing", "master_key_unreadable")


@app.command()
def status(url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """Show the master keys, how many users and teams need each, and whether a rotation is pending."""
    with administrator(url, directory) as admin:
        vault = admin.get_vault()
    if as_json:
        print_json(asdict(vault))
        return
    newest = max((it.id for it in vault.master_keys), default=None)
    masters = [_master(it, newest) for it in vault.master_keys]
    print_table(("master key", "created (UTC)", "owners", "status"), masters)
    typer.echo()
    print_table(("ticket key", "created (UTC)", "status"), [_ticket(it) for it in vault.ticket_keys])
    if vault.pending:
        typer.echo(f"\nA rotation is pending: {_left(vault.left)}. Finish it: supa-llm vault rotate")
    if vault.unreadable:
        typer.echo(f"\n{_unreadable(vault.unreadable)}")


@app.command()
def rotate(
    tickets: Annotated[
        bool, typer.Option("--tickets", help="Rotate the key that signs tickets instead.")
    ] = False,
    overlap: Annotated[
        float,
        typer.Option(min=0, max=24, help="With --tickets: hours for which earlier tickets stay valid."),
    ] = 24,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Rotate the master key while the app runs, and destroy the previous one.

    Every user's data key is encrypted with a new master key. You can interrupt the command; the same command
    resumes it. Afterwards, export the new master key, which no earlier export contains: see docs/vault.md.
    """
    with administrator(url, directory) as admin:
        if tickets:
            _rotate_tickets(admin, timedelta(hours=overlap), dry_run, yes, as_json)
        else:
            _rotate_master(admin, dry_run, yes, as_json)


def _rotate_master(admin: Admin, dry_run: bool, yes: bool, as_json: bool) -> None:
    if dry_run:
        vault = admin.get_vault()
        keys = vault.left if vault.pending else _readable(vault)
        what = "finish the pending rotation of" if vault.pending else "rotate"
        report(
            {"pending": vault.pending, "left": keys, "unreadable": vault.unreadable},
            would=f"Would {what} the master key: {_left(keys)}.",
            done="",
            dry_run=True,
            as_json=as_json,
        )
        return
    confirm("rotate the master key, and destroy the previous one", yes)
    rewrapped = destroyed = 0
    with progress("Rotating …") as show_progress:
        for state in admin.rotate_vault():
            rewrapped, destroyed = rewrapped + state.rewrapped, destroyed + state.destroyed
            show_progress(f"{_left(state.left)} …")
    report(
        {"rewrapped": rewrapped, "destroyed": destroyed, "unreadable": state.unreadable},
        would="",
        done=f"Rotated the master key: encrypted {counted(rewrapped, 'data key')} with the new one, "
        f"destroyed {counted(destroyed, 'earlier master key')}.\nExport the new one: see docs/backup.md",
        dry_run=False,
        as_json=as_json,
    )
    if state.unreadable and not as_json:
        typer.echo(_unreadable(state.unreadable))


def _rotate_tickets(admin: Admin, overlap: timedelta, dry_run: bool, yes: bool, as_json: bool) -> None:
    until, done = None, ""
    if not dry_run:
        confirm("rotate the key that signs tickets", yes)
        until = admin.rotate_ticket_key(overlap=overlap)
        done = f"Earlier tickets are valid until {until:%Y-%m-%d %H:%M} UTC."
    report(
        {"previous_until": until},
        would="Would rotate the key that signs tickets.",
        done=f"Rotated the key that signs tickets. {done}",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def replace_lost_key(
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


def _master(key: MasterKey, newest: int | None) -> tuple[str, ...]:
    state = "in use" if key.id == newest else "being replaced" if key.owners else "not needed"
    return (
        str(key.id),
        f"{key.created_at:%Y-%m-%d %H:%M}",
        f"{key.owners:,}",
        state if key.readable else "lost",
    )


def _ticket(key: TicketKey) -> tuple[str, ...]:
    state = f"valid until {key.valid_until:%Y-%m-%d %H:%M}" if key.valid_until else "in use"
    return str(key.id), f"{key.created_at:%Y-%m-%d %H:%M}", state


def _readable(vault: Vault) -> int:
    return sum(it.owners for it in vault.master_keys if it.readable)


def _left(keys: int) -> str:
    return f"{counted(keys, 'data key')} left to encrypt"


def _unreadable(keys: int) -> str:
    return (
        f"{counted(keys, 'data key')} cannot be decrypted. To find out why: supa-llm doctor. "
        "Their master key is kept."
    )
