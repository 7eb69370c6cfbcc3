"""How values are read from JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def amount(value: Any) -> Decimal:
    """A number of JSON without the binary noise that a float shows."""
    return Decimal(str(value))


def optional_amount(value: Any) -> Decimal | None:
    return None if value is None else amount(value)


def optional_id(value: str | None) -> UUID | None:
    return UUID(value) if value else None
