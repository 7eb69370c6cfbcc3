"""`supa-llm alerts`: what the operator should know."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from supa_llm_cli.project import HOME, Directory, Url, administrator
from supa_llm_cli.tables import AsJson, print_json, print_table


def alerts(
    show_all: Annotated[bool, typer.Option("--all", help="Those that were read too.")] = False,
    read: Annotated[bool, typer.Option("--read", help="Mark those that are shown as read.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Alerts at most.")] = 50,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Show what you should know: quotas that are used up, models without a price. Each is said once."""
    with administrator(url, directory) as admin:
        found = admin.list_alerts(unread_only=not show_all, limit=limit)
        if read:
            admin.dismiss_alerts([alert.id for alert in found])
    if as_json:
        print_json([asdict(alert) for alert in found])
    elif found:
        rows = [
            (
                f"{alert.created_at:%Y-%m-%d %H:%M}",
                alert.kind,
                ", ".join(f"{name} {value}" for name, value in alert.detail.items() if value is not None),
                "read" if alert.read_at else "",
            )
            for alert in found
        ]
        print_table(("since (UTC)", "kind", "about", ""), rows)
    else:
        typer.echo("There are no alerts." if show_all else "There are no new alerts.")
