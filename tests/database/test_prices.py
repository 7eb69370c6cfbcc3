"""Model prices: rates, precedence, validity, the cache of charges, and listing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.support import Caller, Transaction, new_user, refused

PLAIN = {"input": 2, "output": 10}
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
# A price with every rate for text.
WHOLE = {
    "request": 0.5, "input": 10, "cached_input": 1, "cache_write": 12, "cache_write_1h": 20, "output": 40,
    "reasoning": 60,
}  # fmt: skip
AUDIO = {
    "input": 2, "cached_input": 1, "input_audio": 30, "cached_input_audio": 3, "output": 4,
    "output_audio": 80,
}  # fmt: skip


@pytest.fixture
def acme(tx: Transaction) -> str:
    """A provider without prices."""
    row = {"id": "acme", "base_url": "https://acme.example/v1", "default_model": "m"}
    return str(tx.admin.rpc("set_llm_provider", p_provider=row)["id"])


def sets(caller: Caller, rates: Any = PLAIN, model: str = "m", **options: Any) -> dict[str, Any]:
    """Set a price for acme; options omit the p_ prefix."""
    named = {f"p_{name}": value for name, value in options.items()}
    price = caller.rpc("set_llm_price", p_provider="acme", p_model=model, p_rates=rates, **named)
    assert isinstance(price, dict)
    return price


def syncs(tx: Transaction, *prices: dict[str, Any], name: str = "m", pattern: str = "^m") -> list[Any]:
    """Sync acme with a list of one entry, and return the changes."""
    entry = {"name": name, "pattern": pattern, "position": 0, "prices": prices}
    changes = tx.admin.rpc("sync_llm_prices", p_provider="acme", p_entries=Jsonb([entry]), p_apply=True)
    assert isinstance(changes, list)
    return changes


def found(
    tx: Transaction,
    model: str = "m",
    *,
    user: Caller | None = None,
    key: str = "operator",
    tier: str | None = None,
    at: datetime | None = None,
) -> int | None:
    """Return the id of the price that applies to an attempt."""
    price = tx.value(
        "select llm_private.find_price(%s::uuid, 'acme', %s, %s, %s, coalesce(%s, now()))",
        user and user.id, model, key, tier, at,
    )  # fmt: skip
    return None if price is None else int(price)


def paid(tx: Transaction, **options: Any) -> Any:
    """Return the input rate of the price that applies to an attempt."""
    price = found(tx, **options)
    return price and tx.value("select rates -> 'input' from public.llm_prices where id = %s", price)


def cost(tx: Transaction, price: int, **counts: int) -> tuple[Decimal, Decimal]:
    """Return the cost and cache savings of an attempt, in millionths of a dollar."""
    columns = [
        counts.pop(name, None) for name in ("input", "cached_input", "cache_write", "output", "reasoning")
    ]
    (row,) = tx.sql(
        "select cost * 1000000 as cost, cache_savings * 1000000 as saved "
        "from llm_private.cost_of(%s, %s, %s, %s, %s, %s, %s)",
        price, *columns, Jsonb(counts) if counts else None,
    )  # fmt: skip
    return row["cost"], row["saved"]


# Rates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "counts", "dollars"),
    [
        (PLAIN, {}, 0),
        (PLAIN, {"input": 3, "output": 5}, 3 * 2 + 5 * 10),
        ({"input": 0, "output": 0}, {"input": 3, "output": 5}, 0),
        ({"request": 0.25}, {"input": 3}, 250_000),
        # Tokens without a rate of their own are charged at the rate of the tokens that include them.
        (PLAIN, {"input": 10, "cached_input": 4, "output": 5, "reasoning": 5}, 10 * 2 + 5 * 10),
        (PLAIN, {"input": 10, "input_audio": 4, "cache_write_1h": 9}, 20),
        (WHOLE, {"input": 10, "cached_input": 4}, 500_000 + 6 * 10 + 4 * 1),
        (WHOLE, {"input": 10, "cached_input": 4, "cache_write": 5}, 500_000 + 10 + 4 + 5 * 12),
        (WHOLE, {"input": 10, "cache_write": 5, "cache_write_1h": 2}, 500_000 + 5 * 10 + 3 * 12 + 2 * 20),
        (WHOLE, {"output": 10, "reasoning": 4}, 500_000 + 6 * 40 + 4 * 60),
        (AUDIO, {"input": 10, "input_audio": 4}, 6 * 2 + 4 * 30),
        # Of 4 cached and 5 audio tokens, 3 are both.
        (
            AUDIO,
            {"input": 10, "cached_input": 4, "input_audio": 5, "cached_input_audio": 3},
            4 * 2 + 1 * 1 + 2 * 30 + 3 * 3,
        ),
        (AUDIO, {"output": 10, "output_audio": 9}, 1 * 4 + 9 * 80),
    ],
)
def test_each_token_is_charged_once_at_its_most_specific_rate(
    tx: Transaction, acme: str, rates: dict[str, Any], counts: dict[str, int], dollars: int
) -> None:
    assert cost(tx, sets(tx.admin, rates)["id"], **counts)[0] == dollars


def test_above_a_threshold_its_rate_applies_to_all_tokens(tx: Transaction, acme: str) -> None:
    rates = {
        "input": {"base": 1, "above": {"100": 3, "1000": 5}},
        "cached_input": {"base": 0.5, "above": {"1000": 2}},
        "output": 7,
    }
    price = sets(tx.admin, rates)["id"]
    assert cost(tx, price, input=100, output=1)[0] == 100 * 1 + 7
    assert cost(tx, price, input=101, output=1)[0] == 101 * 3 + 7
    assert cost(tx, price, input=1000, cached_input=10)[0] == 990 * 3 + 10 * Decimal("0.5")
    assert cost(tx, price, input=1001, cached_input=10)[0] == 991 * 5 + 10 * 2


def test_cache_savings_are_the_difference_to_the_cost_without_caching(tx: Transaction, acme: str) -> None:
    price = sets(tx.admin, WHOLE)["id"]
    assert cost(tx, price, input=10, cached_input=4)[1] == 4 * (10 - 1)
    assert cost(tx, price, input=10, cache_write=4)[1] == 4 * (10 - 12)
    assert cost(tx, price, input=10, cache_write=4, cache_write_1h=4)[1] == 4 * (10 - 20)
    audio = sets(tx.admin, AUDIO)["id"]
    counts = {"input": 10, "cached_input": 4, "input_audio": 4, "cached_input_audio": 4}
    assert cost(tx, audio, **counts)[1] == 4 * (30 - 3)


def test_contradictory_token_counts_do_not_add_cost(tx: Transaction, acme: str) -> None:
    price = sets(tx.admin, AUDIO)["id"]
    assert cost(tx, price, input=0, cached_input=1000)[0] == 0


@pytest.mark.parametrize(
    "rates",
    [
        None, [], "free", 1, {}, {"inputs": 1}, {"input": None}, {"input": "1"}, {"input": -0.1},
        {"input": 1_000_001}, {"input": 1e-13}, {"input": True}, {"input": [1]}, {"input": {}},
        {"input": {"base": 1}}, {"input": {"base": 1, "above": {}}}, {"input": {"base": 1, "above": [5]}},
        {"input": {"base": 1, "above": {"many": 2}}}, {"input": {"base": 1, "above": {"-5": 2}}},
        {"input": {"base": 1, "above": {"5": -2}}}, {"input": {"base": 1, "above": {"9999999999": 2}}},
        {"input": {"base": 1, "above": {"5": 2}, "below": {}}}, {"input": {"above": {"5": 2}}},
        {"input": {"base": {"base": 1, "above": {"5": 2}}, "above": {"5": 2}}},
        {"cached_input": 1}, {"input": 1, "cache_write_1h": 1}, {"output": 1, "input_audio": 1},
        {"input": 1, "cached_input": 1, "input_audio": 1}, {"input": 1, "cache_write": 1, "input_audio": 1},
        {"output": 1, "reasoning": 1, "output_audio": 1},
        {"input": {"base": 1, "above": {str(n): 1 for n in range(17)}}},
    ],
)  # fmt: skip
def test_invalid_rates_are_refused_with_a_hint(tx: Transaction, acme: str, rates: Any) -> None:
    with refused("invalid_price", 400) as error:
        sets(tx.admin, Jsonb(rates))
    assert error.value.hint
    assert found(tx) is None


@pytest.mark.parametrize(
    "options",
    [
        {"model": ""}, {"model": "two words"}, {"model": "*m"}, {"model": "m*m*"}, {"model": "m" * 201},
        {"valid_until": "2020-01-01T00:00:00Z"},
        {"valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-01-02T00:00:00Z"},
        {"key_source": "invalid"}, {"service_tier": "Not a tier"}, {"service_tier": ""},
    ],
)  # fmt: skip
def test_an_invalid_model_period_key_source_or_tier_is_refused(
    tx: Transaction, acme: str, options: dict[str, str]
) -> None:
    with refused("invalid_price", 400):
        sets(tx.admin, **options)


def test_a_price_for_a_missing_provider_is_refused(tx: Transaction) -> None:
    with refused("unknown_provider", 404):
        tx.admin.rpc("set_llm_price", p_provider="missing", p_model="m", p_rates=PLAIN)


# Precedence ----------------------------------------------------------------------------------------------


def test_a_users_price_overrides_the_operators_and_that_the_catalogs(tx: Transaction, acme: str) -> None:
    user, other = new_user(tx), new_user(tx)
    assert found(tx) is None
    syncs(tx, {"rates": {"input": 1}})
    assert paid(tx, user=user, key="user") == 1
    sets(tx.admin, {"input": 2})
    assert paid(tx, user=user, key="user") == 2
    sets(user, {"input": 3})
    assert paid(tx, user=user, key="user") == 3
    assert paid(tx, user=other, key="user") == 2


def test_a_users_price_never_applies_to_operator_or_team_keys(tx: Transaction, acme: str) -> None:
    """Otherwise a user could make the operator's keys free, and pass every quota."""
    user = new_user(tx)
    sets(tx.admin, {"input": 2})
    assert sets(user, {"input": 0})["key_source"] == "user"
    for key in ("operator", "team"):
        assert paid(tx, user=user, key=key) == 2
        with refused("invalid_price", 400):
            sets(user, {"input": 0}, key_source=key)


