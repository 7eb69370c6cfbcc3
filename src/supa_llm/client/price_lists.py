"""Converts the price list in genai-prices to entries for ``sync_llm_prices``. No I/O.

In genai-prices, a model's prices depend on the date, the time of day and the requested tier. Each period with
constant prices becomes one row with its dates and times, so that the database only has to compare rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from supa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider, TieredPrices

_UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_input_image",
    "output_image_mtok": "output_image",
    "input_video_mtok": "input_video",
    "output_video_mtok": "output_video",
    "requests_kcount": "request",
}
# Rates that supa-llm cannot apply: of text, which it counts only as the remainder, and of tokens in two
# categories, which it counts once in each.
_MIXED = re.compile(
    r"text.*_mtok|(cache|reasoning).*(audio|image|video)|(audio|image|video).*(cache|reasoning)"
)
# Request parameters that select a service tier.
_TIER = ("service_tier", "speed")
# Syntax that PostgreSQL lacks or interprets differently.
_FOREIGN = re.compile(r"\\[bBzpPN]|\(\?[^:=!<]|\(\?<[^=!]")


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one provider in genai-prices.

    Attributes:
        entries: argument of ``sync_llm_prices``.
        skipped: model → why supa-llm has no price for it.
    """

    entries: list[dict[str, Any]]
    skipped: dict[str, str]


def price_list(provider: str, base_url: str) -> PriceList | None:
    """The prices of a provider in the catalog, found by its ID or else its base URL; None if unknown.

    Raises:
        ConfigurationError: genai-prices is not installed (code ``missing_extra``).
    """
    known = _providers()
    source = known.get(provider) or next(
        (it for it in known.values() if re.match(it.api_pattern, base_url)), None
    )
    if source is None:
        return None
    models = [(model.id, model, True) for model in source.models]
    for other in source.fallback_model_providers or ():
        if other in known:
            # genai-prices has rates of other tiers only for a provider's own models.
            models += [(f"{other}/{model.id}", model, False) for model in known[other].models]
    found = PriceList([], {})
    for position, (name, model, own) in enumerate(models):
        try:
            entry = {
                "name": name,
                "pattern": _pattern(model.match),
                "position": position,
                "prices": [],
                "context_tokens": model.context_window,
            }
            # An entry without prices stays in the list, or its names would match a later entry.
            found.entries.append(entry)
            entry["prices"] = _prices(model, tiers=_tiers(model) if own else ())
        except _Skipped as skipped:
            found.skipped[name] = str(skipped)
    return found


class _Skipped(Exception):  # noqa: N818 - not an error
    """The reason why supa-llm has no price for a model."""


def _providers() -> Mapping[str, Provider]:
    try:
        from genai_prices.data import providers
    except ImportError:
        raise ConfigurationError(
            "Syncing prices requires genai-prices, which is not installed.",
            code="missing_extra",
            hint="Run: pip install 'supa-llm[prices]'",
        ) from None
    return {provider.id: provider for provider in providers}


# Prices -----------------------------------------------------------------------------------------------------

# Start and end times of day, None for the whole day; the rates in that period, None for no price.
_Day = list[tuple[time | None, time | None, dict[str, Any] | None]]


def _tiers(model: ModelInfo) -> list[str]:
    named = (variant.when.get(key) for variant in model.price_variants or () for key in _TIER)
    return sorted({tier for tier in named if tier})


