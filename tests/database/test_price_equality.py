"""Prices found and costs calculated in the database equal those of genai-prices to a billionth of a dollar.

All its providers are added to the catalog and synced, in a transaction that is rolled back. Models are looked
up by their names, on both sides of every date and time of day at which a price changes, in each service tier.
Each distinct price is calculated for all usages, on both sides of each threshold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import types
from genai_prices.data import providers
from psycopg.types.json import Jsonb

from supa_llm.client.price_lists import price_list
from tests.database.support import Connection, Transaction, new_user, rolled_back

NOW = datetime.now(UTC).replace(microsecond=0)
LARGEST = "openrouter"
PROVIDERS = {provider.id: provider for provider in providers}

# Argument of cost_of() → field of genai-prices.
COUNTS = {
    "input": "input_tokens",
    "cached_input": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "output_reasoning_tokens",
}
OTHER = {
    "cache_write_1h": "cache_write_1h_tokens",
    "input_audio": "input_audio_tokens",
    "cached_input_audio": "cache_audio_read_tokens",
    "output_audio": "output_audio_tokens",
    "input_image": "input_image_tokens",
    "cached_input_image": "cache_image_read_tokens",
    "output_image": "output_image_tokens",
    "input_video": "input_video_tokens",
    "output_video": "output_video_tokens",
}
# Rates that supa-llm applies. A model without any of them has no price here.
COUNTED = {
    *("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
    *("output_reasoning_mtok", "input_audio_mtok", "cache_audio_read_mtok", "output_audio_mtok"),
    *("input_image_mtok", "cache_image_read_mtok", "output_image_mtok", "input_video_mtok"),
    *("output_video_mtok", "requests_kcount"),
}

USAGES: list[dict[str, int]] = [
    {},
    {"input": 17, "output": 5},
    {"input": 1_234_567, "output": 98_765},
    {"input": 1000, "cached_input": 400, "output": 50},
    {"input": 1000, "cached_input": 1000},
    {"input": 1000, "cache_write": 300, "output": 50},
    {"input": 1000, "cached_input": 400, "cache_write": 300, "cache_write_1h": 100, "output": 50},
    {"input": 1000, "cache_write": 300, "cache_write_1h": 300},
    {"input": 100, "output": 100, "reasoning": 60},
    {"output": 100, "reasoning": 100},
    {"input": 1000, "input_audio": 200, "output": 300, "output_audio": 250},
    {"input": 1000, "cached_input": 400, "input_audio": 200, "cached_input_audio": 150, "output": 50},
    {"input": 1000, "input_image": 600, "output": 900, "output_image": 800},
    {"input": 1000, "cached_input": 400, "input_image": 600, "cached_input_image": 100, "output": 9},
    {"input": 1000, "input_audio": 100, "input_image": 200, "input_video": 300, "output": 9},
    {"output": 9, "output_video": 5},
    {
        "input": 250_000, "cached_input": 100_000, "cache_write": 50_000, "cache_write_1h": 7,
        "input_audio": 900, "cached_input_audio": 90, "output": 5000, "reasoning": 1000, "output_audio": 70,
    },
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One attempt."""

    provider: str
    model: str
    tier: str | None
    at: datetime
    usage: dict[str, int]


def names_of(clause: Any) -> Iterator[str]:
    """Yield the texts with which a match clause compares model names."""
    for part in (*getattr(clause, "or_", ()), *getattr(clause, "and_", ())):
        yield from names_of(part)
    for kind in ("equals", "starts_with", "ends_with", "contains"):
        if text := getattr(clause, kind, None):
            yield text


def found(provider: types.Provider, name: str) -> types.ModelInfo | None:
    return provider.find_model(name, all_providers=providers)


def names() -> Iterator[tuple[types.Provider, str]]:
    """Yield a name that finds each model, if there is one, and variants of some providers' names."""
    for provider in providers:
        borrowed = [PROVIDERS[other] for other in provider.fallback_model_providers or ()]
        for model in itertools.chain(provider.models, *(other.models for other in borrowed)):
            known = [model.id, *names_of(model.match), f"{model.id}-20251211", f"{model.id}@20250101"]
            name = next((name for name in known if found(provider, name) is model), None)
            if name is not None:
                yield provider, name
    for provider in map(PROVIDERS.__getitem__, ("openai", "anthropic", "google", "groq", "mistral")):
        for model in provider.models:
            for name in names_of(model.match):
                yield from ((provider, name) for name in (name.upper(), f"{name}-20251211", f"{name}-x"))


