"""Quota reservations: made before a request runs, then settled, replaced, released or expired."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from tests.database.metering import (
    assert_exact,
    clear_usage,
    counter,
    expire,
    figures,
    prices,
    reservations,
    reserves,
    resolves,
    sets,
)
from tests.database.support import Caller, Refused, Transaction, new_user, refused, request_id
from tests.support import unique


@pytest.fixture
def user(tx: Transaction) -> Caller:
    """A user with keys for Groq, the default, and OpenAI, at a dollar per million tokens."""
    user = new_user(tx)
    for provider in ("groq", "openai"):
        user.holds_key(provider)
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    prices(tx, "groq", "openai")
    return user


def state(user: Caller, quota: dict[str, Any]) -> tuple[float, float]:
    """Return the used and the reserved amount of a quota."""
    line = figures(user, quota["id"])
    return line["used"], line["reserved"]


# The route ----------------------------------------------------------------------------------------


def test_a_route_without_quotas_has_no_quota_fields(user: Caller) -> None:
    route = user.rpc("resolve_llm_route", p_task="speed")
    assert route.keys() == {"task", "team_id", "version", "candidates", "expires_at", "ticket"}
    assert [candidate["metered"] for candidate in route["candidates"]] == [False, False]


@pytest.mark.parametrize(("unit", "reserved"), [("requests", 1), ("tokens", 1500), ("cost", 0.0015)])
def test_a_route_reserves_the_most_that_its_first_candidate_may_use(
    user: Caller, unit: str, reserved: float
) -> None:
    quota = sets(user, 10_000, unit)
    _, route = resolves(user, input_tokens=500, output_tokens=1000)
    assert route["candidates"][0]["metered"] is True
    assert route.get("max_output_tokens") == (None if unit == "requests" else 1000)
    assert state(user, quota) == (0, reserved)


ALIAS = {"provider": "google", "model": "models/gemini-2.5-pro"}


def test_a_model_costs_the_same_under_each_of_its_names(tx: Transaction) -> None:
    user = new_user(tx)
    user.holds_key("google")
    price = tx.admin.rpc(
        "set_llm_price",
        p_provider="google",
        p_model="Models/Gemini-2.5-Pro",
        p_rates={"input": 0, "output": 7},
    )
    assert price["model"] == "gemini-2.5-pro"
    quota = sets(user, 1, "cost", provider="google")
    request, route = resolves(user, model="google/models/gemini-2.5-pro", output_tokens=1000)
    assert route["candidates"][0]["model"] == "gemini-2.5-pro"
    assert state(user, quota) == (0, 0.007)
    reserves(user, request, **ALIAS)
    assert state(user, quota) == (0, 0.007)
    user.records(request_id=request, **ALIAS, output_tokens=100)
    assert state(user, quota) == (0.0007, 0)
    listed = user.rpc("list_llm_prices", p_provider=ALIAS["provider"], p_model=ALIAS["model"])
    assert (listed[0]["id"], listed[0]["in_force"]) == (price["id"], True)
    recorded = tx.sql(
        "select model from public.llm_usage_events where user_id = %s"
        " union select model from public.llm_usage_totals where user_id = %s",
        user.id, user.id,
    )  # fmt: skip
    assert [row["model"] for row in recorded] == ["gemini-2.5-pro"]


def test_a_request_reserves_at_the_price_of_its_service_tier(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc(
        "set_llm_price",
        p_provider="groq",
        p_model="*",
        p_rates={"input": 3, "output": 3},
        p_service_tier="priority",
    )
    quota = sets(user, 1, "cost")
    for tier, reserved in (("priority", 0.003), ("flex", 0.001), ("default", 0.001), (None, 0.001)):
        request, _ = resolves(user, output_tokens=1000, service_tier=tier)
        assert state(user, quota) == (0, reserved)
        user.rpc("release_llm_request", p_request_id=request)
        reserves(user, request, service_tier=tier)
        assert state(user, quota) == (0, reserved)
        user.rpc("release_llm_request", p_request_id=request)


@pytest.mark.parametrize("tier", ["", "Priority", "a b", "x" * 33])
def test_an_invalid_service_tier_is_refused(user: Caller, tier: str) -> None:
    with refused("invalid_argument", 400):
        user.rpc("resolve_llm_route", p_service_tier=tier)
    with refused("invalid_argument", 400):
        reserves(user, request_id(), service_tier=tier)


def test_unbounded_output_reserves_the_amount_set_by_the_operator(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"unbounded_output_tokens": 777})
    quota = sets(user, 10_000, "tokens")
    _, route = resolves(user)
    assert route["max_output_tokens"] == 777
    assert state(user, quota) == (0, 777)


def test_a_candidate_over_quota_is_skipped_and_the_next_one_is_reserved(user: Caller) -> None:
    groq, every = sets(user, 0, provider="groq"), sets(user, 5)
    _, route = resolves(user)
    assert [candidate["provider"] for candidate in route["candidates"]] == ["openai"]
    assert state(user, every) == (0, 1)
    assert state(user, groq) == (0, 0)


def test_a_provider_over_quota_with_one_model_is_tried_with_another(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_price", p_provider="groq", p_model="expensive", p_rates={"output": 1000})
    sets(user, 1, "cost")
    user.rpc(
        "set_llm_settings",
        p_changes={"task_overrides": {"speed": {"provider": "groq", "model": "cheap", "fallbacks": []}}},
    )
    _, route = resolves(user, model="groq/expensive", output_tokens=2000)
    assert [candidate["model"] for candidate in route["candidates"]] == ["cheap"]


def test_the_quota_error_shows_usage_reservations_and_the_reset_time(user: Caller) -> None:
    quota = sets(user, 1000, "tokens")
    user.records(output_tokens=600)
    resolves(user, output_tokens=250)
    with refused("quota_exceeded", 429) as error:
        resolves(user, output_tokens=151)
    message = error.value.message
    assert "1000 tokens a day" in message
    assert "600 tokens used, 250 tokens reserved" in message
    resets = figures(user, quota["id"])["resets_at"][:10]
    assert f"resets at {resets}" in message
    resolves(user, output_tokens=150)


def test_a_request_over_the_quotas_of_all_candidates_is_refused(user: Caller) -> None:
    sets(user, 5, "cost", provider="openai")
    sets(user, 0, provider="groq")
    with refused("quota_exceeded"):
        resolves(user, model="openai/gpt", output_tokens=2**31 - 1)
    sets(user, 1, "cost", key_source="user")
    with refused("quota_exceeded"):
        resolves(user, output_tokens=2**31 - 1)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("p_request_id", {"request": str(uuid.uuid4())}),
        ("p_request_id", {"request": request_id(time.time() - 25 * 3600)}),
        ("p_request_id", {"request": request_id(time.time() + 24 * 3600)}),
        ("p_input_tokens or", {"input_tokens": -1}),
        ("p_input_tokens or", {"output_tokens": -1}),
    ],
)
def test_the_error_names_the_invalid_argument(user: Caller, name: str, changes: dict[str, Any]) -> None:
    sets(user, 5)
    with refused("invalid_argument", 400) as error:
        resolves(user, **changes)
    assert error.value.message.startswith(name)


def test_a_metered_route_requires_a_request_id(user: Caller) -> None:
    sets(user, 5, enforced=False)
    with refused("invalid_argument", 400) as error:
        user.rpc("resolve_llm_route", p_task="speed")
    assert error.value.message.startswith("p_request_id ")


def test_the_largest_token_counts_do_not_overflow(user: Caller) -> None:
    quota = sets(user, 10**14, "tokens")
    largest = 2**31 - 1
    request, _ = resolves(user, input_tokens=largest, output_tokens=largest)
    user.records(request_id=request, input_tokens=largest, output_tokens=largest)
    assert state(user, quota) == (2 * largest, 0)


def test_explaining_a_route_shows_quotas_and_reserves_nothing(user: Caller) -> None:
    groq = sets(user, 1, provider="groq")
    unpriced = sets(user, 1, "cost", provider="openai")
    user.records()
    explained = user.rpc("explain_llm_route", p_task="speed", p_model="openai/unpriced")
    assert explained["candidates"] == [] or {c["provider"] for c in explained["candidates"]} == {"openai"}
    skipped = {line["provider"]: line for line in explained["skipped"] if line["quota"]}
    line = skipped["groq"]
    assert line["reason"] == "quota_exceeded"
    assert "1 request used" in line["message"]
    assert (line["quota"]["id"], line["quota"]["used"], line["quota"]["limit"]) == (groq["id"], 1, 1)
    assert line["quota"]["resets_at"] is not None
    assert state(user, unpriced) == (0, 0)


def test_explaining_a_route_shows_models_without_a_price(tx: Transaction, user: Caller) -> None:
    user = new_user(tx)
    user.holds_key("mistral")
    quota = sets(user, 1, "cost")
    explained = user.rpc("explain_llm_route", p_model="mistral/unpriced")
    (line,) = [line for line in explained["skipped"] if line["quota"]]
    assert (line["reason"], line["quota"]["id"]) == ("model_unpriced", quota["id"])
    assert "price" in explained["advice"]


# Settling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "used"),
    [
        ({"input_tokens": 100, "output_tokens": 200}, {"requests": 1, "tokens": 300, "cost": 0.0003}),
        ({"input_tokens": 5000, "output_tokens": 4000}, {"requests": 1, "tokens": 9000, "cost": 0.009}),
        # Without reported usage, the whole reservation counts.
        ({}, {"requests": 1, "tokens": 1500, "cost": 0.0015}),
        ({"outcome": "cancelled"}, {"requests": 1, "tokens": 1500, "cost": 0.0015}),
        ({"outcome": "cancelled", "output_tokens": 7}, {"requests": 1, "tokens": 7, "cost": 0.000007}),
        ({"outcome": "failed", "error_class": "timeout"}, {"requests": 0, "tokens": 0, "cost": 0}),
        (
            {"outcome": "failed", "error_class": "timeout", "input_tokens": 10},
            {"requests": 0, "tokens": 10, "cost": 0.00001},
        ),
    ],
)
def test_an_attempt_is_settled_with_its_usage(
    tx: Transaction, user: Caller, event: dict[str, Any], used: dict[str, float]
) -> None:
    quotas = {unit: sets(user, 10_000, unit) for unit in used}
    request, _ = resolves(user, input_tokens=500, output_tokens=1000)
    user.records(request_id=request, **event)
    assert {unit: state(user, quota) for unit, quota in quotas.items()} == {
        unit: (amount, 0) for unit, amount in used.items()
    }
    assert reservations(tx.connection, request) == 0


def test_an_attempt_is_settled_once(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 5)
    request, _ = resolves(user)
    assert user.records(request_id=request) is True
    assert user.records(request_id=request) is False
    assert state(user, quota) == (1, 0)
    assert_exact(tx.connection)


def test_usage_without_a_reservation_is_counted(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 1)
    for _ in range(3):
        user.records()
    assert state(user, quota) == (3, 0)
    assert_exact(tx.connection)


def test_an_attempt_counts_for_the_provider_that_ran_it(tx: Transaction, user: Caller) -> None:
    groq, openai = sets(user, 5, provider="groq"), sets(user, 5, provider="openai")
    request, _ = resolves(user)
    assert (state(user, groq), state(user, openai)) == ((0, 1), (0, 0))
    user.records(request_id=request, provider="openai", model="gpt")
    assert (state(user, groq), state(user, openai)) == ((0, 0), (1, 0))
    assert_exact(tx.connection)


def test_a_quota_set_while_a_request_runs_counts_the_request(tx: Transaction, user: Caller) -> None:
    gone = sets(user, 5)
    request, _ = resolves(user)
    user.rpc("remove_llm_quota", p_id=gone["id"])
    late = sets(user, 5)
    assert state(user, late) == (0, 0)
    user.records(request_id=request)
    assert state(user, late) == (1, 0)
    assert_exact(tx.connection)


def test_attempts_can_be_settled_in_any_order(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 10_000, "tokens")
    first, _ = resolves(user, output_tokens=100)
    reserves(user, first, attempt=2, output_tokens=200)
    second, _ = resolves(user, output_tokens=400)
    assert state(user, quota) == (0, 700)
    user.records(request_id=second, output_tokens=1)
    user.records(request_id=first, attempt=2, output_tokens=2)
    assert state(user, quota) == (3, 100)
    user.records(request_id=first, output_tokens=4)
    assert state(user, quota) == (7, 0)
    assert_exact(tx.connection)


# Fallbacks ----------------------------------------------------------------------------------------


def test_a_fallback_candidate_replaces_the_reservation_of_its_attempt(tx: Transaction, user: Caller) -> None:
    groq, openai, every = (
        sets(user, 5000, "tokens", provider="groq"),
        sets(user, 5000, "tokens", provider="openai"),
        sets(user, 5000, "tokens"),
    )
    request, _ = resolves(user, output_tokens=1000)
    assert [state(user, quota)[1] for quota in (groq, openai, every)] == [1000, 0, 1000]
    reserves(user, request, provider="openai", output_tokens=2000)
    assert [state(user, quota)[1] for quota in (groq, openai, every)] == [0, 2000, 2000]
    reserves(user, request, attempt=2, output_tokens=300)
    assert [state(user, quota)[1] for quota in (groq, openai, every)] == [300, 2000, 2300]
    assert_exact(tx.connection)


def test_reserving_an_attempt_again_does_not_count_its_own_reservation(user: Caller) -> None:
    quota = sets(user, 1)
    request, _ = resolves(user)
    for _ in range(3):
        reserves(user, request)
        resolves(user, request)
    assert state(user, quota) == (0, 1)


def test_a_refused_reservation_changes_nothing(tx: Transaction, user: Caller) -> None:
    sets(user, 0, provider="openai")
    every = sets(user, 5)
    request, _ = resolves(user)
    with refused("quota_exceeded", 429):
        reserves(user, request, attempt=2, provider="openai")
    assert state(user, every) == (0, 1)
    with refused("invalid_argument", 400):
        reserves(user, request, attempt=0)
    with refused("invalid_argument", 400):
        reserves(user, request_id(0))
    assert_exact(tx.connection)


def test_reserving_without_quotas_does_nothing(tx: Transaction, user: Caller) -> None:
    request = request_id()
    reserves(user, request)
    assert reservations(tx.connection, request) == 0


# Released and expired -----------------------------------------------------------------------------


def test_releasing_a_request_frees_all_of_its_reservations_and_no_others(
    tx: Transaction, user: Caller
) -> None:
    quota = sets(user, 10)
    request, _ = resolves(user)
    reserves(user, request, attempt=2)
    other, _ = resolves(user)
    for _ in range(2):
        user.rpc("release_llm_request", p_request_id=request)
        assert state(user, quota) == (0, 1)
    assert (reservations(tx.connection, request), reservations(tx.connection, other)) == (0, 1)
    user.records(request_id=request)
    assert state(user, quota) == (1, 1)
    assert_exact(tx.connection)


def test_a_lost_request_holds_no_reservation_after_it_expires(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 1)
    request, _ = resolves(user)
    with refused("quota_exceeded"):
        resolves(user)
    expire(tx.connection, request)
    assert state(user, quota) == (0, 0)
    after, _ = resolves(user)
    assert reservations(tx.connection, request) == 0
    # Usage that is recorded late still counts.
    user.records(request_id=request)
    assert state(user, quota) == (1, 1)
    user.records(request_id=after)
    assert state(user, quota) == (2, 0)
    assert_exact(tx.connection)


def test_usage_that_is_never_recorded_counts_in_the_operators_quota(tx: Transaction, user: Caller) -> None:
    quota = sets(tx.admin, 5, user_id=user.id)
    lost, _ = resolves(user)
    expire(tx.connection, lost)
    assert state(user, quota) == (1, 0)
    resolves(user)
    assert state(user, quota) == (1, 1)
    # Usage that is recorded late replaces the reservation.
    user.records(request_id=lost)
    assert state(user, quota) == (1, 1)
    tx.admin.rpc("set_llm_operator_settings", p_changes={"unsettled_reservations": "free"})
    free, _ = resolves(user)
    expire(tx.connection, free)
    assert state(user, quota) == (1, 1)
    assert_exact(tx.connection)


def test_expired_reservations_in_alert_only_quotas_are_freed(tx: Transaction, user: Caller) -> None:
    sets(user, 10**6, enforced=False)
    lost = [resolves(user)[0] for _ in range(5)]
    for request in lost:
        expire(tx.connection, request)
    resolves(user)
    assert tx.value("select count(*) from llm_private.reservations where user_id = %s", user.id) == 1


def test_the_operator_sets_how_long_a_reservation_lasts(tx: Transaction, user: Caller) -> None:
    sets(user, 5)
    for seconds in (30, 86_400):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"reservation_seconds": seconds})
        request, _ = resolves(user)
        lasts = "select extract(epoch from expires_at - now())::integer from llm_private.reservations"
        assert tx.value(f"{lasts} where request_id = %s", request) == seconds
    for value in (29, 0, -1, 86_401, None, "soon"):
        with refused("invalid_setting", 400):
            tx.admin.rpc("set_llm_operator_settings", p_changes={"reservation_seconds": value})


# Ownership ----------------------------------------------------------------------------------------


def test_only_the_runtime_that_reserved_can_settle_or_release(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    other = tx.admin.rpc("register_llm_runtime", p_name=unique("another"))["secret"]
    quota = sets(user, 100, "tokens")
    through = user.through(runtime)
    request, _ = resolves(through, output_tokens=50)
    for intruder in (user, user.through(other), new_user(tx), new_user(tx).through(runtime)):
        intruder.rpc("release_llm_request", p_request_id=request)
        reserves(intruder, request, output_tokens=0, input_tokens=0)
        intruder.rpc("release_llm_request", p_request_id=request)
        intruder.records(request_id=request, output_tokens=1)
        assert state(user, quota)[1] == 50
    through.records(request_id=request, output_tokens=10)
    # The user and the other runtime each recorded 1 token for this user.
    assert state(user, quota) == (12, 0)
    assert_exact(tx.connection)


def test_an_unknown_runtime_cannot_reserve_or_release(user: Caller) -> None:
    sets(user, 5)
    made_up = user.through("slr_made-up")
    for function, arguments in (
        ("release_llm_request", {"p_request_id": request_id()}),
        (
            "reserve_llm_attempt",
            {
                "p_request_id": request_id(),
                "p_attempt": 1,
                "p_provider": "groq",
                "p_model": "m",
                "p_key_source": "user",
            },
        ),
    ):
        with refused("runtime_unknown", 403):
            made_up.rpc(function, **arguments)


def test_a_user_without_a_runtime_reserves_nothing_in_a_shared_quota(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    clear_usage(tx)
    quota = sets(tx.admin, 5, shared=True)
    resolves(user)
    assert counter(tx.connection, quota["id"], "00000000-0000-0000-0000-000000000000") == (0, 0)
    resolves(user.through(runtime))
    assert counter(tx.connection, quota["id"], "00000000-0000-0000-0000-000000000000") == (0, 1)


def test_no_reservation_remains_after_every_kind_of_request(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    clear_usage(tx)
    sets(tx.admin, 40, "requests", "lifetime", shared=True)
    for unit in ("requests", "tokens", "cost"):
        sets(user, 20_000 if unit == "tokens" else 20, unit)
    begun = []
    for number in range(40):
        caller = user.through(runtime) if number % 2 else user
        try:
            request, _ = resolves(caller, output_tokens=1000)
        except Refused:
            continue
        begun.append(request)
        match number % 5:
            case 0:
                caller.records(request_id=request, output_tokens=900)
            case 1:
                caller.rpc("release_llm_request", p_request_id=request)
            case 2:
                expire(tx.connection, request)
            case 3:
                caller.records(request_id=request, outcome="failed", error_class="server_error")
                reserves(caller, request, attempt=2, provider="openai", model="gpt")
                caller.records(request_id=request, attempt=2, provider="openai", model="gpt")
            case 4:
                caller.records(request_id=request, outcome="cancelled")
        assert_exact(tx.connection)
    tx.sql(
        "select llm_private.open_counters("
        "%s, array[%s, llm_private.operator_id()], array(select id from llm_private.quotas))",
        user.id,
        user.id,
    )
    held = "select count(*) from llm_private.reservations where user_id = %s and not counted"
    assert tx.value(held, user.id) == 0
    assert tx.value("select sum(reserved) from llm_private.quota_counters where owner = %s", user.id) == 0
    assert_exact(tx.connection)


# Reserving ahead ----------------------------------------------------------------------------------


def ahead(user: Caller, requests: int = 10, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Resolve a route for several requests of 1000 tokens."""
    return resolves(user, requests=requests, **{"input_tokens": 400, "output_tokens": 600, **arguments})


