"""genai-prices' price lists, converted to supa-llm's entries."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from supa_llm.client.price_lists import PriceList, price_list
from supa_llm.errors import ConfigurationError

List = Callable[..., PriceList]
Price = dict[str, Any]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> List:
    """The price list of a provider with these models."""

    def make(*models: ModelInfo, others: tuple[Provider, ...] = (), **fields: Any) -> PriceList:
        acme = Provider("acme", "Acme", r"https://api\.acme\.example", models=list(models), **fields)
        monkeypatch.setattr("genai_prices.data.providers", [*others, acme])
        found = price_list("acme", "https://elsewhere.example")
        assert found is not None
        return found

    return make


def rates(base: float, output: float | None = None, **more: float | TieredPrices) -> ModelPrice:
    stated = {"input": base, "output": output, **more}
    return ModelPrice(
        **{
            key if key.endswith("count") else f"{key}_mtok": rate
            if isinstance(rate, TieredPrices)
            else Decimal(str(rate))
            for key, rate in stated.items()
            if rate is not None
        }
    )


def model(
    prices: ModelPrice | list[ConditionalPrice], match: MatchLogic | None = None, *variants: PriceVariant
) -> ModelInfo:
    return ModelInfo("m", match or ClauseEquals("m"), prices=prices, price_variants=list(variants) or None)


def prices(found: PriceList, *fields: str) -> list[tuple[Any, ...]]:
    """These fields of each price of the only entry, and its input rate."""
    (entry,) = found.entries
    return [(*(price[field] for field in fields), price["rates"]["input"]) for price in entry["prices"]]


def midnight(day: str) -> str:
    return f"{day}T00:00:00+00:00"


def since(day: str, price: ModelPrice) -> ConditionalPrice:
    return ConditionalPrice(StartDateConstraint(date.fromisoformat(day)), prices=price)


def daily(start: str, end: str, price: ModelPrice) -> ConditionalPrice:
    window = TimeOfDateConstraint(time.fromisoformat(start), time.fromisoformat(end))
    return ConditionalPrice(window, prices=price)


def test_rates_keep_their_amounts_under_supa_llms_units(listed: List) -> None:
    price = rates(1.25, 10, cache_read=0.125, cache_write=1.5, cache_write_1h=2, output_reasoning=12)
    (entry,) = listed(model(price)).entries
    assert entry["prices"] == [
        {
            "valid_from": None,
            "valid_until": None,
            "daily_from": None,
            "daily_until": None,
            "service_tier": None,
            "rates": {
                "input": 1.25,
                "output": 10,
                "cached_input": 0.125,
                "cache_write": 1.5,
                "cache_write_1h": 2,
                "reasoning": 12,
            },
        }
    ]


def test_tiers_and_request_prices_are_kept_without_rounding_errors(listed: List) -> None:
    steps = TieredPrices(Decimal("1.25"), [Tier(200_000, Decimal("2.5"))])
    price = rates(0, 0.07999999999999999, cache_read=steps, requests_kcount=5)
    (entry,) = listed(model(price)).entries
    assert entry["prices"][0]["rates"] == {
        "input": 0,
        "output": 0.08,
        "cached_input": {"base": 1.25, "above": {"200000": 2.5}},
        "request": 0.005,
    }


def test_a_model_without_rates_is_free(listed: List) -> None:
    assert prices(listed(model(ModelPrice()))) == [(0,)]


def test_uncounted_rates_beside_token_rates_are_skipped(listed: List) -> None:
    (entry,) = listed(model(rates(1, 2, web_searches_kcount=10))).entries
    assert entry["prices"][0]["rates"] == {"input": 1, "output": 2}


@pytest.mark.parametrize(
    "price",
    [
        ModelPrice(audio_hours=Decimal(1)),
        # Some cache writes would be charged twice, because providers do not report which of them are audio.
        rates(1, 2, input_audio=3, cache_write=4, cache_audio_write=5),
        rates(1, 2, input_text=0.5),
    ],
)
def test_a_model_that_cannot_be_priced_is_listed_with_the_reason(listed: List, price: ModelPrice) -> None:
    found = listed(model(price))
    assert found.skipped["m"].endswith("which supa-llm does not count")
    assert [(entry["pattern"], entry["prices"]) for entry in found.entries] == [("^m$", [])]


def test_each_start_date_ends_the_price_before(listed: List) -> None:
    found = listed(
        model(
            [ConditionalPrice(prices=rates(1)), since("2026-01-01", rates(2)), since("2026-03-01", rates(3))]
        )
    )
    assert prices(found, "valid_from", "valid_until") == [
        (None, midnight("2026-01-01"), 1),
        (midnight("2026-01-01"), midnight("2026-03-01"), 2),
        (midnight("2026-03-01"), None, 3),
    ]


def test_the_last_active_price_wins_or_else_the_first(listed: List) -> None:
    late, early = since("2026-03-01", rates(1)), since("2026-01-01", rates(2))
    assert prices(listed(model([late, early])), "valid_from") == [(None, 1), (midnight("2026-01-01"), 2)]


def test_a_start_date_without_a_change_is_ignored(listed: List) -> None:
    found = listed(model([ConditionalPrice(prices=rates(1)), since("2026-01-01", rates(1))]))
    assert prices(found, "valid_from", "valid_until") == [(None, None, 1)]


def test_a_period_without_a_price_has_none(listed: List) -> None:
    uncounted = ModelPrice(audio_hours=Decimal(1))
    found = listed(model([ConditionalPrice(prices=uncounted), since("2026-01-01", rates(2))]))
    assert prices(found, "valid_from") == [(midnight("2026-01-01"), 2)]
    assert found.skipped == {}


def test_a_daily_window_splits_the_day_even_over_midnight(listed: List) -> None:
    found = listed(model([ConditionalPrice(prices=rates(2)), daily("22:00", "06:30", rates(1))]))
    assert prices(found, "daily_from", "daily_until") == [
        ("06:30:00", "22:00:00", 2),
        ("22:00:00", "06:30:00", 1),
    ]


def test_a_window_in_another_time_zone_is_converted_to_utc(listed: List) -> None:
    found = listed(model([ConditionalPrice(prices=rates(2)), daily("08:00+08:00", "12:00+08:00", rates(1))]))
    assert prices(found, "daily_from", "daily_until") == [
        ("00:00:00", "04:00:00", 1),
        ("04:00:00", "00:00:00", 2),
    ]


def test_a_later_start_date_ends_a_daily_window(listed: List) -> None:
    found = listed(
        model(
            [
                ConditionalPrice(prices=rates(2)),
                daily("00:00", "12:00", rates(1)),
                since("2026-01-01", rates(3)),
            ]
        )
    )
    assert prices(found, "valid_from", "valid_until", "daily_from") == [
        (None, midnight("2026-01-01"), "00:00:00", 1),
        (None, midnight("2026-01-01"), "12:00:00", 2),
        (midnight("2026-01-01"), None, None, 3),
    ]


def test_a_tier_has_the_standard_rates_except_its_own(listed: List) -> None:
    flex = PriceVariant({"service_tier": "flex"}, rates(1), StartDateConstraint(date(2026, 1, 1)))
    fast = PriceVariant({"speed": "fast"}, rates(8, 16))
    (entry,) = listed(model(rates(2, 4), None, flex, fast)).entries
    assert [(it["service_tier"], it["valid_from"], it["rates"]) for it in entry["prices"]] == [
        (None, None, {"input": 2, "output": 4}),
        ("fast", None, {"input": 8, "output": 16}),
        ("flex", midnight("2026-01-01"), {"input": 1, "output": 4}),
    ]


@pytest.mark.parametrize(
    "when",
    [{"processing": "batch"}, {"service_tier": "flex", "processing": "batch"}, {"search_type": "web"}],
)
def test_a_condition_other_than_a_tier_is_skipped(listed: List, when: dict[str, str]) -> None:
    found = listed(model(rates(2), None, PriceVariant(when, rates(1))))
    assert prices(found, "service_tier") == [(None, 2)]


def test_a_tier_with_the_standard_rates_has_no_price(listed: List) -> None:
    found = listed(model(rates(2), None, PriceVariant({"service_tier": "default"}, ModelPrice())))
    assert prices(found, "service_tier") == [(None, 2)]


def test_borrowed_models_follow_without_their_tiers(listed: List) -> None:
    flex = PriceVariant({"service_tier": "flex"}, rates(1))
    other = Provider("other", "Other", "https://other", models=[model(rates(5), None, flex)])
    found = listed(model(rates(2)), others=(other,), fallback_model_providers=["other"])
    assert [(it["name"], it["position"], len(it["prices"])) for it in found.entries] == [
        ("m", 0, 1),
        ("other/m", 1, 1),
    ]


@pytest.mark.parametrize(
    ("match", "matched", "unmatched"),
    [
        (ClauseEquals("GPT-4.1"), ["gpt-4.1"], ["gpt-4x1", "gpt-4.1-mini", "a-gpt-4.1"]),
        (ClauseStartsWith("o3"), ["o3", "o3-mini"], ["gpt-o3"]),
        (ClauseEndsWith(":free"), ["llama:free"], [":free-llama"]),
        (ClauseContains("llama-3"), ["meta/llama-3-70b"], ["llama"]),
        (ClauseRegex(r"^m-\d{8}$"), ["m-20251211"], ["m-1"]),
        (ClauseOr([ClauseEquals("a"), ClauseEquals("b")]), ["a", "b"], ["ab", "c"]),
        (ClauseAnd([ClauseStartsWith("a"), ClauseEndsWith("c")]), ["abc", "ac"], ["ab", "bc"]),
        (
            ClauseAnd([ClauseStartsWith("g"), ClauseRegex("^(?!.*-tts)")]),
            ["g-pro"],
            ["g-pro-tts", "h-pro"],
        ),
        (ClauseEquals("a[fast=true]+(b)|{c}^$*?\\"), ["a[fast=true]+(b)|{c}^$*?\\"], ["a"]),
    ],
)
def test_model_names_match_the_same_regular_expression(
    listed: List, match: MatchLogic, matched: list[str], unmatched: list[str]
) -> None:
    """A database test checks that PostgreSQL reads every expression the same way."""
    (entry,) = listed(model(rates(1), match)).entries
    assert [name for name in matched + unmatched if re.search(entry["pattern"], name)] == matched


@pytest.mark.parametrize("regex", [r"\bm\b", "(?i)m", "(?P<name>m)"])
def test_an_expression_that_postgresql_reads_differently_is_skipped(listed: List, regex: str) -> None:
    found = listed(model(rates(1), ClauseRegex(regex)))
    assert found.entries == []
    assert "PostgreSQL" in found.skipped["m"]


def test_a_provider_is_found_by_its_id_or_url() -> None:
    by_id, by_address = price_list("groq", ""), price_list("mine", "https://api.groq.com/openai/v1")
    assert by_id is not None
    assert by_id == by_address
    assert price_list("mine", "https://llm.example.com") is None


def test_the_openai_list_prices_well_known_models() -> None:
    found = price_list("openai", "")
    assert found is not None
    priced = {entry["name"] for entry in found.entries if entry["prices"]}
    assert {"gpt-5", "gpt-5-mini", "text-embedding-3-small"} <= priced
    assert priced.isdisjoint(found.skipped)


def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(ConfigurationError) as caught:
        price_list("openai", "")
    assert caught.value.code == "missing_extra"
    assert "supa-llm[prices]" in caught.value.hint
