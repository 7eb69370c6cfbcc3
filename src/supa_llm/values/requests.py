"""Recorded requests with their attempts and costs. Costs are Decimal US dollars; None is unknown, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.receipts import ErrorClass, KeySource, Outcome

CostStatus = Literal["priced", "unpriced", "unreported"]


@dataclass(frozen=True, slots=True)
class RecordedAttempt(Row):
    """One recorded attempt of a request, with its current cost.

    Attributes:
        attempt: 1 for the first.
        recorder: ID of the runtime that ran the attempt, or of the user.
        cost_status: ``priced``, ``unpriced`` (no known price) or ``unreported`` (no usage reported).
        cost: None unless ``cost_status`` is ``priced``.
        service_tier: tier that the provider reported, else the requested one; None for the standard tier.
        other_tokens: tokens that some providers price separately.
        team_id, team: the team whose key paid, and its name; None unless ``key_source`` is ``team``.
    """

    attempt: int
    recorder: UUID
    provider: str
    model: str
    key_source: KeySource
    key_id: UUID | None
    outcome: Outcome
    error_class: ErrorClass | None
    streamed: bool
    latency_ms: int | None
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    other_tokens: Mapping[str, int] | None
    service_tier: str | None
    cost: Decimal | None
    cost_status: CostStatus
    cache_savings: Decimal
    team_id: UUID | None
    team: str | None


@dataclass(frozen=True, slots=True)
class RecordedRequest(Row):
    """A recorded request with its attempts in order.

    Attributes:
        outcome: outcome of the last attempt.
        cost: sum of the known costs; None if none is known.
    """

    request_id: UUID
    requested_at: datetime
    task: str | None
    outcome: Outcome
    cost: Decimal | None
    unpriced: int
    unreported: int
    attempts: tuple[RecordedAttempt, ...]