@pytest.mark.parametrize(("unit", "each"), [("requests", 1), ("tokens", 1000), ("cost", 0.001)])
def test_a_route_reserves_for_several_requests_of_its_size(user: Caller, unit: str, each: float) -> None:
    quota = sets(user, 100_000, unit)
    reserved, route = ahead(user)
    assert route["reserved_requests"] == 10
    used, reserved_amount = state(user, quota)
    assert used == 0
    assert reserved_amount == pytest.approx(10 * each)
    user.records(request_id=reserved, input_tokens=400, output_tokens=100)
    user.records(reservation=reserved, input_tokens=400, output_tokens=100)
    used, left = state(user, quota)
    assert left == pytest.approx(8 * each)
    assert used == pytest.approx(2 if unit == "requests" else each)


@pytest.mark.parametrize(("limit", "requests"), [(800, 10), (79, 9), (16, 2), (15, 1), (1, 1)])
def test_reserving_ahead_takes_at_most_an_eighth_of_what_is_left(
    user: Caller, limit: int, requests: int
) -> None:
    sets(user, limit)
    assert ahead(user)[1]["reserved_requests"] == requests


def test_the_quota_with_the_least_left_decides(user: Caller) -> None:
    sets(user, 1_000_000, "tokens")
    small = sets(user, 24)
    assert ahead(user)[1]["reserved_requests"] == 3
    assert state(user, small) == (0, 3)


