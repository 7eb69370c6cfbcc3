"""Recalculation: costs at corrected prices are appended, in batches that can be interrupted anywhere."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.ledger import LONG_AGO, price
from tests.database.support import Caller, Http, Transaction, new_user, refused, request_id

# These tests use their own model, because a recalculation covers all users.
MODEL = "recalculated"
MILLION = {"model": MODEL, "input_tokens": 10**6, "output_tokens": 0}


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def recalculate(tx: Transaction | Http, batch: int = 10_000, **arguments: Any) -> dict[str, Any]:
    """Recalculate until done."""
    state = tx.admin.rpc("recalculate_llm_costs", p_batch=batch, **arguments)
    while not state["done"]:
        state = tx.admin.rpc("recalculate_llm_costs", p_batch=batch, p_recalculation=state["id"])
    assert isinstance(state, dict)
    return state


def line(user: Caller) -> tuple[Any, int, int]:
    (found,) = user.rpc("get_llm_usage", p_bucket=None, p_by=[])
    return found["cost"], found["unpriced"], found["unreported"]


def adjustments(tx: Transaction, user: Caller) -> list[dict[str, Any]]:
    return tx.sql(
        "select cost, price_id from public.llm_usage_adjustments "
        "where user_id = %s order by recalculation_id",
        user.id,
    )


def test_a_recalculation_appends_an_adjustment_and_keeps_the_event(tx: Transaction, user: Caller) -> None:
    price(tx, MODEL, input=1, output=1)
    user.records(**MILLION)
    before = tx.sql("select * from public.llm_usage_events where user_id = %s", user.id)
    price(tx, MODEL, input=3, output=1)
    assert line(user) == (1, 0, 0), "setting a price does not change recorded costs"
    state = recalculate(tx)
    assert state["changed"] == 1
    assert Decimal(str(state["cost_after"])) - Decimal(str(state["cost_before"])) == 2
    assert line(user) == (3, 0, 0)
    assert tx.sql("select * from public.llm_usage_events where user_id = %s", user.id) == before
    (added,) = adjustments(tx, user)
    assert added["cost"] == 2
    assert added["price_id"] == tx.value("select max(id) from public.llm_prices")


def test_running_a_recalculation_again_changes_nothing(tx: Transaction, user: Caller) -> None:
    user.records(**MILLION)
    price(tx, MODEL, input=3, output=1)
    recalculate(tx)
    after = line(user), adjustments(tx, user)
    again = recalculate(tx)
    assert (again["changed"], again["newly_priced"]) == (0, 0)
    assert again["cost_before"] == again["cost_after"]
    assert (line(user), adjustments(tx, user)) == after


def test_a_recalculation_prices_unpriced_usage(tx: Transaction, user: Caller) -> None:
    user.records(**MILLION)
    user.records(model=MODEL)
    assert line(user) == (None, 2, 0)
    price(tx, MODEL, input=3, output=1)
    assert recalculate(tx)["newly_priced"] == 1
    assert line(user) == (3, 0, 1), "no usage is reported for the other event"
    assert recalculate(tx)["changed"] == 0
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0


def test_priced_usage_never_becomes_unpriced(tx: Transaction, user: Caller) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    tx.admin.rpc(
        "set_llm_price",
        p_provider="groq",
        p_model=MODEL,
        p_rates={"input": 1, "output": 1},
        p_valid_from=yesterday,
    )
    user.records(**MILLION)
    tx.sql("update public.llm_prices set valid_from = now(), valid_until = now() where model = %s", MODEL)
    assert recalculate(tx)["changed"] == 0
    assert line(user) == (1, 0, 0)


def test_a_failure_without_tokens_stays_free(tx: Transaction, user: Caller) -> None:
    user.records(model=MODEL, outcome="failed", error_class="timeout")
    price(tx, MODEL, input=1, output=1, request=1)
    recalculate(tx)
    assert line(user) == (0, 0, 0)


def test_only_the_requested_time_range_is_recalculated(tx: Transaction, user: Caller) -> None:
    now = time.time()
    for days in (0, 2, 4):
        user.records(request_id=request_id(now - days * 86_400), **MILLION)
    price(tx, MODEL, input=1, output=1)
    middle = datetime.fromtimestamp(now, UTC) - timedelta(days=2)
    hour = timedelta(hours=1)
    assert recalculate(tx, p_from=middle - hour, p_until=middle + hour)["newly_priced"] == 1
    assert line(user) == (1, 2, 0)
    recalculate(tx, p_from=middle - hour)
    assert line(user) == (2, 1, 0)
    with refused("invalid_argument", 400):
        tx.admin.rpc("recalculate_llm_costs", p_from=middle, p_until=middle)


def test_an_interrupted_recalculation_is_resumed(tx: Transaction, user: Caller) -> None:
    for _ in range(5):
        user.records(**MILLION)
    price(tx, MODEL, input=1, output=1)
    interrupted = tx.admin.rpc("recalculate_llm_costs", p_from=LONG_AGO, p_batch=2)
    assert not interrupted["done"]
    # Without its id, the same range finds the recalculation, and no event is read twice.
    resumed = recalculate(tx, batch=2, p_from=LONG_AGO)
    assert resumed["id"] == interrupted["id"]
    assert resumed["events"] == tx.value("select count(*) from public.llm_usage_events")
    assert line(user) == (5, 0, 0)


def test_a_new_price_restarts_an_interrupted_recalculation(tx: Transaction, user: Caller) -> None:
    for _ in range(3):
        user.records(**MILLION)
    price(tx, MODEL, input=1, output=1)
    interrupted = tx.admin.rpc("recalculate_llm_costs", p_batch=1)
    price(tx, MODEL, input=2, output=2)
    assert recalculate(tx, batch=2)["id"] != interrupted["id"]
    assert line(user) == (6, 0, 0)


@pytest.mark.parametrize("batch", [0, -1, 10_001, None])
def test_an_invalid_batch_size_is_refused(tx: Transaction, batch: int | None) -> None:
    with refused("invalid_argument", 400):
        tx.admin.rpc("recalculate_llm_costs", p_batch=batch)


def test_a_missing_recalculation_cannot_be_resumed(tx: Transaction) -> None:
    with refused("not_found", 404):
        tx.admin.rpc("recalculate_llm_costs", p_recalculation=-1)


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["a", "b"]),
            "input_tokens": st.sampled_from([None, 0, 1000, 10**6]),
            "output_tokens": st.sampled_from([None, 500]),
            "attempt": st.integers(1, 3),
        }
    ),
    min_size=1,
    max_size=12,
)
RATES = st.lists(st.tuples(st.sampled_from(["a", "b", "*"]), st.integers(0, 5)), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, prices=RATES, batch=st.integers(1, 5))
def test_recalculated_costs_equal_those_of_events_recorded_at_these_prices(
    tx: Transaction, events: list[dict[str, Any]], prices: list[tuple[str, int]], batch: int
) -> None:
    # A separate time range, because small batches through the events of all other tests would take long.
    at = datetime.now(UTC) - timedelta(days=6, hours=7)
    minute = timedelta(minutes=1)
    with tx.connection.transaction(force_rollback=True):
        recalculated, recorded = new_user(tx), new_user(tx)
        for event in events:
            recalculated.records(request_id=request_id(at.timestamp()), **event)
        for model, rate in prices:
            price(tx, model=model, input=rate, output=rate)
            recalculate(tx, batch, p_from=at - minute, p_until=at + minute)
        for event in events:
            recorded.records(request_id=request_id(at.timestamp()), **event)
        assert line(recalculated) == line(recorded)
        assert tx.admin.rpc("check_llm_usage", p_since=at.date())["differing"] == 0
        recalculated_attempts, recorded_attempts = (
            sorted(
                (attempt["cost_status"], attempt["cost"] or 0)
                for receipt in user.rpc("list_llm_requests")
                for attempt in receipt["attempts"]
            )
            for user in (recalculated, recorded)
        )
        assert recalculated_attempts == recorded_attempts


def test_concurrent_recalculations_append_each_difference_once(http: Http) -> None:
    user = new_user(http)
    model = f"m-{user.id}"
    for _ in range(40):
        user.records(**{**MILLION, "model": model})
    http.admin.rpc(
        "set_llm_price",
        p_provider="groq",
        p_model=model,
        p_rates={"input": 2, "output": 2},
        p_valid_from=(datetime.now(UTC) - timedelta(days=1)).isoformat(),
    )
    with ThreadPoolExecutor(4) as pool:
        recalculating = [pool.submit(recalculate, http, 7) for _ in range(4)]
        recording = [pool.submit(user.records, **{**MILLION, "model": model}) for _ in range(20)]
        assert all(it.result()["done"] for it in recalculating)
        assert all(it.result() for it in recording)
    assert line(user) == (120, 0, 0)
    assert http.admin.rpc("check_llm_usage")["differing"] == 0
