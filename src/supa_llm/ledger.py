"""What the ledger holds, as immutable values. Amounts are Decimal, costs in US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from supa_llm.models import KeySource

QuotaUnit = Literal["requests", "tokens", "cost"]
QuotaPeriod = Literal["minute", "day", "month", "total"]


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be used in a period, of what and by whom, and how much of it is gone.

    Attributes:
        set_by: ``operator`` or ``user``.
        unit: ``requests`` (that did not fail), ``tokens`` (input and output) or ``cost`` (US dollars).
        key_source, provider, task: what it counts; None counts all of them.
        clock: whether days and months begin in ``utc`` or in the ``user``'s time zone.
        hard: refuses what would pass it; otherwise it only warns.
        unpriced: whether a hard quota of cost lets models without a price pass (``allow``, ``refuse``).
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
    hard: bool
    unpriced: Literal["allow", "refuse"]
    shared: bool
    user_id: UUID | None
    group: str | None
    created_at: datetime
    used: Decimal | None = None
    reserved: Decimal | None = None
    starts_at: datetime | None = None
    resets_at: datetime | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            **{
                **row,
                "limit": amount(row["limit"]),
                "user_id": UUID(row["user_id"]) if row["user_id"] else None,
                "created_at": datetime.fromisoformat(row["created_at"]),
                "used": optional_amount(row.get("used")),
                "reserved": optional_amount(row.get("reserved")),
                "starts_at": moment(row.get("starts_at")),
                "resets_at": moment(row.get("resets_at")),
            }
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody should know, said once.

    Attributes:
        kind: ``quota_warning`` (80 % used), ``quota_reached``, ``key_rejected`` or ``price_missing``.
        detail: the facts to show; never a secret value.
        read_at: None until it is marked as read.
    """

    id: UUID
    kind: str
    subject: str
    detail: Mapping[str, Any]
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            kind=row["kind"],
            subject=row["subject"],
            detail=row["detail"],
            created_at=datetime.fromisoformat(row["created_at"]),
            read_at=moment(row["read_at"]),
        )


def amount(value: Any) -> Decimal:
    """A number of JSON without the binary noise that a float shows."""
    return Decimal(str(value))


def optional_amount(value: Any) -> Decimal | None:
    return None if value is None else amount(value)


def moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
