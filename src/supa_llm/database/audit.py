"""RPCs about the audit log."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import timestamp
from supa_llm.values.arguments import check
from supa_llm.values.audit import AuditEntry


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
