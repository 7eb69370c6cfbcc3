"""`supa-llm audit`: what administrators changed, or a user's audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from supa_llm_cli.changes import differences, short
from supa_llm_cli.options import DAY, HOME, Directory, Url, read_day
from supa_llm_cli.people import names, optional_user_id
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import as_json_text, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, AuditEntry


def audit(
    user: Annotated[
        str | None,
        typer.Option(
            metavar="USER", help="Show the log of this user (email address or ID) instead of the operator's."
        ),
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as provider_set.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only entries about this provider.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Only entries by this administrator (email address, sub or role), or by user or runtime."
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=read_day,
            metavar=DAY,
            help="First day (UTC). Default: the oldest entry.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=read_day, metavar=DAY, help="Last day (UTC). Default: today.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=500,
            help="Maximum number of entries. Default: 50, or 10 with --follow.",
            show_default=False,
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show all entries, however many.")] = False,
    before: Annotated[
        UUID | None, typer.Option(help="Show entries before this one, an ID from an earlier page.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Show the last entries, then new ones as they come, until Ctrl-C."
        ),
    ] = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --follow, one line per entry.")
    ] = False,
) -> None:
    """Show the audit log, newest first: what administrators changed, or one user's log."""
    if follow and (show_all or before or since or until):
        raise typer.BadParameter("--follow cannot be combined with --all, --before, --since or --until.")
    if show_all and before:
        raise typer.BadParameter("--all cannot be combined with --before.")
    with administrator(url, directory) as admin:
        only: dict[str, Any] = {"user_id": optional_user_id(admin, user)}
        only |= {"action": action, "provider": provider, "by": by}
        if follow:
            _follow(admin, admin.follow_audit_log(limit or 10, **only), as_json)
            return
        only |= {
            "since": since and since.replace(tzinfo=UTC),
            "until": until and (until + timedelta(days=1)).replace(tzinfo=UTC),
        }
        entries = (
            [*admin.list_audit_log(**only)] if show_all else admin.get_audit_log(limit or 50, before, **only)
        )
        emails = {} if as_json else names(admin, map(_subject, entries))
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif entries:
        rows = [(*_cells(entry, emails), entry.id) for entry in entries]
        print_table(("time (UTC)", "by", "action", "provider", "details", "id"), rows)
    else:
        typer.echo("No entries.")


def _follow(admin: Admin, entries: Iterator[AuditEntry], as_json: bool) -> None:
    try:
        for entry in entries:
            if as_json:
                typer.echo(as_json_text(asdict(entry)))
            else:
                cells = _cells(entry, names(admin, [_subject(entry)]))
                typer.echo("  ".join(filter(None, cells)))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _cells(entry: AuditEntry, emails: Mapping[UUID, str]) -> tuple[str, ...]:
    return (
        f"{entry.at:%Y-%m-%d %H:%M}",
        _who(entry),
        entry.action,
        entry.provider or "",
        _what(_named(entry, emails)),
    )


def _subject(entry: AuditEntry) -> UUID | None:
    """Return the user whom an administrator's change is about."""
    user = entry.detail.get("user_id")
    return UUID(user) if isinstance(user, str) else None


def _named(entry: AuditEntry, emails: Mapping[UUID, str]) -> Mapping[str, Any]:
    """Return the details with the user's email address instead of their ID."""
    user = _subject(entry)
    if user is None or user not in emails:
        return entry.detail
    return {
        "user" if name == "user_id" else name: emails[user] if name == "user_id" else value
        for name, value in entry.detail.items()
    }


def _who(entry: AuditEntry) -> str:
    by = entry.detail.get("by", {})
    return str(by.get("email") or by.get("sub") or by.get("role") or entry.actor)


def _what(detail: Mapping[str, Any]) -> str:
    """Return the details in one line; a changed field as `field old → new`."""
    old, new = detail.get("old") or {}, detail.get("new") or {}
    parts = [
        f"{name} {short(value)}"
        for name, value in detail.items()
        if name not in ("by", "old", "new") and value not in (old, new)
    ]
    if not old:
        new = {name: value for name, value in new.items() if value is not None}
    changed = differences(old, new)
    return ", ".join([*parts, *filter(None, [changed])])