def test_an_operators_price_can_apply_to_one_key_source_only(tx: Transaction, acme: str) -> None:
    sets(tx.admin, {"input": 2}, key_source="operator")
    assert paid(tx, key="operator") == 2
    assert found(tx, key="user", user=new_user(tx)) is None


def test_an_exact_name_goes_before_the_longest_matching_prefix(tx: Transaction, acme: str) -> None:
    sets(tx.admin, {"input": 4}, model="gpt-5-mini")
    sets(tx.admin, {"input": 3}, model="gpt-5*")
    sets(tx.admin, {"input": 2}, model="gpt-*")
    sets(tx.admin, {"input": 1}, model="*")
    names = ("gpt-5-mini", "GPT-5-Mini", "gpt-5", "gpt-5-nano", "gpt-4", "o3", "gpt%5")
    assert [paid(tx, model=name) for name in names] == [4, 4, 3, 3, 2, 1, 1]


def test_pattern_characters_in_a_model_name_are_literal(tx: Transaction, acme: str) -> None:
    for name in ("a.c", "a_c", "a%", "(a|b)", "a[bc]*"):
        sets(tx.admin, model=name)
    assert [found(tx, name) for name in ("abc", "a", "b", "ab")] == [None] * 4
    assert found(tx, "a[bc]-1") is not None


