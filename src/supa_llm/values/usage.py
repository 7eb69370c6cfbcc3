"""Usage reports. Costs are Decimal US dollars; None is unknown, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource
from supa_llm.values.requests import RecordedAttempt

Bucket = Literal["hour", "day", "month"]


Dimension = Literal["provider", "model", "task", "key_source", "key_id", "user"]


Order = Literal["time", "cost", "requests", "tokens"]


@dataclass(frozen=True, slots=True)
class UsageLine(Row):
    """One line of a usage report: sums over what its other fields name.

    Attributes:
        starts_at: begin of the hour, day or month, in the time zone of the report; None over all the time.
        user_id: like the other dimensions None where the report is not by it.
        requests: first attempts, so that a request counts once.
        fallbacks: second attempts.
        failures: attempts that failed; cancelled ones did not.
        cost: what is known of it; None where nothing is.
        unpriced: attempts of models that no price is known for; not in ``cost``.
        unreported: attempts whose tokens the provider did not count; not in ``cost``.
        cache_savings: what the providers' caches saved, less what writing to them cost; in ``cost`` already.
        latency_p50_ms: half of the attempts took no longer; as ``latency_p95_ms`` from a histogram, see
            docs/usage.md for how exact they are. None where no latency was measured.
    """

    starts_at: datetime | None
    user_id: UUID | None
    provider: str | None
    model: str | None
    task: str | None
    key_source: KeySource | None
    key_id: UUID | None
    requests: int
    attempts: int
    fallbacks: int
    failures: int
    cancelled: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
    cache_savings: Decimal
    unpriced: int
    unreported: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class UsageEvent(RecordedAttempt):
    """One attempt as the ledger holds it, for export.

    Attributes:
        price_id: the price that ``cost`` is computed from.
        recorded_at: when the event reached the database.
    """

    user_id: UUID
    request_id: UUID
    requested_at: datetime
    task: str | None
    price_id: int | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some events, and where the next page begins; None: there are no more."""

    events: tuple[UsageEvent, ...]
    cursor: str | None

    @classmethod
    def from_json(cls, rows: list[Mapping[str, Any]]) -> Self:
        return cls(tuple(map(UsageEvent.from_json, rows)), rows[-1]["cursor"] if rows else None)


@dataclass(frozen=True, slots=True)
class Forecast(Row):
    """What a month has cost and is going to.

    Attributes:
        month: its first day, in ``time_zone``.
        cost_so_far: None where nothing of it is priced.
        daily_average: of the last ``days_averaged`` full days.
        forecast: at the month's end, if days go on as the average; None where one of the two is not known.
        unpriced: attempts of this month that are in none of the amounts; and so ``unreported``.
    """

    month: date
    time_zone: str
    currency: str
    cost_so_far: Decimal | None
    daily_average: Decimal | None
    days_averaged: int
    forecast: Decimal | None
    unpriced: int
    unreported: int


@dataclass(frozen=True, slots=True)
class UsageHint(Row):
    """Where a user could do better, worked out from what was recorded.

    Attributes:
        kind: ``cheaper_model``, ``cache_loss`` or ``failing``.
        message: a sentence for people.
        facts: what it is made of; of ``cheaper_model``: ``task``, ``provider``, ``model``, ``other_model``,
            ``cost_30d``, ``would_have_cost``, ``ratio`` and ``compared_attempts``.
    """

    kind: str
    message: str
    facts: Mapping[str, Any]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        facts = {name: value for name, value in row.items() if name not in ("kind", "message")}
        return cls(row["kind"], row["message"], facts)


@dataclass(frozen=True, slots=True)
class UsageCheck(Row):
    """Whether the totals are the sums of the events, on the days (UTC) from ``since`` to ``until``.

    Attributes:
        first_day: the first one that there are events of; None without any.
        differing: groups whose totals are wrong; 0: all are exact.
        differences: the first 100 of them, and by how much the totals are more.
    """

    first_day: date | None
    since: date | None
    until: date | None
    differing: int
    differences: tuple[Mapping[str, Any], ...]
