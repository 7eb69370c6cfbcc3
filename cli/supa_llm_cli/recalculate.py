"""`supa-llm prices recalculate`: recorded costs at corrected prices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from supa_llm_cli.amounts import dollars
from supa_llm_cli.progress import progress
from supa_llm_cli.project import HOME, Directory, Url, administrator


def recalculate(
    since: Annotated[
        datetime,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Requests from then on (UTC).",
            show_default=False,
        ),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="And before then (UTC); default: now.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Work out recorded costs again, at the prices known now for the times of the requests.

    For a price that was corrected, or came late. What was recorded stays; what differs is appended beside it,
    and reports follow. It may be ended at any time: the same command goes on with it, and twice is once. What
    had a price never loses it.
    """
    first, last = since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC)
    if not yes:
        span = f"from {first:%Y-%m-%d %H:%M}" + (f" to {last:%Y-%m-%d %H:%M}" if last else " on")
        typer.confirm(f"Recalculate the costs of requests {span} (UTC)?", abort=True)
    with administrator(url, directory) as admin, progress("Recalculating …") as say:
        for state in admin.recalculate_costs(first, last):
            expected = max(state.expected, state.events)
            say(f"{state.events:,} of about {expected:,} attempts, {state.changed:,} changed …")
    typer.echo(f"{state.events:,} attempts looked at, {state.changed:,} changed.")
    if state.newly_priced:
        typer.echo(f"{state.newly_priced:,} of these had no price before.")
    if state.changed:
        typer.echo(f"All of them cost {dollars(state.cost_before)} and cost {dollars(state.cost_after)} now.")
