"""RPCs about alerts."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.alerts import Alert
from supa_llm.values.arguments import check


def list_alerts(unread_only: bool = True, limit: int = 50, before: UUID | None = None) -> Call[list[Alert]]:
    check(limit=limit, before=before)
    return Call(
        "list_llm_alerts",
        {"p_unread_only": unread_only, "p_limit": limit, "p_before": str(before) if before else None},
        Alert.list_from_json,
    )


def dismiss_alerts(ids: Sequence[UUID] | None = None) -> Call[int]:
    check(ids=ids)
    return Call("dismiss_llm_alerts", {"p_ids": None if ids is None else list(map(str, ids))}, int)
