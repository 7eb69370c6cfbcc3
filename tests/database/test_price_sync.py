"""Price sync: the changes that a list makes to the catalog's prices, and the dates from which they apply."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.database.support import Connection, Transaction, new_user, owner, refused
from tests.support import Stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def now(tx: Transaction) -> datetime:
    """The time of this transaction, in which a provider acme exists."""
    tx.admin.rpc(
        "set_llm_provider",
        p_provider={"id": "acme", "base_url": "https://acme.example/v1", "default_model": "m"},
    )
    at = tx.value("select now()")
    assert isinstance(at, datetime)
    return at


def price(
    rate: float, since: datetime | None = None, until: datetime | None = None, **more: Any
) -> dict[str, Any]:
    """Return a price for a list entry."""
    return {
        "valid_from": since and since.isoformat(),
        "valid_until": until and until.isoformat(),
        "rates": {"input": rate},
        **more,
    }


def entry(
    name: str, *prices: dict[str, Any], pattern: str | None = None, position: int = 0
) -> dict[str, Any]:
    return {"name": name, "pattern": pattern or f"^{name}$", "position": position, "prices": list(prices)}


def synced(tx: Transaction, *entries: dict[str, Any], apply: bool = True) -> list[Any]:
    changes = tx.admin.rpc(
        "sync_llm_prices", p_provider="acme", p_entries=Jsonb(list(entries)), p_apply=apply
    )
    assert isinstance(changes, list)
    return changes


def kinds(changes: list[Any]) -> list[str]:
    return [change["change"] for change in changes]


def paid(tx: Transaction, at: datetime, model: str = "m", tier: str | None = None) -> Any:
    """Return the input rate at a time, or None without a price."""
    return tx.value(
        "select (select rates -> 'input' from public.llm_prices "
        "where id = llm_private.find_price(null, 'acme', %s, 'operator', %s, %s))",
        model, tier, at,
    )  # fmt: skip


def test_a_new_entry_applies_on_all_of_its_dates(tx: Transaction, now: datetime) -> None:
    turn = now - timedelta(days=30)
    changes = synced(tx, entry("m", price(1, None, turn), price(2, turn)))
    assert kinds(changes) == ["added", "added"]
    assert [paid(tx, at) for at in (LONG_AGO, turn - MOMENT, turn, now)] == [1, 1, 2, 2]


def test_a_sync_without_apply_only_previews_changes(tx: Transaction, now: datetime) -> None:
    assert kinds(synced(tx, entry("m", price(1)), apply=False)) == ["added"]
    assert paid(tx, now) is None
    assert kinds(synced(tx, entry("m", price(1)), apply=False)) == ["added"]


def test_syncing_the_same_list_again_changes_nothing(tx: Transaction, now: datetime) -> None:
    soon = now + timedelta(days=1)
    entries = [entry("m", price(1, None, soon), price(0.5, service_tier="flex"), price(2, soon))]
    assert len(synced(tx, *entries)) == 3
    rows = tx.sql("select id, valid_until::text from public.llm_prices where provider = 'acme'")
    assert synced(tx, *entries) == []
    assert tx.sql("select id, valid_until::text from public.llm_prices where provider = 'acme'") == rows


def test_a_change_without_a_date_applies_from_now_on(tx: Transaction, now: datetime) -> None:
    synced(tx, entry("m", price(1)))
    (change,) = synced(tx, entry("m", price(3)))
    assert (change["change"], change["before"], change["after"]) == ("changed", {"input": 1}, {"input": 3})
    assert datetime.fromisoformat(change["valid_from"]) == now
    assert [paid(tx, at) for at in (LONG_AGO, now - MOMENT, now)] == [1, 1, 3]


def test_a_newly_dated_change_applies_from_its_date_in_the_past(tx: Transaction, now: datetime) -> None:
    """A recalculation can then correct usage recorded since that date."""
    turn = now - timedelta(days=10)
    synced(tx, entry("m", price(1)))
    changes = synced(tx, entry("m", price(1, None, turn), price(2, turn)))
    assert sorted(kinds(changes)) == ["dated", "until"]
    assert [paid(tx, at) for at in (LONG_AGO, turn - MOMENT, turn, now)] == [1, 1, 2, 2]


def test_a_future_change_can_be_moved_and_withdrawn(tx: Transaction, now: datetime) -> None:
    soon, later = now + timedelta(days=1), now + timedelta(days=9)
    synced(tx, entry("m", price(1, None, soon), price(2, soon)))
    synced(tx, entry("m", price(1, None, later), price(2, later)))
    assert [paid(tx, at) for at in (now, soon, later - MOMENT, later)] == [1, 1, 1, 2]
    synced(tx, entry("m", price(1)))
    assert [paid(tx, at) for at in (now, soon, later)] == [1, 1, 1]


def test_a_change_of_a_future_price_keeps_its_start(tx: Transaction, now: datetime) -> None:
    soon = now + timedelta(days=1)
    synced(tx, entry("m", price(1, None, soon), price(2, soon)))
    (change,) = synced(tx, entry("m", price(1, None, soon), price(3, soon)))
    assert (change["change"], datetime.fromisoformat(change["valid_from"])) == ("changed", soon)
    assert [paid(tx, at) for at in (now, soon - MOMENT, soon)] == [1, 1, 3]


def test_a_correction_of_a_past_price_is_ignored(tx: Transaction, now: datetime) -> None:
    turn = now - timedelta(days=30)
    synced(tx, entry("m", price(1, None, turn), price(2, turn)))
    assert synced(tx, entry("m", price(9, None, turn), price(2, turn))) == []
    assert paid(tx, LONG_AGO) == 1


def test_a_service_tier_is_added_and_removed_from_now_on(tx: Transaction, now: datetime) -> None:
    flex = price(0.5, service_tier="flex")
    synced(tx, entry("m", price(1)))
    assert kinds(synced(tx, entry("m", price(1), flex))) == ["added"]
    assert [paid(tx, at, tier="flex") for at in (now - MOMENT, now)] == [1, 0.5]
    assert kinds(synced(tx, entry("m", price(1)))) == ["gone"]
    assert [paid(tx, at, tier="flex") for at in (now - MOMENT, now)] == [1, 1]


def test_a_daily_window_has_its_own_price(tx: Transaction, now: datetime) -> None:
    night: Any = {"daily_from": "22:00", "daily_until": "06:00"}
    synced(tx, entry("m", price(2), price(1, **night)))
    assert kinds(synced(tx, entry("m", price(2), price(0.5, **night)))) == ["changed"]
    midnight = datetime(2030, 1, 1, tzinfo=UTC)
    assert [paid(tx, midnight), paid(tx, midnight + timedelta(hours=12))] == [0.5, 2]
    assert paid(tx, datetime(2025, 1, 1, tzinfo=UTC)) == 1


def test_a_removed_entry_keeps_only_its_past_prices(tx: Transaction, now: datetime) -> None:
    synced(tx, entry("m", price(1)), entry("n", price(2)))
    assert kinds(synced(tx, entry("n", price(2)))) == ["gone"]
    assert [paid(tx, at) for at in (LONG_AGO, now - MOMENT, now)] == [1, 1, None]
    # An entry that replaces it goes first.
    synced(tx, entry("n", price(2)), entry("o", price(3), pattern="^[mo]$", position=900_000))
    assert paid(tx, now) == 3


def test_a_restored_entry_applies_from_now_on(tx: Transaction, now: datetime) -> None:
    synced(tx, entry("m", price(1)))
    synced(tx)
    assert kinds(synced(tx, entry("m", price(4)))) == ["added"]
    assert [paid(tx, at) for at in (now - MOMENT, now)] == [1, 4]


def test_the_first_matching_entry_wins(tx: Transaction, now: datetime) -> None:
    exact, rest = (
        entry("a", price(1), pattern="^gpt-5$", position=1),
        entry("b", price(2), pattern="^gpt", position=2),
    )
    synced(tx, rest, exact)
    assert [paid(tx, now, name) for name in ("gpt-5", "GPT-5", "gpt-5-mini", "llama")] == [1, 1, 2, None]
    synced(tx, {**rest, "position": 0}, exact)
    assert paid(tx, now, "gpt-5") == 2


def test_an_entry_without_prices_hides_its_names_from_later_entries(tx: Transaction, now: datetime) -> None:
    synced(tx, entry("whisper", position=0), entry("rest", price(1), pattern=".", position=1))
    assert [paid(tx, now, name) for name in ("whisper", "gpt")] == [None, 1]


def test_the_list_knows_the_context_windows_of_models(tx: Transaction, now: datetime) -> None:
    """A model of the catalog has one from the sync on, another model from its first use on."""

    def contexts() -> dict[str, int | None]:
        found = user.rpc("explain_llm_route", p_task=None, p_model="acme/n")["candidates"]
        listed = user.rpc("list_llm_models", p_provider="acme")
        models = {model["model"]: model["context_tokens"] for model in listed}
        return {**models, "candidate": found[0]["context_tokens"]}

    user = new_user(tx)
    user.rpc("set_llm_key", provider="acme", key="acme-key-0123456789")
    synced(
        tx,
        {**entry("m", price(1)), "context_tokens": 8192},
        {**entry("n", price(1), pattern="^n"), "context_tokens": 4096},
        entry("o", price(1)),
    )
    assert contexts() == {"m": 8192, "n": 4096, "o": None, "candidate": 4096}
    (candidate,) = user.rpc("resolve_llm_route", p_model="acme/N")["candidates"]
    assert candidate["context_tokens"] == 4096
    (candidate,) = user.rpc("resolve_llm_route", p_model="acme/n-large")["candidates"]
    assert candidate["context_tokens"] is None
    user.records(provider="acme", model="n-large")
    (candidate,) = user.rpc("resolve_llm_route", p_model="acme/n-large")["candidates"]
    assert candidate["context_tokens"] == 4096
    # A list that changes nothing else.
    synced(tx, {**entry("n", price(1), pattern="^n"), "context_tokens": 16384})
    (candidate,) = user.rpc("resolve_llm_route", p_model="acme/n")["candidates"]
    assert candidate["context_tokens"] == 16384


@pytest.mark.parametrize("tokens", [0, -1, 1_000_000_001, "many", 1.5])
def test_a_context_window_is_a_number_of_tokens(tx: Transaction, now: datetime, tokens: object) -> None:
    with refused("invalid_price_list", 400):
        synced(tx, {**entry("m", price(1)), "context_tokens": tokens})


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gpt-5.2-20251211", "^gpt-5\\.2-2025-12-11$"),
        ("m-20251211-x", "^m-2025-12-11-x$"),
        ("m-20251211:free", "^m-2025-12-11:free$"),
    ],
)
def test_a_date_without_dashes_matches_a_pattern_with_dashes(
    tx: Transaction, now: datetime, name: str, pattern: str
) -> None:
    synced(tx, entry("m", price(1), pattern=pattern))
    assert paid(tx, now, name) == 1
    synced(
        tx,
        entry("m", price(1), pattern=pattern, position=0),
        entry("own", price(2), pattern=f"^{name}$", position=1),
    )
    assert paid(tx, now, name) == 2


def test_a_number_that_is_not_a_whole_date_is_not_read_as_one(tx: Transaction, now: datetime) -> None:
    synced(tx, entry("m", price(1), pattern="2025-12-11"))
    assert [paid(tx, now, name) for name in ("m-202512110", "m-20251311", "m20251211")] == [None] * 3


def test_a_price_that_was_set_takes_precedence_over_synced_prices(tx: Transaction, now: datetime) -> None:
    tx.admin.rpc("set_llm_price", p_provider="acme", p_model="m", p_rates={"input": 7})
    synced(tx, entry("m", price(1)))
    synced(tx, entry("m", price(2)))
    synced(tx)
    assert paid(tx, now) == 7


@pytest.mark.parametrize(
    "entries",
    [
        None, {}, "m", [1], ["m"], [None], [[]], [{}],
        [{**entry("m", price(1)), "name": None}], [{**entry("m", price(1)), "name": "two words"}],
        [{**entry("m", price(1)), "name": {"a b": 1}}], [{**entry("m", price(1)), "extra": 1}],
        [{**entry("m", price(1)), "pattern": "("}], [{**entry("m", price(1)), "pattern": None}],
        [{**entry("m", price(1)), "position": -1}], [{**entry("m", price(1)), "position": "first"}],
        [{**entry("m", price(1)), "position": 1_000_000}], [{**entry("m"), "prices": {}}],
        [{**entry("m"), "prices": [1]}], [{**entry("m"), "prices": [{}]}], [{**entry("m"), "prices": None}],
        [entry("m", {"rates": {"input": -1}})], [entry("m", {"rates": {"cached_input": 1}})],
        [entry("m", price(1, valid_from="soon"))], [entry("m", price(1, daily_from="08:00"))],
        [entry("m", price(1, daily_from="08:00", daily_until="08:00"))],
        [entry("m", price(1, daily_from="25:00", daily_until="08:00"))],
        [entry("m", price(1, LONG_AGO, LONG_AGO))], [entry("m", price(1, service_tier="No Tier"))],
        [entry("m", price(1, key_source="user"))], [entry("m", price(1), price(2))],
        [entry("m", price(1), price(2, LONG_AGO))],
        [entry("m", price(1)), entry("m", price(1))],
    ],
)  # fmt: skip
def test_an_invalid_list_changes_nothing(tx: Transaction, now: datetime, entries: Any) -> None:
    synced(tx, entry("n", price(1)))
    # The valid entry before the invalid one is not applied either.
    broken = [entry("good", price(2)), *entries] if isinstance(entries, list) else entries
    with refused("invalid_price_list", 400):
        tx.admin.rpc("sync_llm_prices", p_provider="acme", p_entries=Jsonb(broken), p_apply=True)
    assert (paid(tx, now, "n"), paid(tx, now, "good")) == (1, None)


def test_the_error_names_the_invalid_entry_and_the_allowed_rates(tx: Transaction, now: datetime) -> None:
    with refused("invalid_price_list", 400) as error:
        synced(tx, entry("good", price(1)), entry("gpt-9", {"rates": {"webs": 1}}))
    assert "gpt-9" in error.value.message
    assert "webs" in error.value.message
    assert "cached_input" in error.value.hint


def test_a_sync_of_a_missing_provider_is_refused(tx: Transaction) -> None:
    with refused("unknown_provider", 404):
        tx.admin.rpc("sync_llm_prices", p_provider="missing", p_entries=Jsonb([]))


def test_only_administrators_can_sync_prices(tx: Transaction, now: datetime) -> None:
    for caller in (new_user(tx), tx.anon):
        with refused("42501"):
            caller.rpc("sync_llm_prices", p_provider="acme", p_entries=Jsonb([]))


# Days from now at which a price may begin or end, and the times to check.
TURNS = [-2, -1, 1, 2]
LATER = [
    timedelta(days=day) + off for day in (0, 1, 2, 3) for off in (timedelta(0), MOMENT, timedelta(hours=9))
]


@st.composite
def schedules(draw: st.DrawFn, tier: str | None) -> list[tuple[int | None, int | None, int, str | None]]:
    """Draw consecutive prices of one tier, with gaps: first day, last day, rate and tier."""
    edges: list[int | None] = [None, *sorted(draw(st.sets(st.sampled_from(TURNS)))), None]
    rates = draw(st.lists(st.integers(0, 3), min_size=len(edges) - 1, max_size=len(edges) - 1))
    # A rate of 0 stands for a gap.
    return [(edges[i], edges[i + 1], rate, tier) for i, rate in enumerate(rates) if rate]


@given(lists=st.lists(st.tuples(schedules(None), schedules("flex")), min_size=1, max_size=5))
# A price is withdrawn before it begins, and then the price before it is extended.
@example(
    lists=[
        ([], [(1, 2, 1, "flex"), (2, None, 2, "flex")]),
        ([], [(1, 2, 1, "flex")]),
        ([], [(1, None, 1, "flex")]),
    ]
)
@settings(
    max_examples=60, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_prices_from_now_on_equal_the_list_after_any_earlier_lists(
    tx: Transaction, now: datetime, lists: list[Any]
) -> None:
    def day(number: int | None) -> datetime | None:
        return None if number is None else now + timedelta(days=number)

    with tx.connection.transaction(force_rollback=True):
        for standard, flex in lists:
            listed = [(day(since), day(until), rate, tier) for since, until, rate, tier in standard + flex]
            entries = [price(rate, since, until, service_tier=tier) for since, until, rate, tier in listed]
            synced(tx, entry("m", *entries))
            for at in (now + off for off in LATER):
                rates = {
                    tier: rate
                    for since, until, rate, tier in listed
                    if (since is None or since <= at) and (until is None or at < until)
                }
                assert paid(tx, at) == rates.get(None), at
                assert paid(tx, at, tier="flex") == rates.get("flex", rates.get(None)), at
            assert synced(tx, entry("m", *entries)) == []


# Concurrency ---------------------------------------------------------------------------------------------


@pytest.fixture
def racer(stack: Stack) -> Iterator[str]:
    """A disabled provider whose prices are committed, and deleted at the end."""
    provider = f"racer-{uuid.uuid4().hex[:20]}"
    with owner(stack) as connection:
        connection.execute(
            "insert into public.llm_providers (id, name, base_url, default_model, enabled) "
            "values (%s, 'Racer', 'https://racer.example', 'm', false)",
            [provider],
        )
        yield provider
        for table in ("llm_private.price_names", "llm_private.price_list", "public.llm_prices"):
            connection.execute(f"delete from {table} where provider = %s", [provider])
        connection.execute("delete from public.llm_providers where id = %s", [provider])


def sync_and_commit(connection: Connection, provider: str, name: str) -> None:
    connection.execute(
        "select llm_private.sync_prices(%s, %s, true)",
        [provider, Jsonb([entry(name, price(1), pattern="^m")])],
    )


def name_of(connection: Connection, provider: str, model: str = "m") -> Any:
    row = connection.execute("select llm_private.price_name(%s, %s) as name", [provider, model]).fetchone()
    assert row is not None
    return row["name"]


def remembers(connection: Connection, provider: str, model: str) -> Any:
    """Cache a name, as recording does."""
    connection.execute("select llm_private.remember_price_names(%s, array[%s])", [provider, model])
    return name_of(connection, provider, model)


def test_a_sync_waits_until_a_name_is_cached_and_discards_it(stack: Stack, racer: str) -> None:
    """Otherwise the name would stay cached with the entry of the old list."""
    with owner(stack) as request, owner(stack) as administrator:
        sync_and_commit(administrator, racer, "old")
        thread = threading.Thread(target=sync_and_commit, args=(administrator, racer, "new"))
        with request.transaction():
            assert remembers(request, racer, "m-1") == "old"
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(10)
        assert not thread.is_alive()
        assert name_of(request, racer, "m-1") == "new"


def test_caching_a_name_waits_for_a_sync_and_sees_its_result(stack: Stack, racer: str) -> None:
    with owner(stack) as request, owner(stack) as administrator:
        sync_and_commit(administrator, racer, "old")
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(remembers(request, racer, "m-1")))
        with administrator.transaction():
            sync_and_commit(administrator, racer, "new")
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(10)
        assert seen == ["new"]


def test_calls_that_cache_names_do_not_wait_for_each_other(stack: Stack, racer: str) -> None:
    with owner(stack) as first, owner(stack) as second:
        sync_and_commit(first, racer, "m")
        with first.transaction():
            assert remembers(first, racer, "m-one") == "m"
            second.execute("set statement_timeout = '2s'")
            assert remembers(second, racer, "m-two") == "m"


def test_a_sync_caches_the_names_that_lists_of_models_need(stack: Stack, racer: str) -> None:
    """Reading caches nothing, and matching a name with hundreds of patterns takes milliseconds."""
    with owner(stack) as administrator:
        for name in ("old", "new"):
            sync_and_commit(administrator, racer, name)
            cached = administrator.execute(
                "select model, name from llm_private.price_names where provider = %s", [racer]
            ).fetchall()
            # The provider's default model. The names of the entries do not match the pattern.
            assert {row["model"]: row["name"] for row in cached if row["name"]} == {"m": name}


def test_concurrent_syncs_of_the_same_list_add_its_prices_once(stack: Stack, racer: str) -> None:
    with owner(stack) as first, owner(stack) as second:
        thread = threading.Thread(target=sync_and_commit, args=(second, racer, "m"))
        with first.transaction():
            sync_and_commit(first, racer, "m")
            thread.start()
            thread.join(0.3)
        thread.join(10)
        row = first.execute(
            "select count(*) as n from public.llm_prices where provider = %s", [racer]
        ).fetchone()
        assert row == {"n": 1}
