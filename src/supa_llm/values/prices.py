"""Prices: dated rates for models. Amounts are US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Literal

from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource

PriceSource = Literal["catalogue", "operator", "user"]


#: US dollars per million tokens (of a request: per request), or by the size of the input
#: ``{"base": 1.25, "above": {"200000": 2.5}}``.
Rate = float | Decimal | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Price(Row):
    """What a model costs, and when.

    Attributes:
        source: ``catalogue`` of the synced price list, ``operator`` set by an administrator, ``user`` the
            user's own.
        model: an entry's name in the price list, else a model name; ``*`` at its end is any ending.
        key_source: only for what such a key pays; None: any.
        service_tier: only for what the provider served in this tier; None: any that has no price of its own.
        valid_from: None: always.
        valid_until: and no longer at that moment; None: open.
        daily_from: only from this time of day (UTC) until ``daily_until``; None: all day.
        rates: what is priced (``input``, ``output``, ``cached_input``, …) and at which rate.
        in_force: whether a request would pay it now; None where no model was asked for.
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
    """One difference between the catalogue's prices and a price list.

    Attributes:
        change: ``added`` (from now on, or as it stands where the model is new), ``dated`` (from the date that
            the list gives, in the past too), ``changed`` (from now on), ``until`` (it ends at another time),
            ``gone`` (it ends now).
        before: rates so far; None where there were none.
        after: rates of the list; None where it has none.
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
