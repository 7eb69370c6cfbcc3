"""Recalculations: costs worked out again after prices changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Recalculation(Row):
    """How far a recalculation has come, and what it changed.

    Attributes:
        expected: how many events it will about look at.
        events: how many it has looked at.
        changed: of these, how many cost something else now.
        newly_priced: of these, how many had no price before.
        cost_before: what those looked at cost before, as far as it was known; and so ``cost_after``.
        done: whether it has looked at all of them.
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
