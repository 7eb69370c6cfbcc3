"""Recalculations: costs worked out again after prices changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from supa_llm.values.reading import amount, moment


@dataclass(frozen=True, slots=True)
class Recalculation:
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
    since: datetime | None
    until: datetime | None
    expected: int
    events: int
    changed: int
    newly_priced: int
    cost_before: Decimal
    cost_after: Decimal
    started_at: datetime
    done: bool

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=row["id"],
            since=moment(row["from"]),
            until=moment(row["until"]),
            expected=row["expected"],
            events=row["events"],
            changed=row["changed"],
            newly_priced=row["newly_priced"],
            cost_before=amount(row["cost_before"]),
            cost_after=amount(row["cost_after"]),
            started_at=datetime.fromisoformat(row["started_at"]),
            done=row["done"],
        )
