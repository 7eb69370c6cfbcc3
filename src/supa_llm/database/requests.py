"""RPCs about recorded requests."""

from __future__ import annotations

from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.requests import RecordedRequest


def list_requests(limit: int = 50, before: UUID | None = None) -> Call[list[RecordedRequest]]:
    check(limit=limit, before=before)
    return Call(
        "list_llm_requests",
        {"p_limit": limit, "p_before": str(before) if before else None},
        RecordedRequest.list_from_json,
    )
