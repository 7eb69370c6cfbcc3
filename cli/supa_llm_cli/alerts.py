"""`supa-llm alerts`: used-up quotas, keys that do not work, and missing prices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

app = typer.Typer(
    name="alerts",
    help="List and dismiss alerts: quotas running out, keys that do not work, missing prices.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    show_all: Annotated[bool, typer.Option("--all", help="Include dismissed alerts.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Maximum number of alerts.")] = 50,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List alerts, newest first. Each problem is reported once."""
    with administrator(url, directory) as admin:
        found = admin.list_alerts(unread_only=not show_all, limit=limit)
    if as_json:
        print_json([asdict(alert) for alert in found])
    elif found:
        rows = [
            (
                f"{alert.created_at:%Y-%m-%d %H:%M}",
                alert.kind,
                ", ".join(f"{name} {value}" for name, value in alert.detail.items() if value is not None),
                "dismissed" if alert.read_at else "",
                alert.id,
            )
            for alert in found
        ]
        print_table(("since (UTC)", "kind", "details", "status", "id"), rows)
    else:
        typer.echo("No alerts." if show_all else "No new alerts.")


@app.command()
def dismiss(
    ids: Annotated[
        list[UUID] | None, typer.Argument(metavar="ID", help="Alert IDs from `supa-llm alerts list`.")
    ] = None,
    dismiss_all: Annotated[bool, typer.Option("--all", help="Dismiss every alert.")] = False,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Dismiss alerts. Dismissed alerts appear only in `supa-llm alerts list --all`."""
    if bool(ids) == dismiss_all:
        raise typer.BadParameter("Name the alerts to dismiss, or pass --all.")
    with administrator(url, directory) as admin:
        if dry_run:
            alerts = admin.list_alerts(unread_only=True, limit=500)
            dismissed = sum(dismiss_all or alert.id in (ids or ()) for alert in alerts)
        else:
            dismissed = admin.dismiss_alerts(None if dismiss_all else ids)
    report(
        {"dismissed": dismissed},
        would=f"Would dismiss {counted(dismissed, 'alert')}.",
        done=f"Dismissed {counted(dismissed, 'alert')}.",
        dry_run=dry_run,
        as_json=as_json,
    )
