"""Quotas: limits on usage in a period, and the usage so far."""

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
    """A limit on usage in a period, and how much of it has been used.

    Attributes:
        set_by: ``operator``, ``user`` or ``team`` (an owner or admin of the team).
        unit: ``requests`` (that did not fail), ``tokens`` (input and output) or ``cost`` (US dollars).
        key_source, provider, task: usage that counts; None counts all of it.
        clock: whether days and months start in ``utc`` or in the ``user``'s time zone.
        enforced: whether requests over the limit are refused; otherwise the quota only raises alerts.
        unpriced: whether an enforced cost quota allows models without a price (``allow``, ``refuse``).
        shared: whether all users in scope share one limit. Only the operator, and owners and admins of the
            team, see its usage; others get None.
        user_id, group, team_id: scope; the quota applies to everyone if all are None. One of a team counts
            usage of the team's keys: of the team as a whole if ``shared``, else of each member.
        used, reserved: in the current period, in the quota's unit; None if not reported.
        resets_at: end of the current period; None for a lifetime quota.
    """

    id: int
    set_by: Literal["operator", "user", "team"]
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
    team_id: UUID | None = None
    used: Decimal | None = None
    reserved: Decimal | None = None
    starts_at: datetime | None = None
    resets_at: datetime | None = None
