"""`supa-llm audit`: what administrators changed, or a user's audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from supa_llm_cli.changes import differences, short
from supa_llm_cli.options import HOME, AsJson, Directory, Url
from supa_llm_cli.people import names, optional_user_id
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import AuditEntry


def audit(
    user: Annotated[
        str | None,
        typer.Option(
            metavar="USER", help="Show the log of this user (email address or ID) instead of the operator's."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Maximum number of entries.")] = 50,
    before: Annotated[
        UUID | None, typer.Option(help="Show entries before this one, an ID from an earlier page.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Show the audit log, newest first: what administrators changed, or one user's log."""
    with administrator(url, directory) as admin:
        entries = admin.get_audit_log(limit, before, user_id=optional_user_id(admin, user))
        emails = {} if as_json else names(admin, map(_subject, entries))
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif entries:
        rows = [
            (
                f"{entry.at:%Y-%m-%d %H:%M}",
                _who(entry),
                entry.action,
                entry.provider or "",
                _what(_named(entry, emails)),
                entry.id,
            )
            for entry in entries
        ]
        print_table(("time (UTC)", "by", "action", "provider", "details", "id"), rows)
    else:
        typer.echo("No entries.")


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
    parts = [f"{name} {short(value)}" for name, value in detail.items() if name not in ("by", "old", "new")]
    changed = differences(detail.get("old") or {}, detail.get("new") or {})
    return ", ".join([*parts, *filter(None, [changed])])
