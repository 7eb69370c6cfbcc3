"""The RPCs about usage, as calls.py has the others. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from supa_llm.arguments import check
from supa_llm.calls import Call, timestamp
from supa_llm.errors import InvalidInputError
from supa_llm.usage import (
    Bucket,
    Dimension,
    Forecast,
    Maintenance,
    Order,
    Recalculation,
    RecordedRequest,
    UsageCheck,
    UsageHint,
    UsageLine,
    UsagePage,
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
    project: bool = False,
) -> Call[list[UsageLine]]:
    check(since=since, until=until, bucket=bucket, by=by, time_zone=time_zone, order=order)
    _in_order(since, until)
    if limit is not None:
        check(limit=limit)
    return Call(
        "get_llm_project_usage" if project else "get_llm_usage",
        {
            "p_since": day(since),
            "p_until": day(until),
            "p_bucket": bucket,
            "p_by": list(by),
            "p_time_zone": time_zone,
            "p_order": order,
            "p_limit": limit,
        },
        lambda rows: [UsageLine.from_json(row) for row in rows],
    )


def list_requests(limit: int = 50, before: UUID | None = None) -> Call[list[RecordedRequest]]:
    check(limit=limit, before=before)
    return Call(
        "list_llm_requests",
        {"p_limit": limit, "p_before": str(before) if before else None},
        lambda rows: [RecordedRequest.from_json(row) for row in rows],
    )


def get_forecast() -> Call[Forecast]:
    return Call("get_llm_forecast", {}, Forecast.from_json)


def list_hints() -> Call[list[UsageHint]]:
    return Call("list_llm_hints", {}, lambda rows: [UsageHint.from_json(row) for row in rows])


def list_events(
    since: date | None, until: date | None, after: str | None = None, *, project: bool = False
) -> Call[UsagePage]:
    """One page of events."""
    check(since=since, until=until)
    return Call(
        "list_llm_project_usage_events" if project else "list_llm_usage_events",
        {"p_since": timestamp(since), "p_until": timestamp(until), "p_after": after},
        UsagePage.from_json,
    )


def check_usage(since: date | None = None, until: date | None = None) -> Call[UsageCheck]:
    check(since=since, until=until)
    _in_order(since, until)
    return Call("check_llm_usage", {"p_since": day(since), "p_until": day(until)}, UsageCheck.from_json)


def run_maintenance() -> Call[Maintenance]:
    return Call("run_llm_maintenance", {}, Maintenance.from_json)


def recalculate_costs(
    since: date | None = None, until: date | None = None, recalculation: int | None = None
) -> Call[Recalculation]:
    """One batch of a recalculation."""
    check(since=since, until=until)
    return Call(
        "recalculate_llm_costs",
        {"p_from": timestamp(since), "p_until": timestamp(until), "p_recalculation": recalculation},
        Recalculation.from_json,
    )


def _in_order(since: date | None, until: date | None) -> None:
    """Refuse days that would be none: their report would say that nothing was used, or is wrong."""
    first, last = day(since), day(until)
    if first and last and first > last:
        raise InvalidInputError("'until' must not be before 'since'.")


def day(on: date | None) -> str | None:
    """A day as the database reads it; of a datetime, its own."""
    if on is None:
        return None
    return (on.date() if isinstance(on, datetime) else on).isoformat()