def test_a_service_tier_without_its_own_price_uses_the_standard_price(tx: Transaction, acme: str) -> None:
    syncs(tx, {"rates": {"input": 2}}, {"rates": {"input": 1}, "service_tier": "flex"})
    assert [paid(tx, tier=tier) for tier in (None, "flex", "priority")] == [2, 1, 2]
    sets(tx.admin, {"input": 5}, service_tier="priority")
    assert [paid(tx, tier=tier) for tier in (None, "flex", "priority")] == [2, 1, 5]


def test_the_most_recently_set_price_wins(tx: Transaction, acme: str) -> None:
    sets(tx.admin, {"input": 1})
    sets(tx.admin, {"input": 2}, valid_from="2020-01-01T00:00:00Z")
    assert paid(tx) == 2


def test_a_price_applies_from_its_start_until_just_before_its_end(tx: Transaction, acme: str) -> None:
    first, last = NOON, NOON + timedelta(days=1)
    sets(tx.admin, valid_from=first, valid_until=last)
    moment = timedelta(microseconds=1)
    held = [found(tx, at=at) is not None for at in (first - moment, first, last - moment, last)]
    assert held == [False, True, True, False]


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("08:00", "18:00", range(8, 18)),
        ("22:00", "06:00", {22, 23, *range(6)}),
        ("16:00", "00:00", range(16, 24)),
    ],
)
def test_a_daily_window_is_in_utc_and_can_span_midnight(
    tx: Transaction, acme: str, since: str, until: str, hours: Any
) -> None:
    syncs(tx, {"rates": {"input": 2}}, {"rates": {"input": 1}, "daily_from": since, "daily_until": until})
    tx.sql("set local time zone 'Pacific/Auckland'")
    midnight = datetime(2026, 6, 1, tzinfo=UTC)
    cheap = {hour for hour in range(24) if paid(tx, at=midnight + timedelta(hours=hour)) == 1}
    assert cheap == set(hours)
    assert paid(tx, at=midnight + timedelta(hours=min(hours), seconds=-1)) == (
        1 if 23 in hours and 0 in hours else 2
    )


