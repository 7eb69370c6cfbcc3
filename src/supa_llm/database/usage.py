"""RPCs about usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import date
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import day, timestamp
from supa_llm.errors import InvalidInputError
from supa_llm.values.arguments import check
from supa_llm.values.receipts import Attempt
from supa_llm.values.usage import (
    Bucket,
    Dimension,
    Forecast,
    Order,
    Reporter,
    UsageCheck,
    UsageHint,
    UsageLine,
    UsagePage,
)


def record_usage(request_id: UUID, task: str | None, attempt: Attempt) -> Call[bool]:
    """Record one attempt; False if it was already recorded."""
    return Call(
        "record_llm_usage",
        {
            "p_request_id": str(request_id),
            "p_attempt": attempt.number,
            "p_task": task,
            "p_provider": attempt.provider,
            "p_model": attempt.model,
            "p_key_source": attempt.key_source,
            "p_key_id": str(attempt.key_id) if attempt.key_id else None,
            "p_outcome": attempt.outcome,
            "p_error_class": attempt.error_class,
            "p_streamed": attempt.streamed,
            "p_latency_ms": attempt.latency_ms,
            "p_retry_after": attempt.retry_after,
            "p_service_tier": attempt.service_tier,
            **{f"p_{it.name}": getattr(attempt.usage, it.name) for it in fields(attempt.usage)},
            "p_other_tokens": dict(attempt.usage.other_tokens) or None,
        },
        bool,
    )


def get_usage(
    since: date | None = None,
    until: date | None = None,
    *,
    bucket: Bucket | None = "day",
    by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
    time_zone: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    user_id: UUID | None = None,
    recorded_by: Reporter | None = None,
) -> Call[list[UsageLine]]:
    """The caller's usage; an administrator's is that of one user, or of all users if ``user_id`` is None."""
    check(
        since=since,
        until=until,
        bucket=bucket,
        by=by,
        time_zone=time_zone,
        order=order,
        recorded_by=recorded_by,
    )
    _in_order(since, until)
    if limit is not None:
        check(limit=limit)
    return Call(
        "get_llm_usage",
        {
            "p_since": day(since),
            "p_until": day(until),
            "p_bucket": bucket,
            "p_by": list(by),
            "p_time_zone": time_zone,
            "p_order": order,
            "p_limit": limit,
            "p_user_id": str(user_id) if user_id else None,
            "p_recorded_by": recorded_by,
        },
        UsageLine.list_from_json,
    )


def get_forecast() -> Call[Forecast]:
    return Call("get_llm_forecast", {}, Forecast.from_json)


def list_hints() -> Call[list[UsageHint]]:
    return Call("list_llm_hints", {}, UsageHint.list_from_json)


def list_events(
    since: date | None, until: date | None, after: str | None = None, *, user_id: UUID | None = None
) -> Call[UsagePage]:
    """One page of events: of the caller, or for an administrator of one user or all users."""
    check(since=since, until=until)
    return Call(
        "list_llm_usage_events",
        {
            "p_since": timestamp(since),
            "p_until": timestamp(until),
            "p_after": after,
            "p_user_id": str(user_id) if user_id else None,
        },
        UsagePage.from_json,
    )


def check_usage(since: date | None = None, until: date | None = None) -> Call[UsageCheck]:
    check(since=since, until=until)
    _in_order(since, until)
    return Call("check_llm_usage", {"p_since": day(since), "p_until": day(until)}, UsageCheck.from_json)


def _in_order(since: date | None, until: date | None) -> None:
    """Refuse an empty range of days, whose report would misleadingly show no usage."""
    first, last = day(since), day(until)
    if first and last and first > last:
        raise InvalidInputError("'until' must not be earlier than 'since'.")