def conditions(model: types.ModelInfo) -> list[Any]:
    prices = model.prices if isinstance(model.prices, list) else []
    return [part.constraint for part in (*prices, *(model.price_variants or ()))]


def moments(model: types.ModelInfo) -> set[datetime]:
    """Return now, a past date, and both sides of each date and time of day at which the price changes."""
    turns = []
    for it in conditions(model):
        if isinstance(it, types.StartDateConstraint):
            turns.append(datetime.combine(it.start_date, time.min, UTC))
        elif isinstance(it, types.TimeOfDateConstraint):
            turns += [datetime.combine(NOW, edge) for edge in (it.start_time, it.end_time)]
    before = [turn - timedelta(microseconds=1) for turn in turns]
    return {NOW, datetime(2024, 2, 29, 12, tzinfo=UTC), *turns, *before}


def contexts(model: types.ModelInfo) -> Iterator[dict[str, str]]:
    yield {}
    seen = []
    for variant in model.price_variants or ():
        for key in variant.when.keys() & {"service_tier", "speed"}:
            if variant.when not in seen and len(variant.when) == 1:
                seen.append(variant.when)
                yield {key: variant.when[key]}


def thresholds(price: types.ModelPrice) -> set[int]:
    return {
        tier.start + more
        for rate in vars(price).values()
        if isinstance(rate, types.TieredPrices)
        for tier in rate.tiers
        for more in (0, 1)
    }


@pytest.fixture(scope="module")
def synced(_owner: Connection) -> Iterator[Transaction]:
    """A catalog with all providers of genai-prices and all their prices."""
    with rolled_back(_owner) as tx:
        for provider in providers:
            row = {"id": provider.id, "base_url": "https://example.com", "default_model": "m"}
            tx.admin.rpc("set_llm_provider", p_provider=row)
            prices = price_list(provider.id, "")
            assert prices is not None
            tx.admin.rpc(
                "sync_llm_prices", p_provider=provider.id, p_entries=Jsonb(prices.entries), p_apply=True
            )
        tx.sql("analyze llm_private.price_list, public.llm_prices, llm_private.price_tiers")
        yield tx


def store(tx: Transaction, cases: list[Case]) -> None:
    tx.sql(
        """
        create temp table attempts on commit drop as
        select * from jsonb_to_recordset(%s::jsonb) as a (
          n integer, provider text, model text, tier text, at timestamptz, input integer,
          cached_input integer, cache_write integer, output integer, reasoning integer, other jsonb
        )
        """,
        Jsonb(
            [
                {
                    "n": number, "provider": case.provider, "model": case.model, "tier": case.tier,
                    "at": case.at.isoformat(), **{name: case.usage.get(name) for name in COUNTS},
                    "other": {name: case.usage[name] for name in OTHER if name in case.usage} or None,
                }
                for number, case in enumerate(cases)
            ]
        ),
    )  # fmt: skip


#: Price each attempt independently.
BY_ITSELF = """
    with prices as materialized (
      select *, llm_private.find_price(null, provider, model, 'operator', tier, at) as id
      from (select distinct provider, model, tier, at from attempts) as d
    )
    select a.n, c.cost
    from attempts as a
    inner join prices as p
      on p.provider = a.provider and p.model = a.model and p.at = a.at and p.tier is not distinct from a.tier
    cross join lateral llm_private.cost_of(
      p.id, a.input, a.cached_input, a.cache_write, a.output, a.reasoning, a.other
    ) as c
"""
#: Price attempts in order, as recording does, with the cache of charges. The largest provider is skipped,
#: because its prices are of the same kinds.
AS_RECORDED = f"""
    select a.n, c.cost
    from (select * from attempts where provider <> '{LARGEST}' order by n) as a
    cross join lateral llm_private.charge(
      null, a.provider, a.model, 'operator', a.tier, a.at,
      a.input, a.cached_input, a.cache_write, a.output, a.reasoning, a.other
    ) as c
"""


def usage_of(counts: dict[str, int]) -> types.Usage:
    return types.Usage(**{field: counts.get(name, 0) for name, field in (COUNTS | OTHER).items()})


def chosen(exhaustive: bool) -> list[tuple[types.Provider, str]]:
    """Return all names, or a tenth of the largest provider's, each of which is tried with 900 patterns."""
    small = [(provider, name) for provider, name in names() if provider.id != LARGEST]
    large = [(provider, name) for provider, name in names() if provider.id == LARGEST]
    return small + large[:: 1 if exhaustive else 10]


