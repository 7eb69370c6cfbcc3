"""`supa-llm audit`: what administrators changed, or a user's audit log; and whether a log was rewritten."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from supa_llm.errors import InvalidInputError
from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import differences, short
from supa_llm_cli.colors import styled
from supa_llm_cli.options import DAY, HOME, AsJson, Directory, Url, read_day
from supa_llm_cli.people import names, optional_user_id
from supa_llm_cli.private_files import create_private
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import as_json_text, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, AuditEntry, AuditProblem, AuditVerification

app = typer.Typer(name="audit", help="Show and verify the audit logs.")


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        return
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


_OneLog = Annotated[
    str | None,
    typer.Option("--user", metavar="USER", help="Only the log of this user: email address or ID."),
]


@app.command()
def verify(
    user: _OneLog = None,
    every: Annotated[
        bool, typer.Option("--all", help="Verify the logs of the operator and of all users.")
    ] = False,
    seals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also compare the logs with these seals, which supa-llm audit seals exported earlier.",
        ),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Check that no entry of the operator's audit log was changed, removed or inserted, and name the first.

    The database's owner can rewrite the stored seals, too. Only seals that were exported before reveal that.

    Exit code: 0 if the logs are intact, 1 if not.
    """
    if user and every:
        raise typer.BadParameter("--user cannot be combined with --all.")
    with administrator(url, directory) as admin, progress("Verifying …") as show:
        owner = optional_user_id(admin, user)
        found = [admin.verify_audit_log(user_id=owner, every_log=every)]
        if seals is not None:
            show("Comparing with the exported seals …")
            with _opened(seals) as lines:
                found.append(admin.compare_audit_seals(lines, user_id=owner))
        problem = next((it.first_problem for it in found if it.first_problem), None)
        email = names(admin, [problem.user_id] if problem else []).values()
    if as_json:
        print_json(
            {
                **asdict(found[0]),
                "first_problem": problem and asdict(problem),
                "compared": asdict(found[1]) if seals else None,
            }
        )
    else:
        _print_verified(found, problem, next(iter(email), None))
    if problem:
        raise typer.Exit(1)


@app.command("seals")
def export_seals(
    file: Annotated[Path, typer.Argument(help="Output file. - is standard output.")] = Path("-"),
    user: _OneLog = None,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Export the seals of all audit logs as JSON lines, for `supa-llm audit verify --seals FILE`.

    The command verifies the logs first.

    Store the file where the database's owner cannot change it, and export regularly: what is rewritten
    before the next export leaves no trace. The file contains IDs and hashes, but nothing of the entries.

    Exit code: 0 if the logs are intact, 1 if not. The seals are exported in both cases.
    """
    with administrator(url, directory) as admin, progress("Sealing …"):
        owner = optional_user_id(admin, user)
        verified = admin.verify_audit_log(user_id=owner, every_log=owner is None)
        lines = admin.export_audit_seals(user_id=owner)
        if str(file) == "-":
            sys.stdout.writelines(lines)
        else:
            with create_private(file) as output:
                output.writelines(lines)
            typer.echo(f"Wrote the seals of {_entries(verified.verified)} to {file}.")
    if verified.first_problem:
        typer.echo(_alarm(verified.first_problem, sys.stderr), err=True)
        raise typer.Exit(1)


def _opened(file: Path) -> IO[str]:
    try:
        return file.open(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"Cannot read {file}: {error.strerror}.") from None


def _print_verified(found: list[AuditVerification], problem: AuditProblem | None, email: str | None) -> None:
    for it, what in zip(found, ("", " with the exported seals"), strict=False):
        counts = [f"Verified{what}: {_entries(it.verified)}"]
        if it.logs != 1:
            counts.append(f"in {counted(it.logs, 'log')}")
        if it.unsealed:
            counts.append(f"{it.unsealed} newer" if what else f"{it.unsealed} not sealed yet")
        if it.dropped:
            counts.append(f"{it.dropped} dropped by retention or with their user's data")
        typer.echo(f"{', '.join(counts)}.")
    if problem:
        whose = f" in the log of {email}" if email else " in the operator's log"
        if not email and problem.user_id.int:
            whose = f" in the log of user {problem.user_id}"
        typer.echo(_alarm(problem, sys.stdout, whose))
    else:
        typer.echo("No entry was changed, removed or inserted.")


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _alarm(problem: AuditProblem, stream: Any, whose: str = "") -> str:
    text = f"{str(problem).removesuffix('.')}{whose}. Its time: {problem.at:%Y-%m-%d %H:%M} UTC."
    return styled(text, stream, fg="red")


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
