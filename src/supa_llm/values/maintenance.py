"""The result of a maintenance run."""

from __future__ import annotations

from dataclasses import dataclass

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Maintenance(Row):
    """The result of a maintenance run.

    Attributes:
        hours_left: hours not yet rolled up into the project's totals; None if another run is in progress.
        dropped_months: months whose events were dropped; None if a lock prevented it.
        dropped_audit_months: months whose audit entries were dropped; None if a lock prevented it.
        sealed_entries: audit entries that were sealed; None if another run is sealing.
        done: whether all maintenance is complete.
    """

    hours_left: int | None
    dropped_months: tuple[str, ...] | None
    dropped_audit_months: tuple[str, ...] | None
    sealed_entries: int | None
    done: bool