# The cache of charges ------------------------------------------------------------------------------------


def charged(tx: Transaction, at: datetime | None = None, user: Caller | None = None, **counts: int) -> Any:
    """Return the charge for an attempt in millionths of a dollar, caching it as recording does."""
    return tx.value(
        "select cost * 1000000 from llm_private.charge("
        "%s, 'acme', 'M', %s, null, coalesce(%s, now()), %s, null, null, %s, null, null)",
        user and user.id, "user" if user else "operator", at, counts.get("input"), counts.get("output"),
    )  # fmt: skip


def cached_charges(tx: Transaction) -> Any:
    return tx.value("select count(*) from llm_private.charges where provider = 'acme'")


def test_a_cached_charge_ends_with_its_price(tx: Transaction, acme: str) -> None:
    assert charged(tx, input=1) is None
    price = sets(tx.admin, {"input": 2, "output": 3})
    assert [charged(tx, input=size, output=1) for size in (0, 5, 7)] == [3, 13, 17]
    assert cached_charges(tx) == 1
    sets(tx.admin, {"input": 4})
    assert charged(tx, input=5) == 20
    sets(tx.admin, {"input": 6}, valid_until=NOON + timedelta(days=9999))
    assert charged(tx, input=5) == 30
    tx.sql("update public.llm_prices set valid_until = greatest(now(), valid_from) where provider = 'acme'")
    assert charged(tx, input=5) is None
    assert charged(tx, input=5, at=NOON) is None
    assert price["valid_until"] == "infinity"


def test_the_cache_of_charges_moves_forward_in_time(tx: Transaction, acme: str) -> None:
    turn = NOON + timedelta(days=1)
    sets(tx.admin, {"input": 1}, valid_from=NOON, valid_until=turn)
    sets(tx.admin, {"input": 2}, valid_from=turn)
    before, after = turn - timedelta(microseconds=1), turn
    assert [charged(tx, at, input=1) for at in (before, before, after, after, before)] == [1, 1, 2, 2, 1]
    (row,) = tx.sql(
        "select per_input * 1000000 as rate, holds_from from llm_private.charges where provider = %s", acme
    )
    assert (row["rate"], row["holds_from"]) == (2, turn)


def test_a_cached_charge_applies_only_to_inputs_of_its_size(tx: Transaction, acme: str) -> None:
    sets(tx.admin, {"input": {"base": 1, "above": {"10": 2, "20": 3}}})
    sizes = (15, 10, 11, 20, 21, 15)
    assert [charged(tx, input=size) for size in sizes] == [30, 10, 22, 40, 63, 30]


def test_a_cached_charge_does_not_apply_to_a_user_with_their_own_price(tx: Transaction, acme: str) -> None:
    sets(tx.admin, {"input": 2})
    user, other = new_user(tx), new_user(tx)
    assert [charged(tx, user=it, input=1) for it in (user, other)] == [2, 2]
    sets(user, {"input": 5})
    assert [charged(tx, user=it, input=1) for it in (user, other, user)] == [5, 2, 5]
    assert charged(tx, input=1) == 2


def test_a_cached_charge_does_not_outlast_a_daily_window(tx: Transaction, acme: str) -> None:
    syncs(tx, {"rates": {"input": 2}}, {"rates": {"input": 1}, "daily_from": "00:00", "daily_until": "12:00"})
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert [charged(tx, noon + timedelta(hours=hour), input=1) for hour in (-1, 1, -1)] == [1, 2, 1]


# Listing and ending --------------------------------------------------------------------------------------


def listed(caller: Caller, model: str | None = None) -> list[dict[str, Any]]:
    rows = caller.rpc("list_llm_prices", p_provider="acme", p_model=model)
    assert isinstance(rows, list)
    return rows


def test_a_user_lists_the_catalogs_the_operators_and_their_own_prices(tx: Transaction, acme: str) -> None:
    user, other = new_user(tx), new_user(tx)
    syncs(tx, {"rates": {"input": 1}})
    sets(tx.admin, {"input": 2}, key_source="operator")
    own = sets(user, {"input": 3})
    assert {price["source"] for price in listed(user)} == {"catalog", "operator", "user"}
    assert {price["source"] for price in listed(other)} == {"catalog", "operator"}
    assert {price["source"] for price in listed(tx.admin)} == {"catalog", "operator"}
    assert all(price["in_force"] is None for price in listed(user))
    with tx.as_role(other) as connection:
        rows = connection.execute("select * from public.llm_prices where id = %s", [own["id"]]).fetchall()
    assert rows == []


