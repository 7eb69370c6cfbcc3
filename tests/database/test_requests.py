"""Receipts, events, forecasts and hints: the details behind a user's totals."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.ledger import backfill, price
from tests.database.support import Caller, Transaction, new_user, refused, request_id
from tests.support import unique

MILLION = {"input_tokens": 10**6, "output_tokens": 0}


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


# Receipts -----------------------------------------------------------------------------------------


def test_a_receipt_lists_its_attempts_in_order_with_their_costs(tx: Transaction, user: Caller) -> None:
    price(tx, model="expensive", input=2, output=2)
    request = request_id()
    # The second attempt is recorded first.
    user.records(
        request_id=request, attempt=2, model="expensive", task="code", service_tier="flex", **MILLION
    )
    user.records(request_id=request, model="other", task="code", outcome="failed", error_class="rate_limited")
    (receipt,) = user.rpc("list_llm_requests")
    assert (str(receipt["request_id"]), receipt["task"], receipt["outcome"]) == (request, "code", "succeeded")
    assert (receipt["cost"], receipt["unpriced"], receipt["unreported"]) == (2, 0, 0)
    first, second = receipt["attempts"]
    assert (first["model"], first["error_class"], first["cost"], first["attempt"]) == (
        "other",
        "rate_limited",
        0,
        1,
    )
    assert (second["model"], second["service_tier"], second["cost"]) == ("expensive", "flex", 2)


@pytest.mark.parametrize(
    ("model", "tokens", "status"),
    [("unknown", MILLION, "unpriced"), ("expensive", {}, "unreported"), ("expensive", MILLION, "priced")],
)
def test_a_receipt_states_why_a_cost_is_unknown(
    tx: Transaction, user: Caller, model: str, tokens: dict[str, int], status: str
) -> None:
    price(tx, model="expensive", input=2, output=2)
    user.records(model=model, **tokens)
    (receipt,) = user.rpc("list_llm_requests")
    (attempt,) = receipt["attempts"]
    assert attempt["cost_status"] == status
    assert (receipt["cost"] is None) is (attempt["cost"] is None) is (status != "priced")


def test_receipts_are_paged_newest_first(user: Caller) -> None:
    requests = [request_id(time.time() - seconds) for seconds in range(7)]
    for request in requests:
        user.records(request_id=request)
        user.records(request_id=request, attempt=2)
    found = user.rpc("list_llm_requests")
    assert [str(it["request_id"]) for it in found] == requests
    first = user.rpc("list_llm_requests", p_limit=3)
    assert first + user.rpc("list_llm_requests", p_before=first[-1]["request_id"]) == found


def test_a_user_reads_only_their_own_receipts(tx: Transaction, user: Caller) -> None:
    user.records()
    assert new_user(tx).rpc("list_llm_requests") == []


# Events -------------------------------------------------------------------------------------------


def pages(caller: Caller, function: str, limit: int, **arguments: Any) -> list[dict[str, Any]]:
    """Read all events page by page."""
    found, after = [], None
    while page := caller.rpc(function, p_limit=limit, p_after=after, **arguments):
        assert len(page) <= limit
        found += page
        after = page[-1]["cursor"]
    return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_paging_through_events_returns_each_one_once(tx: Transaction, user: Caller, limit: int) -> None:
    other = new_user(tx)
    for days in (40, 3, 1, 0):
        for caller in (user, other):
            backfill(tx, caller, datetime.now(UTC) - timedelta(days=days))
    own = pages(user, "list_llm_usage_events", limit)
    assert [event["user_id"] for event in own] == [own[0]["user_id"]] * 4
    assert [event["requested_at"] for event in own] == sorted(event["requested_at"] for event in own)
    all_events = pages(tx.admin, "list_llm_usage_events", limit)
    assert len(all_events) == tx.value("select count(*) from public.llm_usage_events")
    assert len({event["cursor"] for event in all_events}) == len(all_events)
    assert [event for event in all_events if str(event["user_id"]) == user.id] == own
    assert pages(tx.admin, "list_llm_usage_events", limit, p_user_id=user.id) == own


def test_only_events_of_the_requested_time_range_are_listed(tx: Transaction, user: Caller) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (1, 2, 3):
        backfill(tx, user, now - timedelta(hours=hours))
    found = user.rpc(
        "list_llm_usage_events", p_since=now - timedelta(hours=2), p_until=now - timedelta(hours=1)
    )
    assert [event["requested_at"] for event in found] == [now - timedelta(hours=2)]


@pytest.mark.parametrize("cursor", ["", "x", "1/2/3/4", "' or true --"])
def test_an_invalid_cursor_is_refused(user: Caller, cursor: str) -> None:
    with refused("invalid_argument", 400):
        user.rpc("list_llm_usage_events", p_after=cursor)


def test_another_users_cursor_does_not_show_their_events(tx: Transaction, user: Caller) -> None:
    user.records()
    (event,) = user.rpc("list_llm_usage_events")
    other = new_user(tx)
    assert other.rpc("list_llm_usage_events", p_after=event["cursor"]) == []


# Forecast -----------------------------------------------------------------------------------------


def test_a_forecast_extends_the_average_of_the_last_seven_days(tx: Transaction, user: Caller) -> None:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for days in range(1, 9):
        backfill(tx, user, midnight - timedelta(days=days) + timedelta(hours=5), cost=days)
    backfill(tx, user, now, cost=0.5)
    forecast = user.rpc("get_llm_forecast")
    assert forecast["daily_average"] == pytest.approx(sum(range(1, 8)) / 7, abs=1e-6)
    month = midnight.replace(day=1)
    so_far = 0.5 + sum(days for days in range(1, 9) if midnight - timedelta(days=days) >= month)
    assert forecast["cost_so_far"] == so_far
    month_ends = (month + timedelta(days=32)).replace(day=1)
    left = (month_ends - now) / timedelta(days=1)
    assert forecast["forecast"] == pytest.approx(so_far + left * sum(range(1, 8)) / 7, abs=0.01)


def test_a_new_users_average_covers_the_days_since_their_first_usage(tx: Transaction, user: Caller) -> None:
    assert user.rpc("get_llm_forecast")["forecast"] is None
    backfill(tx, user, datetime.now(UTC), cost=2)
    today = user.rpc("get_llm_forecast")
    assert (today["cost_so_far"], today["days_averaged"], today["forecast"]) == (2, 0, None)
    backfill(tx, user, datetime.now(UTC) - timedelta(days=2), cost=3)
    two = user.rpc("get_llm_forecast")
    assert (two["days_averaged"], two["daily_average"]) == (2, 1.5)


def test_unpriced_usage_is_not_forecast(tx: Transaction, user: Caller) -> None:
    for days in (0, 1):
        backfill(tx, user, datetime.now(UTC) - timedelta(days=days), cost=None)
    forecast = user.rpc("get_llm_forecast")
    assert (forecast["daily_average"], forecast["forecast"]) == (None, None)
    assert forecast["unpriced"] >= 1


# Hints --------------------------------------------------------------------------------------------


def hints(user: Caller, kind: str) -> list[dict[str, Any]]:
    return [hint for hint in user.rpc("list_llm_hints") if hint["kind"] == kind]


def test_a_hint_names_a_cheaper_model_of_the_same_provider(tx: Transaction, user: Caller) -> None:
    price(tx, "gpt-5", "openai", input=8, output=8)
    price(tx, "gpt-5-nano", "openai", input=1, output=1)
    price(tx, "llama-3.1-8b-instant", "groq", input=0.01, output=0.01)
    through = user.through(tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"])
    for payer in ("user", "user", "operator"):
        tokens = {"input_tokens": 10**5, "output_tokens": 10}
        through.records(provider="openai", model="gpt-5", task="code", key_source=payer, **tokens)
    (hint,) = hints(user, "cheaper_model")
    assert (hint["task"], hint["model"], hint["other_model"]) == ("code", "gpt-5", "gpt-5-nano")
    assert hint["cost_30d"] == pytest.approx(3 * 8 * 0.10001)
    assert (hint["would_have_cost"], hint["ratio"]) == (pytest.approx(3 * 0.10001), 0.125)
    assert hint["message"] == (
        "The task code runs on gpt-5: for the same tokens, gpt-5-nano of the same provider would have cost "
        "about 88% less in the last 30 days."
    )


@pytest.mark.parametrize(
    "event",
    [
        {"model": "gpt-5-nano"},
        {"model": "gpt-5", "output_tokens": None},
        {"model": "unpriced"},
        {
            "model": "gpt-5",
            "outcome": "failed",
            "error_class": "timeout",
            "input_tokens": None,
            "output_tokens": None,
        },
    ],
    ids=["the cheapest", "no text", "no price", "nothing but failures"],
)
def test_no_hint_is_given_without_a_comparison_of_costs(
    tx: Transaction, user: Caller, event: dict[str, Any]
) -> None:
    price(tx, "gpt-5", "openai", input=8, output=8)
    price(tx, "gpt-5-nano", "openai", input=1, output=1)
    user.records(**{"provider": "openai", "input_tokens": 10**5, "output_tokens": 10, **event})
    assert user.rpc("list_llm_hints") == []


def test_an_embedding_model_is_not_suggested_as_a_cheaper_model(tx: Transaction, user: Caller) -> None:
    price(tx, "gpt-5", "openai", input=8, output=8)
    price(tx, "text-embedding-3-small", "openai", input=0.02, output=0)
    user.records(provider="openai", model="gpt-5", input_tokens=10**5, output_tokens=10)
    user.records(provider="openai", model="text-embedding-3-small", input_tokens=1000)
    assert hints(user, "cheaper_model") == []


@pytest.mark.parametrize(("tokens", "given"), [(9_999, False), (10_000, True)])
def test_a_hint_saves_at_least_a_cent(tx: Transaction, user: Caller, tokens: int, given: bool) -> None:
    price(tx, "gpt-5", "openai", input=2, output=0)
    price(tx, "gpt-5-nano", "openai", input=1, output=0)
    price(tx, "cached", input=1, cached_input=0.1, cache_write=2, output=1)
    user.records(provider="openai", model="gpt-5", input_tokens=tokens, output_tokens=10)
    user.records(model="cached", input_tokens=tokens, cache_write_tokens=tokens, output_tokens=0)
    assert [hint["kind"] for hint in user.rpc("list_llm_hints")] == (
        ["cheaper_model", "cache_loss"] if given else []
    )


def test_a_hint_names_a_cache_that_cost_more_than_it_saved(tx: Transaction, user: Caller) -> None:
    price(tx, "cached", input=1, cached_input=0.1, cache_write=2, output=1)
    user.records(model="cached", input_tokens=10**6, cache_write_tokens=10**6, output_tokens=0)
    (hint,) = hints(user, "cache_loss")
    assert (hint["model"], hint["lost"]) == ("cached", 1)
    for _ in range(3):
        user.records(model="cached", input_tokens=10**6, cached_input_tokens=10**6, output_tokens=0)
    assert hints(user, "cache_loss") == []


@pytest.mark.parametrize(("attempts", "failures", "named"), [(20, 4, True), (20, 3, False), (19, 19, False)])
def test_a_hint_names_a_provider_that_fails_often(
    user: Caller, attempts: int, failures: int, named: bool
) -> None:
    for number in range(attempts):
        failed = {"outcome": "failed", "error_class": "server_error"} if number < failures else {}
        user.records(**failed)
    assert [(it["attempts"], it["failures"]) for it in hints(user, "failing")] == (
        [(attempts, failures)] if named else []
    )
