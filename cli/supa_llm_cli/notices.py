"""`supa-llm notices`: what the operator should know."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from supa_llm_cli.project import HOME, Directory, Url, administrator
from supa_llm_cli.tables import AsJson, print_json, print_table


def notices(
    show_all: Annotated[bool, typer.Option("--all", help="Those that were read too.")] = False,
    read: Annotated[bool, typer.Option("--read", help="Mark those that are shown as read.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Notices at most.")] = 50,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Show what you should know: quotas that are used up, models without a price. Each is said once."""
    with administrator(url, directory) as admin:
        found = admin.notices(unread_only=not show_all, limit=limit)
        if read:
            admin.read_notices([notice.id for notice in found])
    if as_json:
        print_json([asdict(notice) for notice in found])
    elif found:
        rows = [
            (
                f"{notice.created_at:%Y-%m-%d %H:%M}",
                notice.kind,
                ", ".join(f"{name} {value}" for name, value in notice.detail.items() if value is not None),
                "read" if notice.read_at else "",
            )
            for notice in found
        ]
        print_table(("since (UTC)", "kind", "about", ""), rows)
    else:
        typer.echo("There are no notices." if show_all else "There are no new notices.")
