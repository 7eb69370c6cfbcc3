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


Dimension = Literal["provider", "model", "task", "key_source", "key_id", "recorded_by", "team", "user"]


Order = Literal["time", "cost", "requests", "tokens"]


#: Who recorded usage: a runtime of the operator, or the user without one.
Reporter = Literal["runtime", "user"]


@dataclass(frozen=True, slots=True)
class Recording(Row):
    """The database's answer to one event of a batch.

    Attributes:
        status: ``recorded``, ``known`` (it was recorded before), ``released`` or ``refused``.
        code: why it was refused; else None.
        version: see :attr:`Route.version`; None for a refused or released event.
    """

    status: str
    code: str | None = None
    version: str | None = None

    @property
    def refused(self) -> bool:
        return self.status == "refused"


@dataclass(frozen=True, slots=True)
class UsageLine(Row):
    """One line of a usage report: sums for the dimensions in its other fields.

    Attributes:
        starts_at: start of the hour, day or month in the time zone of the report; None without a bucket.
        user_id: like each dimension, None if the report is not grouped by it.
        team_id, team: the team whose keys paid, and its name; None also for other keys.
        requests: number of first attempts, so that a request counts once.
        fallbacks: number of second attempts.
        failures: number of failed attempts, without canceled ones.
        cost: sum of the known costs; None if none is known.
        unpriced: number of attempts without a known price; not in ``cost``.
        unreported: number of attempts without reported usage; not in ``cost``.
        cache_savings: savings from the providers' caches, less the cost of writing to them; already in
            ``cost``.
        list_cost: the cost at the prices of the operator and the catalog, which the operator's quotas count;
            ``cost`` is at the user's own prices where they have set one. None if unknown.
        report_lines: number of lines of the whole report; more than were returned if ``limit`` cut it off.
        latency_p50_ms, latency_p95_ms: percentiles from a histogram; docs/usage.md gives their precision.
            None if no latency was measured.
    """

    starts_at: datetime | None
    user_id: UUID | None
    provider: str | None
    model: str | None
    task: str | None
    key_source: KeySource | None
    key_id: UUID | None
    recorded_by: Reporter | None
    team_id: UUID | None
    team: str | None
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
    list_cost: Decimal | None
    unpriced: int
    unreported: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    last_used_at: datetime
    report_lines: int


@dataclass(frozen=True, slots=True)
class UsageEvent(RecordedAttempt):
    """One attempt as the ledger holds it, for export.

    Attributes:
        list_cost: the cost at the price of the operator or the catalog.
        price_id: the price that ``cost`` is computed from.
        recorded_at: when the event reached the database.
    """

    user_id: UUID
    request_id: UUID
    requested_at: datetime
    task: str | None
    list_cost: Decimal | None
    price_id: int | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class UsagePage:
    """A page of events, and the cursor of the next page; None if this is the last."""

    events: tuple[UsageEvent, ...]
    cursor: str | None

    @classmethod
    def from_json(cls, rows: list[Mapping[str, Any]]) -> Self:
        return cls(tuple(map(UsageEvent.from_json, rows)), rows[-1]["cursor"] if rows else None)


@dataclass(frozen=True, slots=True)
class Forecast(Row):
    """The cost of a month so far, and its forecast.

    Attributes:
        month: its first day, in ``time_zone``.
        cost_so_far: None if nothing is priced.
        daily_average: average of the last ``days_averaged`` full days.
        forecast: cost at the end of the month if the daily average continues; None if either is unknown.
        unpriced, unreported: number of attempts of this month that no amount includes.
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
    """A suggestion for the user, computed from recorded usage.

    Attributes:
        kind: ``cheaper_model``, ``cache_loss`` or ``failing``.
        message: text for people.
        facts: figures behind the message; for ``cheaper_model``: ``task``, ``provider``, ``model``,
            ``other_model``, ``cost_30d``, ``would_have_cost``, ``ratio`` and ``compared_attempts``.
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
    """Whether the totals equal the sums of the events on the days (UTC) from ``since`` to ``until``.

    Attributes:
        first_day: first day with events; None if there are none.
        differing: number of groups whose totals are wrong; 0 if all are exact.
        differences: the first 100 such groups, with the excess of the totals.
    """

    first_day: date | None
    since: date | None
    until: date | None
    differing: int
    differences: tuple[Mapping[str, Any], ...]