def test_an_alert_only_quota_does_not_limit_reserving_ahead(user: Caller) -> None:
    sets(user, 1, enforced=False)
    assert ahead(user)[1]["reserved_requests"] == 10


def test_unused_requests_are_released(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 100)
    reserved, _ = ahead(user)
    user.rpc("release_llm_request", p_request_id=reserved, p_requests=4)
    assert state(user, quota) == (0, 6)
    user.rpc("release_llm_request", p_request_id=reserved, p_requests=100)
    assert state(user, quota) == (0, 0)
    assert reservations(tx.connection, reserved) == 0
    assert_exact(tx.connection)


def test_requests_beyond_the_reserved_ones_are_counted(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 100)
    reserved, _ = ahead(user, 2)
    for _ in range(4):
        user.records(reservation=reserved)
    assert state(user, quota) == (4, 0)
    assert_exact(tx.connection)


def test_a_request_reserved_ahead_counts_in_the_period_in_which_it_begins(
    tx: Transaction, user: Caller
) -> None:
    quota = sets(user, 100)
    reserved, route = ahead(user)
    assert route["reserved_until"] <= route["expires_at"]
    for table in ("quota_counters", "reservations"):
        tx.sql(f"update llm_private.{table} set starts_at = starts_at - interval '2 days'")
    tx.sql("update llm_private.quota_counters set ends_at = ends_at - interval '2 days'")
    sets(user, 101)  # which begins the new period
    user.records(reservation=reserved)
    assert state(user, quota) == (1, 0)


