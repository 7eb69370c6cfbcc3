"""RPCs about requests that were refused before they reached a provider."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import day
from supa_llm.values.arguments import check
from supa_llm.values.refusals import Refusal

#: The error codes that are counted: those of ``llm_private.refusal_codes()``.
CODES = frozenset(
    {
        "account_banned",
        "account_suspended",
        "context_too_long",
        "invalid_argument",
        "key_unreadable",
        "keys_rate_limited",
        "master_key_missing",
        "model_unpriced",
        "no_candidate",
        "no_usable_key",
        "quota_exceeded",
        "request_too_large",
        "runtime_required",
        "runtime_unknown",
        "session_ended",
        "total_timeout",
        "unknown_model",
        "unknown_provider",
        "unsupported_request",
    }
)
_MOST = 999_999


def record_refusals(counts: Mapping[str, int]) -> Call[None]:
    args = {code: min(count, _MOST) for code, count in counts.items()}
    return Call("record_llm_refusals", {"p_refusals": args}, lambda _: None)


def list_refusals(
    since: date | None = None, until: date | None = None, *, user_id: UUID | None = None
) -> Call[list[Refusal]]:
    """The caller's refusals; an administrator's are those of one user, or of all if ``user_id`` is None."""
    check(since=since, until=until)
    return Call(
        "list_llm_refusals",
        {
            "p_since": day(since),
            "p_until": day(until),
            "p_user_id": str(user_id) if user_id else None,
        },
        Refusal.list_from_json,
    )
