"""Prices: dated rates for models. Amounts are US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Literal

from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource

PriceSource = Literal["catalog", "operator", "user"]


#: US dollars per million tokens, or per request for the unit ``request``. A mapping sets rates by input size:
#: ``{"base": 1.25, "above": {"200000": 2.5}}``.
Rate = float | Decimal | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Price(Row):
    """The price of a model for a period.

    Attributes:
        source: ``catalog`` for the synced price list, ``operator`` for an administrator's price, ``user``
            for the user's own.
        model: the name of a price list entry, or a model name. A ``*`` at the end matches any ending.
        key_source: applies to requests that such a key pays for; None for any.
        service_tier: applies to this tier; None for every tier without a price of its own.
        valid_from: start; None if the price has always applied.
        valid_until: end, exclusive; None if the price has no end.
        daily_from: applies from this time of day (UTC) until ``daily_until``; None for the whole day.
        rates: unit (``input``, ``output``, ``cached_input``, …) → rate.
        in_force: whether the price applies now; None if the list was not filtered by model.
    """

    id: int
    source: PriceSource
    provider: str
    model: str
    key_source: KeySource | None
    service_tier: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    daily_from: time | None
    daily_until: time | None
    rates: Mapping[str, Rate]
    created_at: datetime
    in_force: bool | None = None


@dataclass(frozen=True, slots=True)
class PriceChange(Row):
    """One difference between the catalog's prices and a price list.

    Attributes:
        change: ``added`` (applies from now, or as listed if the model is new), ``dated`` (applies from the
            list's date, which may be in the past), ``changed`` (applies from now), ``until`` (ends at another
            time) or ``gone`` (ends now).
        before: current rates; None if there are none.
        after: rates in the list; None if it has none.
    """

    model: str
    change: Literal["added", "dated", "changed", "until", "gone"]
    service_tier: str | None
    daily_from: time | None
    daily_until: time | None
    before: Mapping[str, Rate] | None
    after: Mapping[str, Rate] | None
    valid_from: datetime | None
    valid_until: datetime | None