@pytest.mark.parametrize("value", [0, -1, 1001, None])
def test_the_number_of_requests_is_checked(user: Caller, value: int | None) -> None:
    sets(user, 10_000)
    with refused("invalid_argument", 400) as error:
        resolves(user, requests=value)
    assert error.value.message.startswith("p_requests ")


def test_a_candidate_that_no_quota_counts_reserves_nothing(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 5, provider="openai")
    route = user.rpc("resolve_llm_route", p_task="speed")  # needs no request ID either
    assert [(it["provider"], it["metered"]) for it in route["candidates"]] == [
        ("groq", False),
        ("openai", True),
    ]
    assert route["reserved_requests"] is None
    assert state(user, quota) == (0, 0)


# Unsettled reservations ---------------------------------------------------------------------------


def test_an_unsettled_reservation_counts_as_used_in_an_operators_quota(tx: Transaction, user: Caller) -> None:
    """Otherwise, whoever does not report usage would not pay for it."""
    quota = sets(tx.admin, 1000, "tokens", user_id=user.id)
    lost, _ = ahead(user)
    expire(tx.connection, lost)
    assert state(user, quota) == (1000, 0)
    with refused("quota_exceeded", 429):
        resolves(user)
    assert_exact(tx.connection)


def test_a_late_record_corrects_an_unsettled_reservation(tx: Transaction, user: Caller) -> None:
    quota = sets(tx.admin, 100_000, "tokens", user_id=user.id)
    lost, _ = ahead(user, 2)
    expire(tx.connection, lost)
    resolves(user, input_tokens=0, output_tokens=1)  # finds that it has expired
    assert state(user, quota) == (2000, 1)
    user.records(request_id=lost, input_tokens=10, output_tokens=5)
    assert state(user, quota) == (1015, 1)
    user.rpc("release_llm_request", p_request_id=lost)
    assert state(user, quota) == (15, 1)
    assert_exact(tx.connection)