def test_every_cost_equals_that_of_genai_prices(synced: Transaction, exhaustive: bool) -> None:
    cases: list[Case] = []
    expected: list[Decimal | None] = []
    contradictory = 0
    seen: set[str] = set()
    for provider, name in chosen(exhaustive):
        model = found(provider, name)
        if model is None:
            cases.append(Case(provider.id, name, None, NOW, {"input": 1}))
            expected.append(None)
            continue
        for context, at in itertools.product(contexts(model), moments(model)):
            price = model.get_prices(at, context)
            # The last usage has every unit, so it alone shows which price was found. Each distinct price is
            # also calculated once for all usages.
            usages = USAGES[-1:]
            if (rates := repr(price)) not in seen:
                seen.add(rates)
                usages = USAGES + [{"input": size, "output": 7} for size in thresholds(price)]
            stated = {key for key, rate in vars(price).items() if rate is not None}
            for counts in usages:
                try:
                    cost = model.calc_price(
                        usage_of(counts), provider, genai_request_timestamp=at, price_context=context
                    ).total_price
                except ValueError:
                    contradictory += 1
                    continue
                cases.append(Case(provider.id, name, next(iter(context.values()), None), at, counts))
                expected.append(None if stated and not stated & COUNTED else cost)
    store(synced, cases)
    for query in (BY_ITSELF, AS_RECORDED):
        wrong = [
            (cases[row["n"]], exact, row["cost"])
            for row in synced.sql(query)
            for exact in [expected[row["n"]]]
            if (exact is None) != (row["cost"] is None)
            or (exact is not None and abs(exact - row["cost"]) > Decimal("1e-9"))
        ]
        assert wrong[:5] == [], f"{len(wrong)} of {len(cases)}"
    assert synced.value("select count(*) from llm_private.charges") > 1000
    assert len(seen) > 800
    assert len(cases) > 25_000
    assert contradictory < len(cases) / 100
    # The cases include models that have no price here.
    unpriced = {case.model for case, cost in zip(cases, expected, strict=True) if cost is None}
    assert {"whisper-1", "mistral-ocr-2505"} <= unpriced


#: The price of each listed model, from the list and found for the model alone.
LISTED = """
    with listed as materialized (
      select m, llm_private.find_price(%s, %s, m ->> 'model', 'user', null, now()) as id
      from jsonb_array_elements(%s::jsonb) as m
    )
    select l.m ->> 'model' as model, l.m -> 'input_price' as listed, p.rates -> 'input' as found
    from listed as l
    left join public.llm_prices as p on p.id = l.id
"""


def test_listed_models_have_the_price_of_their_attempts(synced: Transaction) -> None:
    """Also those whose name in the list belongs to another entry, and those with prices by tier or time."""
    with synced.connection.transaction(force_rollback=True):
        user = new_user(synced)
        for caller, model, rate in (
            (synced.admin, "gpt-4*", 101), (synced.admin, "gpt-4o*", 102), (synced.admin, "gpt-5", 103),
            (user, "*", 104), (user, "gpt-5*", 105), (user, "gpt-5-nano", 106), (user, "O3", 107),
        ):  # fmt: skip
            caller.rpc("set_llm_price", p_provider="openai", p_model=model, p_rates={"input": rate})
        user.rpc(
            "set_llm_price", p_provider="openai", p_model="o3", p_rates={"input": 108}, p_service_tier="flex"
        )
        compared = 0
        for provider in providers:
            models = user.rpc("list_llm_models", p_provider=provider.id)
            rows = synced.sql(LISTED, user.id, provider.id, Jsonb(models))
            single = [row for row in rows if not isinstance(row["found"], dict)]
            assert [row for row in single if row["listed"] != row["found"]] == []
            compared += sum(row["found"] is not None for row in single)
        assert compared > 1000
        prices = {it["model"]: it["input_price"] for it in user.rpc("list_llm_models", p_provider="openai")}
        assert (prices["gpt-5"], prices["gpt-5-nano"], prices["o3"], prices["gpt-4o"]) == (105, 106, 107, 104)
        listed = new_user(synced).rpc("list_llm_models", p_provider="openai")
        others = {it["model"]: it["input_price"] for it in listed}
        assert (others["gpt-5"], others["gpt-4o"], others["gpt-4"]) == (103, 102, 101)


def test_nearly_every_model_is_found_by_a_name_of_its_own() -> None:
    """A few are never found, in genai-prices either, because an earlier model matches all their names."""
    reached = {(provider.id, id(found(provider, name))) for provider, name in names()}
    models = sum(len(provider.models) for provider in providers)
    assert models > 2000
    assert len(reached) > 0.97 * models
