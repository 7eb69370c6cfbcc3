"""Arguments of RPCs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any


def timestamp(at: date | None) -> str | None:
    """A timestamp for the database; a date becomes midnight UTC."""
    if at is None:
        return None
    if isinstance(at, datetime):
        return at.isoformat()
    return datetime.combine(at, time.min, UTC).isoformat()


def day(on: date | None) -> str | None:
    """A day for the database; a datetime becomes its own day."""
    if on is None:
        return None
    return (on.date() if isinstance(on, datetime) else on).isoformat()


def without_decimals(value: Any) -> Any:
    """The same value with each Decimal as an int or float, which JSON can carry."""
    if isinstance(value, Mapping):
        return {name: without_decimals(item) for name, item in value.items()}
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return value
