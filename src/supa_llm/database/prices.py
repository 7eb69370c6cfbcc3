"""RPCs about prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from supa_llm.database.call import Call
from supa_llm.database.encoding import timestamp, without_decimals
from supa_llm.values.arguments import check
from supa_llm.values.prices import Price, PriceChange, Rate


def list_prices(provider: str | None = None, model: str | None = None) -> Call[list[Price]]:
    if provider is not None:
        check(provider=provider)
    check(model=model)
    return Call(
        "list_llm_prices",
        {"p_provider": provider, "p_model": model},
        Price.list_from_json,
    )


def set_price(
    provider: str,
    model: str,
    rates: Mapping[str, Rate],
    valid_from: date | None = None,
    valid_until: date | None = None,
    *,
    key_source: str | None = None,
    service_tier: str | None = None,
) -> Call[Price]:
    check(provider=provider, model=model, rates=rates, valid_from=valid_from, valid_until=valid_until)
    check(key_source=key_source, service_tier=service_tier)
    return Call(
        "set_llm_price",
        {
            "p_provider": provider,
            "p_model": model,
            "p_rates": without_decimals(rates),
            "p_valid_from": timestamp(valid_from),
            "p_valid_until": timestamp(valid_until),
            "p_key_source": key_source,
            "p_service_tier": service_tier,
        },
        Price.from_json,
    )


def end_price(price_id: int) -> Call[Price]:
    check(price_id=price_id)
    return Call("end_llm_price", {"p_id": price_id}, Price.from_json)


def sync_prices(
    provider: str, entries: Sequence[Mapping[str, Any]], apply: bool = False
) -> Call[list[PriceChange]]:
    check(provider=provider, entries=entries)
    return Call(
        "sync_llm_prices",
        {"p_provider": provider, "p_entries": entries, "p_apply": apply},
        PriceChange.list_from_json,
    )
