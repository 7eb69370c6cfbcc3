"""Quotas: how much may be used in a period, and how much is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource

QuotaUnit = Literal["requests", "tokens", "cost"]


QuotaPeriod = Literal["minute", "day", "month", "lifetime"]


@dataclass(frozen=True, slots=True)
class Quota(Row):
    """How much may be used in a period, of what and by whom, and how much of it is gone.

    Attributes:
        set_by: ``operator`` or ``user``.
        unit: ``requests`` (that did not fail), ``tokens`` (input and output) or ``cost`` (US dollars).
        key_source, provider, task: what it counts; None counts all of them.
        clock: whether days and months begin in ``utc`` or in the ``user``'s time zone.
        enforced: refuses what would pass it; otherwise it only warns.
        unpriced: whether an enforced quota of cost lets models without a price pass (``allow``, ``refuse``).
        shared: all whom it binds use it up together. Its figures are for the operator, so users see None.
        user_id, group: whom it binds; neither is everybody.
        used, reserved: in the present period, in the quota's unit; None where they are not told.
        resets_at: end of the present period; None for a quota in total.
    """

    id: int
    set_by: Literal["operator", "user"]
    unit: QuotaUnit
    period: QuotaPeriod
    limit: Decimal
    key_source: KeySource | None
    provider: str | None
    task: str | None
    clock: Literal["utc", "user"]
    enforced: bool
    unpriced: Literal["allow", "refuse"]
    shared: bool
    user_id: UUID | None
    group: str | None
    created_at: datetime
    used: Decimal | None = None
    reserved: Decimal | None = None
    starts_at: datetime | None = None
    resets_at: datetime | None = None
