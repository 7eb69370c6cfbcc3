"""RPCs about the audit log."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import timestamp
from supa_llm.values.arguments import check
from supa_llm.values.audit import AuditEntry, AuditVerification
from supa_llm.values.audit_seals import AuditSealPage, AuditText


def get_audit_log(
    limit: int = 50,
    before: UUID | None = None,
    *,
    user_id: UUID | None = None,
    action: str | None = None,
    provider: str | None = None,
    by: str | None = None,
    since: date | None = None,
    until: date | None = None,
    team_id: UUID | str | None = None,
) -> Call[list[AuditEntry]]:
    """The caller's log; an administrator's is that of one user, or the operator's if ``user_id`` is None.

    With ``team_id``, the log of a team.
    """
    check(limit=limit, before=before, since=since, until=until)
    if team_id is not None:
        check(team_id=team_id)
    return Call(
        "get_llm_audit_log",
        {
            "p_limit": limit,
            "p_before": str(before) if before else None,
            "p_user_id": str(user_id) if user_id else None,
            "p_action": action,
            "p_provider": provider,
            "p_by": by,
            "p_since": timestamp(since),
            "p_until": timestamp(until),
            "p_team_id": str(team_id) if team_id else None,
        },
        AuditEntry.list_from_json,
    )


def verify_audit_log(
    after: UUID | None = None,
    *,
    user_id: UUID | None = None,
    every_log: bool = False,
    team_id: UUID | str | None = None,
) -> Call[AuditVerification]:
    """A page of a verification; with ``every_log``, of all logs from the one of ``user_id``.

    With ``team_id``, of the log of a team.
    """
    if team_id is not None:
        check(team_id=team_id)
    return Call(
        "verify_llm_audit_log",
        {
            "p_after": _text(after),
            "p_user_id": _text(user_id),
            "p_all": every_log,
            "p_team_id": str(team_id) if team_id else None,
        },
        AuditVerification.from_json,
    )


def list_audit_seals(after: int | None, *, user_id: UUID | None, every_log: bool) -> Call[AuditSealPage]:
    """Seals after this number; with ``every_log``, also those of the logs after it."""
    arguments = {"p_after": after, "p_user_id": _text(user_id), "p_all": every_log}
    return Call("list_llm_audit_seals", arguments, AuditSealPage.from_json)


def list_audit_texts(after: UUID | None, *, user_id: UUID | None, every_log: bool) -> Call[list[AuditText]]:
    """Entries as hashed texts after this one; with ``every_log``, also those of the logs after it."""
    arguments = {"p_after": _text(after), "p_user_id": _text(user_id), "p_all": every_log}
    return Call("list_llm_audit_texts", arguments, AuditText.list_from_json)


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
