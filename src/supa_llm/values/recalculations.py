"""Recalculations of costs after a price change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Recalculation(Row):
    """The progress of a recalculation, and what it changed.

    Attributes:
        expected: approximate number of events to process.
        events: number of events processed.
        changed: number of processed events whose cost changed.
        newly_priced: number of processed events that had no price before.
        cost_before, cost_after: known cost of the processed events.
        done: whether every event has been processed.
    """

    id: int
    since: datetime | None = field(metadata={"column": "from"})
    until: datetime | None
    expected: int
    events: int
    changed: int
    newly_priced: int
    cost_before: Decimal
    cost_after: Decimal
    started_at: datetime
    done: bool
