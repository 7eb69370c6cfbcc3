"""RPCs about key checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.key_checks import KeyCheck


def begin_key_check(provider: str, key: str | None = None, team_id: str | None = None) -> Call[KeyCheck]:
    """Begin a check of the user's or team's stored key or, if given, of a key that is not stored yet."""
    check(provider=provider)
    body = {"provider": provider, "key": key, "team_id": team_id}
    body = {name: value for name, value in body.items() if value is not None}
    return Call(
        "begin_llm_key_check",
        body,
        KeyCheck.from_json,
        again=lambda row: {"check_id": row.get("check_id")},
    )


def record_key_check(
    check_id: UUID, result: str, retry_after: float | None = None
) -> Call[Mapping[str, Any] | None]:
    """Record the result of a check; returns the stored key's row, or None if no key is stored."""
    return Call(
        "record_llm_key_check",
        {"p_check_id": str(check_id), "p_result": result, "p_retry_after": retry_after},
        lambda row: row,
    )
