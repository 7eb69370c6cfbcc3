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
    """One attempt of a request, as it was recorded, with what it costs by now.

    Attributes:
        attempt: 1 for the first.
        recorder: the runtime that ran it, or the user's own id.
        cost_status: ``priced``, ``unpriced`` (no price known) or ``unreported`` (tokens not counted).
        cost: None unless it is priced.
        service_tier: what the provider served it as; None: standard.
        other_tokens: parts of the tokens that some providers price by themselves.
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


@dataclass(frozen=True, slots=True)
class RecordedRequest(Row):
    """A request that was recorded, with its attempts in order.

    Attributes:
        outcome: that of its last attempt.
        cost: what is known of it; None where nothing is.
    """

    request_id: UUID
    requested_at: datetime
    task: str | None
    outcome: Outcome
    cost: Decimal | None
    unpriced: int
    unreported: int
    attempts: tuple[RecordedAttempt, ...]