def test_an_unsettled_reservation_is_forgotten_with_its_period(tx: Transaction, user: Caller) -> None:
    quota = sets(tx.admin, 100, user_id=user.id)
    lost, _ = ahead(user)
    expire(tx.connection, lost)
    resolves(user)
    for column in ("starts_at", "ends_at"):
        tx.sql(f"update llm_private.quota_counters set {column} = {column} - interval '2 days'")
    tx.sql("update llm_private.reservations set starts_at = starts_at - interval '2 days'")
    resolves(user)
    assert state(user, quota) == (0, 1)
    assert reservations(tx.connection, lost) == 0


def test_the_operator_can_free_unsettled_reservations(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"unsettled_reservations": "free"})
    quota = sets(tx.admin, 100, user_id=user.id)
    lost, _ = ahead(user)
    expire(tx.connection, lost)
    resolves(user)
    assert state(user, quota) == (0, 1)


def test_an_unsettled_reservation_in_a_users_own_quota_is_freed(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 100)
    lost, _ = ahead(user)
    expire(tx.connection, lost)
    resolves(user)
    assert state(user, quota) == (0, 1)


# Shares of one request ----------------------------------------------------------------------------


def test_one_request_cannot_reserve_most_of_a_shared_quota(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    clear_usage(tx)
    sets(tx.admin, 10_000, "tokens", shared=True)
    through = user.through(runtime)
    resolves(through, output_tokens=2500)
    with refused("request_too_large", 422) as error:
        resolves(through, output_tokens=2501)
    assert "at most 2500 tokens" in error.value.message
    tx.admin.rpc("set_llm_operator_settings", p_changes={"largest_request_percent": 100})
    resolves(through, output_tokens=7500)


def test_the_largest_share_does_not_limit_other_quotas(user: Caller) -> None:
    sets(user, 10_000, "tokens")
    sets(user, 1)
    resolves(user, output_tokens=10_000)