def _prices(model: ModelInfo, tiers: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one entry: prices for every tier, then those of each tier that differs."""
    rows = [
        {
            "valid_from": _midnight(since),
            "valid_until": _midnight(until),
            "daily_from": starts and starts.isoformat(),
            "daily_until": ends and ends.isoformat(),
            "service_tier": tier,
            "rates": rates,
        }
        for tier in (None, *tiers)
        for since, until, day in _stretches(model, tier)
        for starts, ends, rates in day
        if rates is not None
    ]
    if not rows:
        _rates(model.get_prices(datetime.now(UTC)), strict=True)
    return rows


def _stretches(model: ModelInfo, tier: str | None) -> list[tuple[date | None, date | None, _Day]]:
    """The periods with constant prices: first day, end day (exclusive) and the prices of a day."""
    dates, times = _turns(model)
    found: list[tuple[date | None, date | None, _Day]] = []
    for since, until in zip((None, *dates), (*dates, None), strict=True):
        at = since or (dates[0] if dates else date.today()) - timedelta(days=1)
        day = _day(model, at, times, tier)
        if tier is not None and day == _day(model, at, times, None):
            day = []
        if found and found[-1][2] == day:
            found[-1] = (found[-1][0], until, day)
        else:
            found.append((since, until, day))
    return found


def _turns(model: ModelInfo) -> tuple[list[date], list[time]]:
    """The dates and times of day (UTC) at which a price of the model may change."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint

    prices = [] if isinstance(model.prices, ModelPrice) else model.prices
    conditions = [it.constraint for it in (*prices, *(model.price_variants or ()))]
    windows = [it for it in conditions if isinstance(it, TimeOfDateConstraint)]
    return (
        sorted({it.start_date for it in conditions if isinstance(it, StartDateConstraint)}),
        sorted({_utc(edge) for it in windows for edge in (it.start_time, it.end_time)}),
    )


def _day(model: ModelInfo, at: date, times: list[time], tier: str | None) -> _Day:
    context = dict.fromkeys(_TIER, tier) if tier else None
    slots = [
        (start, end, _rates(model.get_prices(datetime.combine(at, start, UTC), context)))
        for start, end in zip(times, times[1:] + times[:1], strict=True)
    ]
    if len({json.dumps(rates) for _, _, rates in slots}) > 1:
        return list(slots)
    return [(None, None, _rates(model.get_prices(datetime.combine(at, time.min, UTC), context)))]


def _rates(price: ModelPrice, *, strict: bool = False) -> dict[str, Any] | None:
    """The rates of the units that supa-llm counts. Without any: None, or with ``strict`` an error."""
    stated = {key: value for key, value in vars(price).items() if value is not None}
    if not stated:  # in genai-prices, a free model
        return {"input": 0, "output": 0}
    mixed = [key for key in stated if key not in _UNITS and _MIXED.search(key)]
    rates = {unit: _rate(stated[key], key) for key, unit in _UNITS.items() if key in stated}
    if rates and not mixed:
        return rates
    if strict:
        raise _Skipped(f"priced by {', '.join(sorted(mixed or stated))}, which supa-llm does not count")
    return None


def _rate(price: Decimal | TieredPrices, key: str) -> Any:
    thousandth = Decimal("0.001") if key.endswith("_kcount") else Decimal(1)
    if isinstance(price, Decimal):
        return _number(price * thousandth)
    base = _number(price.base * thousandth)
    above = {str(tier.start): _number(tier.price * thousandth) for tier in price.tiers}
    return {"base": base, "above": above} if above else base


def _number(amount: Decimal) -> int | float:
    amount = round(amount, 12)  # removes the noise of floats
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _midnight(day: date | None) -> str | None:
    return datetime.combine(day, time.min, UTC).isoformat() if day else None


def _utc(clock: time) -> time:
    if clock.tzinfo is None:
        return clock
    return datetime.combine(date(2000, 1, 1), clock).astimezone(UTC).time()


# Model names ------------------------------------------------------------------------------------------------


def _pattern(match: MatchLogic) -> str:
    """A PostgreSQL regular expression that matches model names in lower case."""
    from genai_prices import types

    match match:
        case types.ClauseEquals(equals=text):
            return f"^{_literal(text)}$"
        case types.ClauseStartsWith(starts_with=text):
            return f"^{_literal(text)}"
        case types.ClauseEndsWith(ends_with=text):
            return f"{_literal(text)}$"
        case types.ClauseContains(contains=text):
            return _literal(text)
        case types.ClauseRegex(regex=regex):
            if _FOREIGN.search(regex):
                raise _Skipped(f"its name pattern {regex} has another meaning in PostgreSQL")
            return f"(?:{regex})"
        case types.ClauseOr(or_=clauses):
            return "|".join(f"(?:{_pattern(clause)})" for clause in clauses)
        case types.ClauseAnd(and_=clauses):
            return "^" + "".join(f"(?=.*(?:{_pattern(clause)}))" for clause in clauses)
        case _:
            raise _Skipped("its name pattern is of an unknown kind")


def _literal(text: str) -> str:
    return re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", text.lower())