def test_the_price_in_force_for_a_model_is_listed_first(tx: Transaction, acme: str) -> None:
    user, other = new_user(tx), new_user(tx)
    syncs(tx, {"rates": {"input": 1}}, pattern="^m-(mini|max)$")
    sets(tx.admin, {"input": 2}, key_source="operator", model="m-*")
    sets(tx.admin, {"input": 9}, model="other")
    sets(user, {"input": 3}, model="m-max")
    rates = [[price["rates"]["input"] for price in listed(it, "M-Max")] for it in (user, other, tx.admin)]
    assert [prices[0] for prices in rates] == [3, 1, 2]
    assert list(map(sorted, rates)) == [[1, 2, 3], [1, 2], [1, 2]]
    assert [price["in_force"] for price in listed(user, "m-max")] == [True, False, False]
    assert [price["in_force"] for price in listed(other, "m-nano")] == [False]


def test_listing_the_prices_of_a_model_requires_its_provider(tx: Transaction) -> None:
    with refused("invalid_argument", 400):
        tx.admin.rpc("list_llm_prices", p_model="m")


def test_an_ended_price_still_applies_to_the_time_before_its_end(tx: Transaction, acme: str) -> None:
    user = new_user(tx)
    price = sets(user, valid_from=NOON)
    ended = user.rpc("end_llm_price", p_id=price["id"])
    assert ended == {**price, "valid_until": ended["valid_until"]}
    assert listed(user) == []
    assert found(tx, user=user, key="user") is None
    assert found(tx, user=user, key="user", at=NOON) == price["id"]
    assert user.rpc("end_llm_price", p_id=price["id"]) == ended


def test_a_price_ended_before_its_start_never_applies(tx: Transaction, acme: str) -> None:
    begins = datetime.now(UTC) + timedelta(days=9)
    price = sets(tx.admin, valid_from=begins)
    assert [row["id"] for row in listed(tx.admin)] == [price["id"]]
    tx.admin.rpc("end_llm_price", p_id=price["id"])
    assert listed(tx.admin) == []
    assert found(tx, at=begins) is None


def test_a_caller_cannot_end_another_owners_price(tx: Transaction, acme: str) -> None:
    user, other = new_user(tx), new_user(tx)
    own, operators = sets(user)["id"], sets(tx.admin)["id"]
    syncs(tx, {"rates": PLAIN})
    catalogs = tx.value("select id from public.llm_prices where source = 'catalog' and provider = 'acme'")
    for caller, price in [
        (other, own), (tx.admin, own), (user, operators), (user, catalogs), (tx.admin, catalogs),
        (user, -1),
    ]:  # fmt: skip
        with refused("price_not_found", 404):
            caller.rpc("end_llm_price", p_id=price)
    assert {found(tx, user=user, key=key) for key in ("user", "operator")} == {own, operators}


def test_a_users_price_changes_are_audited(tx: Transaction, acme: str) -> None:
    user = new_user(tx)
    price = sets(user)
    user.rpc("end_llm_price", p_id=price["id"])
    sets(tx.admin)
    log = {entry["action"]: entry for entry in user.rpc("get_llm_audit_log")}
    assert set(log) == {"price_set", "price_ended"}
    assert log["price_set"]["detail"] == {"price_id": price["id"], "model": "m", "rates": PLAIN}
    assert {entry["provider"] for entry in log.values()} == {"acme"}


def test_deleting_an_account_deletes_its_prices(tx: Transaction, acme: str) -> None:
    user = new_user(tx)
    price = sets(user)["id"]
    tx.sql("delete from auth.users where id = %s", user.id)
    assert tx.value("select count(*) from llm_private.price_tiers where price_id = %s", price) == 0


@pytest.mark.parametrize(
    ("subject", "refusal"),
    [(None, ("not_signed_in", 401)), ("not a uuid", ("third_party_account", 403))],
    ids=["no subject", "not a uuid"],
)
def test_price_rpcs_require_a_user(
    tx: Transaction, acme: str, subject: str | None, refusal: tuple[str, int]
) -> None:
    caller = new_user(tx).with_claims(sub=subject)
    calls: dict[str, dict[str, Any]] = {
        "list_llm_prices": {},
        "set_llm_price": {"p_provider": "acme", "p_model": "m", "p_rates": PLAIN},
        "end_llm_price": {"p_id": 1},
    }
    for function, arguments in calls.items():
        with refused(*refusal):
            caller.rpc(function, **arguments)
