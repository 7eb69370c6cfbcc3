"""RPCs about usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import day, timestamp
from supa_llm.errors import InvalidInputError
from supa_llm.values.arguments import check
from supa_llm.values.receipts import Attempt
from supa_llm.values.secrets import Secret
from supa_llm.values.usage import (
    Bucket,
    Dimension,
    Forecast,
    Order,
    Recording,
    Reporter,
    UsageCheck,
    UsageHint,
    UsageLine,
    UsagePage,
)

#: The most that the database counts in one call.
_MOST_DROPPED = 999_999


def usage_event(
    request_id: UUID,
    task: str | None,
    attempt: Attempt,
    ticket: Secret | None = None,
    reservation: UUID | None = None,
) -> dict[str, Any]:
    """One attempt, for :func:`record_usage_batch`.

    Args:
        ticket: of the route, if a runtime resolved it. Without one, the event is recorded for the caller.
        reservation: the request whose route reserved for this one too.
    """
    fields_of_usage = {it.name: getattr(attempt.usage, it.name) for it in fields(attempt.usage)}
    event = {
        "ticket": ticket.reveal() if ticket else None,
        "request_id": str(request_id),
        "reservation": str(reservation) if reservation not in (None, request_id) else None,
        "attempt": attempt.number,
        "task": task,
        "provider": attempt.provider,
        "model": attempt.model,
        "key_source": attempt.key_source,
        "key_id": str(attempt.key_id) if attempt.key_id else None,
        "team_id": str(attempt.team_id) if attempt.team_id else None,
        "outcome": attempt.outcome,
        "error_class": attempt.error_class,
        "streamed": attempt.streamed,
        "latency_ms": attempt.latency_ms,
        "retry_after": attempt.retry_after,
        "service_tier": attempt.service_tier,
        "ignored_limit": attempt.ignored_limit,
        **fields_of_usage,
        "other_tokens": dict(attempt.usage.other_tokens) or None,
    }
    return {name: value for name, value in event.items() if value is not None}


def release_event(
    request_id: UUID, ticket: Secret | None = None, requests: int | None = None
) -> dict[str, Any]:
    """Release the reservations of a request whose attempts did not all run, in the same batch.

    Args:
        requests: for how many of the requests that its route reserved for; None for all.
    """
    event = {"request_id": str(request_id), "release": True, "requests": requests}
    event["ticket"] = ticket.reveal() if ticket else None
    return {name: value for name, value in event.items() if value is not None}


def record_usage_batch(
    events: Sequence[Mapping[str, Any]], dropped: Mapping[str, int] | None = None
) -> Call[list[Recording]]:
    """Record events. The database answers each one by itself, in the same order.

    Args:
        dropped: how many events were dropped since the last call, by reason.
    """

    def read(answers: Sequence[Mapping[str, Any]]) -> list[Recording]:
        if len(answers) != len(events):
            raise ValueError("not one answer for each event")
        return Recording.list_from_json(answers)

    args: dict[str, Any] = {"p_events": list(events)}
    if dropped:
        args["p_dropped"] = {code: min(count, _MOST_DROPPED) for code, count in dropped.items()}
    return Call("record_llm_usage_batch", args, read)


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
    team_id: UUID | None = None,
) -> Call[list[UsageLine]]:
    """The caller's usage; an administrator's is that of one user, or of all users if ``user_id`` is None.

    Args:
        team_id: only usage of this team's keys: the caller's own or, for owners and admins, all members'.
    """
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
            **_team(team_id),
        },
        UsageLine.list_from_json,
    )


def get_forecast() -> Call[Forecast]:
    return Call("get_llm_forecast", {}, Forecast.from_json)


def list_hints() -> Call[list[UsageHint]]:
    return Call("list_llm_hints", {}, UsageHint.list_from_json)


def list_events(
    since: date | None,
    until: date | None,
    after: str | None = None,
    *,
    user_id: UUID | None = None,
    team_id: UUID | None = None,
) -> Call[UsagePage]:
    """One page of events: of the caller, or for an administrator of one user or all users.

    Args:
        team_id: as in :func:`get_usage`.
    """
    check(since=since, until=until)
    return Call(
        "list_llm_usage_events",
        {
            "p_since": timestamp(since),
            "p_until": timestamp(until),
            "p_after": after,
            "p_user_id": str(user_id) if user_id else None,
            **_team(team_id),
        },
        UsagePage.from_json,
    )


def check_usage(since: date | None = None, until: date | None = None) -> Call[UsageCheck]:
    check(since=since, until=until)
    _in_order(since, until)
    return Call("check_llm_usage", {"p_since": day(since), "p_until": day(until)}, UsageCheck.from_json)


def _team(team_id: UUID | None) -> dict[str, str]:
    """The argument of a team, only if there is one, because an older database does not know it."""
    return {"p_team_id": str(team_id)} if team_id else {}


def _in_order(since: date | None, until: date | None) -> None:
    """Refuse an empty range of days, whose report would misleadingly show no usage."""
    first, last = day(since), day(until)
    if first and last and first > last:
        raise InvalidInputError("'until' must not be earlier than 'since'.")
