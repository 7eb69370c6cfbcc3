"""What one run of maintenance did."""

from __future__ import annotations

from dataclasses import dataclass

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Maintenance(Row):
    """What upkeep of the ledger did.

    Attributes:
        hours_left: hours that are not in the project's totals yet; None while somebody else sees to it.
        dropped_months: months of events that were dropped; None while somebody was in the way.
        done: whether nothing is left to do.
    """

    hours_left: int | None
    dropped_months: tuple[str, ...] | None
    done: bool
