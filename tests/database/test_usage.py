"""Usage: one event per attempt, recorded once and never changed, and totals that are always exact."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.ledger import new_team
from tests.database.support import (
    Caller,
    Http,
    Transaction,
    new_user,
    owner,
    refused,
    request_id,
    usage_event,
)
from tests.support import unique

DAY = 24 * 3600


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


@pytest.mark.parametrize("detail", [{"service_tier": "flex"}, {"other_tokens": {"input_audio": 1}}])
def test_an_attempt_of_an_unpriced_model_is_recorded_with_all_details(
    user: Caller, detail: dict[str, Any]
) -> None:
    assert user.records(model="unpriced-model", input_tokens=1, **detail)
    (event,) = user.rpc("list_llm_usage_events")
    assert (event["cost_status"], event["cost"]) == ("unpriced", None)


COUNTS = {
    "requests": "count(*) filter (where attempt = 1)",
    "attempts": "count(*)",
    "fallbacks": "count(*) filter (where attempt = 2)",
    "failures": "count(*) filter (where outcome = 'failed')",
    "cancelled": "count(*) filter (where outcome = 'cancelled')",
    "input_tokens": "coalesce(sum(input_tokens), 0)",
    "cached_input_tokens": "coalesce(sum(cached_input_tokens), 0)",
    "output_tokens": "coalesce(sum(output_tokens), 0)",
    "reasoning_tokens": "coalesce(sum(reasoning_tokens), 0)",
    "unpriced": "count(*) filter (where cost is null)",
}

# The expected totals, computed from the events.
SUMS = f"""
select date_trunc('day', llm_private.uuid_v7_time(request_id), 'UTC') as starts_at,
  provider, model, task, key_source,
  {", ".join(f"{sum_}::bigint as {name}" for name, sum_ in COUNTS.items())},
  max(llm_private.uuid_v7_time(request_id)) as last_used_at
from public.llm_usage_events where user_id = %s group by 1, 2, 3, 4, 5
order by starts_at desc, provider, model, task, key_source
"""


# Recording ----------------------------------------------------------------------------------------


def test_an_attempt_is_recorded_once(tx: Transaction, user: Caller) -> None:
    event = {"request_id": request_id(), "input_tokens": 10, "output_tokens": 5}
    assert user.records(**event) is True
    assert user.records(**event) is False
    assert user.records(**{**event, "input_tokens": 99, "model": "another", "outcome": "cancelled"}) is False
    assert user.records(**event, attempt=2) is True
    (line,) = user.rpc("get_llm_usage")
    assert (line["requests"], line["attempts"], line["input_tokens"]) == (1, 2, 20)
    assert tx.value("select count(*) from public.llm_usage_events where user_id = %s", user.id) == 2


def test_two_users_can_use_the_same_request_id(tx: Transaction, user: Caller) -> None:
    shared, other = request_id(), new_user(tx)
    assert user.records(request_id=shared)
    assert other.records(request_id=shared)
    assert len(user.rpc("get_llm_usage")) == len(other.rpc("get_llm_usage")) == 1


def test_concurrent_recording_stores_an_attempt_once(http: Http) -> None:
    user, event = new_user(http), request_id()
    with ThreadPoolExecutor(16) as pool:
        recorded = list(pool.map(lambda _: user.records(request_id=event, input_tokens=1), range(32)))
    assert sorted(recorded) == [False] * 31 + [True]
    (line,) = user.rpc("get_llm_usage")
    assert (line["attempts"], line["input_tokens"]) == (1, 1)


def test_totals_equal_the_sums_of_events_after_concurrent_recording(http: Http) -> None:
    user = new_user(http)
    key = user.holds_key("groq")["id"]
    chance = random.Random(7)

    def event() -> dict[str, Any]:
        outcome = chance.choice(["succeeded", "succeeded", "failed", "cancelled"])
        cached, reasoning = chance.randrange(100), chance.randrange(100)
        return {
            "request_id": request_id(time.time() - chance.choice([0, 0, 0, DAY, 2 * DAY])),
            "attempt": chance.choice([1, 1, 2]),
            "task": chance.choice([None, "speed"]),
            "model": chance.choice(["a", "b"]),
            "key_source": "user",
            "key_id": chance.choice([None, key]),
            "outcome": outcome,
            "error_class": "server_error" if outcome == "failed" else None,
            "input_tokens": chance.choice([None, 100 + cached]),
            "output_tokens": reasoning + 10,
            "reasoning_tokens": reasoning,
        }

    events = [event() for _ in range(300)]
    again = events + chance.sample(events, 30)
    with ThreadPoolExecutor(32) as pool:
        recorded = list(pool.map(lambda changes: user.records(**changes), again))
    assert recorded.count(True) == 300
    with owner(http.stack) as connection:
        expected = connection.execute(SUMS, [user.id]).fetchall()
    lines = user.rpc("get_llm_usage")
    for line in lines:
        line.update({name: datetime.fromisoformat(line[name]) for name in ("starts_at", "last_used_at")})
    assert [{name: line[name] for name in expected[0]} for line in lines] == expected


def test_an_attempt_recorded_by_two_recorders_counts_once_for_each(tx: Transaction, user: Caller) -> None:
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))
    event = request_id()
    user.through(runtime["secret"]).records(request_id=event, output_tokens=7)
    user.records(request_id=event, output_tokens=7)
    recorders = tx.sql("select recorder::text from public.llm_usage_events where request_id = %s", event)
    assert {row["recorder"] for row in recorders} == {user.id, runtime["id"]}
    assert tx.sql(SUMS, user.id)[0]["output_tokens"] == user.rpc("get_llm_usage")[0]["output_tokens"] == 14


# Reports ------------------------------------------------------------------------------------------


def test_usage_is_reported_by_day_provider_model_task_and_key_source(user: Caller, runtime: str) -> None:
    for changes in (
        {},
        {"model": "b"},
        {"task": "speed"},
        {"provider": "openai"},
        {"key_source": "operator"},
    ):
        user.through(runtime).records(**changes)
    lines = user.rpc("get_llm_usage")
    assert len(lines) == 5
    assert {line["starts_at"] for line in lines} == {f"{datetime.now(UTC).date()}T00:00:00+00:00"}


def test_usage_counts_on_the_utc_day_of_its_request(user: Caller) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    user.records(request_id=request_id(today.timestamp() - 0.001), model="yesterday")
    user.records(request_id=request_id(today.timestamp()), model="today")
    assert {line["model"]: line["starts_at"] for line in user.rpc("get_llm_usage")} == {
        "today": today.isoformat(),
        "yesterday": (today - timedelta(days=1)).isoformat(),
    }


def test_a_report_covers_only_the_requested_days(user: Caller) -> None:
    today = datetime.now(UTC).date()
    for days in (0, 2, 4):
        user.records(request_id=request_id(time.time() - days * DAY), model=f"m{days}")

    def models(since: int | None, until: int | None) -> list[str]:
        dates = [None if days is None else today - timedelta(days=days) for days in (since, until)]
        return [line["model"] for line in user.rpc("get_llm_usage", p_since=dates[0], p_until=dates[1])]

    assert models(None, None) == ["m0", "m2", "m4"]
    assert models(2, None) == ["m0", "m2"]
    assert models(None, 1) == ["m2", "m4"]
    assert models(3, 1) == ["m2"]
    assert models(1, 3) == []


def test_a_cancelled_attempt_is_not_a_failure(user: Caller) -> None:
    user.records(outcome="cancelled", output_tokens=3)
    (line,) = user.rpc("get_llm_usage")
    assert (line["attempts"], line["failures"], line["output_tokens"]) == (1, 0, 3)


# Invalid events -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("request_id", "a493fa76-b075-4b56-adcc-fe3af8287c7a"),
        ("request_id", "00000000-0000-7000-8000-000000000000"),
        ("request_id", "ffffffff-ffff-7fff-bfff-ffffffffffff"),
        ("request_id", None),
        ("attempt", 0),
        ("attempt", -1),
        ("attempt", 1001),
        ("attempt", None),
        ("provider", None),
        ("provider", ""),
        ("provider", "Groq"),
        ("provider", "x" * 33),
        ("model", None),
        ("model", ""),
        ("model", "a b"),
        ("model", "x" * 201),
        ("task", ""),
        ("task", "x" * 65),
        ("key_source", None),
        ("key_source", "mine"),
        ("outcome", None),
        ("outcome", "ok"),
        ("error_class", "auth"),
        ("streamed", None),
        ("latency_ms", -1),
    ],
)
def test_the_error_names_the_invalid_argument(
    tx: Transaction, user: Caller, argument: str, value: Any
) -> None:
    with refused("invalid_argument", 400) as error:
        user.records(**{argument: value})
    assert error.value.message.startswith(f"p_{argument} ")
    assert "Allowed: " in error.value.hint
    assert tx.value("select count(*) from public.llm_usage_events where user_id = %s", user.id) == 0


@pytest.mark.parametrize("error_class", [None, "", "oops"])
def test_a_failure_requires_a_valid_error_class(user: Caller, error_class: str | None) -> None:
    with refused("invalid_argument", 400) as error:
        user.records(outcome="failed", error_class=error_class)
    assert error.value.message.startswith("p_error_class ")


@pytest.mark.parametrize(
    "tokens",
    [
        {"input_tokens": -1},
        {"output_tokens": -1},
        {"cached_input_tokens": -1},
        {"reasoning_tokens": -1},
        {"input_tokens": 5, "cached_input_tokens": 6},
        {"output_tokens": 5, "reasoning_tokens": 6},
        {"cached_input_tokens": 6},
        {"reasoning_tokens": 6},
        # Each is a valid count, and their sum is greater than an integer can be.
        {"other_tokens": dict.fromkeys(("input_audio", "input_image", "input_video"), 999_999_999)},
        {"other_tokens": dict.fromkeys(("output_audio", "output_image", "output_video"), 999_999_999)},
    ],
)
def test_invalid_token_counts_are_refused(user: Caller, tokens: dict[str, Any]) -> None:
    with refused("invalid_argument", 400) as error:
        user.records(**tokens)
    assert "token" in error.value.message
    assert user.rpc("get_llm_usage") == []


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [(-7 * DAY + 60, True), (-7 * DAY - 60, False), (9 * 60, True), (11 * 60, False)],
)
def test_a_request_from_the_future_or_older_than_a_week_is_refused(
    user: Caller, seconds: int, taken: bool
) -> None:
    event = request_id(time.time() + seconds)
    if taken:
        assert user.records(request_id=event)
    else:
        with refused("invalid_argument", 400) as error:
            user.records(request_id=event)
        assert error.value.message.startswith("p_request_id ")


@pytest.mark.parametrize("value", ["2147483648", "1e400", '"many"', "1.5", "[]"])
def test_an_invalid_number_is_refused_over_http(http: Http, value: str) -> None:
    user = new_user(http)
    event = ", ".join(f'"{name}": "{given}"' for name, given in usage_event().items())
    content = f'{{{event}, "p_input_tokens": {value}}}'
    assert http.send(user, "POST", "rpc/record_llm_usage", content=content).status_code == 400
    assert user.rpc("get_llm_usage") == []


# Invented usage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key_source", ["team", "operator"])
def test_only_a_runtime_records_the_use_of_keys_that_only_runtimes_get(
    tx: Transaction, user: Caller, runtime: str, key_source: str
) -> None:
    team = new_team(tx.connection) if key_source == "team" else None
    with refused("runtime_required", 403):
        user.records(key_source=key_source, team_id=team)
    assert user.through(runtime).records(key_source=key_source, team_id=team)


@pytest.mark.parametrize("outcome", [{}, {"outcome": "failed", "error_class": "auth"}])
def test_usage_of_an_unknown_provider_is_refused(user: Caller, runtime: str, outcome: dict[str, str]) -> None:
    for caller in (user, user.through(runtime)):
        with refused("unknown_provider", 404):
            caller.records(provider="nope", **outcome)
    assert user.rpc("get_llm_usage") == []


def test_names_beyond_the_limit_are_recorded_as_other(tx: Transaction, user: Caller, runtime: str) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"usage_names_per_day": 5})
    tx.admin.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 1, "output": 1})
    user.rpc("set_llm_quota", p_quota={"limit": 99, "unit": "requests", "period": "day", "task": "metered"})
    for caller in (user, user.through(runtime)):
        for number in range(20):
            caller.records(task=f"task {number}", input_tokens=1000)
        for number in range(20):
            caller.records(model=f"model-{number}", task=f"task {number}", input_tokens=1000)
        caller.records(task="task 3", input_tokens=1000)
        caller.records(task="metered", input_tokens=1000)
    lines = user.rpc("get_llm_usage", p_bucket=None, p_by=["model", "task", "recorded_by"])
    assert sum(line["input_tokens"] for line in lines) == 2 * 42_000
    assert sum(line["cost"] for line in lines) == pytest.approx(2 * 0.042)
    for recorder in ("user", "runtime"):
        attempts = {
            (line["model"], line["task"]): line["attempts"]
            for line in lines
            if line["recorded_by"] == recorder
        }
        assert len(attempts) <= 2 * 5 + 2
        assert attempts["llama-3.1-8b-instant", "task 3"] == 2
        assert attempts["llama-3.1-8b-instant", "metered"] == 1
        assert attempts["llama-3.1-8b-instant", "(other)"] == 15
        assert attempts["(other)", "(other)"] == 16
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0
    assert "(other)" not in [it["model"] for it in user.rpc("list_llm_models", p_provider="groq")]
    tx.admin.rpc(
        "set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 9}, p_valid_from="2020-01-01"
    )
    tx.admin.rpc("recalculate_llm_costs", p_batch=10_000)
    (other,) = [
        it for it in user.rpc("get_llm_usage", p_bucket=None, p_by=["model"]) if it["model"] == "(other)"
    ]
    assert other["cost"] == pytest.approx(2 * 0.016)


def test_caches_of_prices_do_not_grow_with_invented_names(tx: Transaction, user: Caller) -> None:
    for table in (
        "charges (provider, model, key_source, holds_from, holds_until, input_above, input_up_to)"
        " select 'groq', 'invented-' || n, 'user', '-infinity', 'infinity', -1, 9",
        "price_names (provider, model) select 'groq', 'invented-' || n",
    ):
        tx.sql(f"insert into llm_private.{table} from generate_series(1, 5000) as n")
    user.records(model="one-more", input_tokens=1)
    for table in ("charges", "price_names"):
        assert tx.value(f"select count(*) from llm_private.{table} where provider = 'groq'") < 10


def test_a_report_shows_who_recorded_usage(tx: Transaction, user: Caller, runtime: str) -> None:
    hour = time.time() - 3 * 3600
    price = {"p_provider": "groq", "p_model": "*", "p_rates": {"input": 1}, "p_valid_from": "2020-01-01"}
    tx.admin.rpc("set_llm_price", **price)
    before = {
        line["recorded_by"]: line["input_tokens"]
        for line in tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["recorded_by"])
    }
    user.records(request_id=request_id(hour), input_tokens=500)
    user.through(runtime).records(request_id=request_id(hour), input_tokens=70)
    for rolled_up in (False, True):
        if rolled_up:
            tx.admin.rpc("run_llm_maintenance")
        lines = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["recorded_by"])
        tokens = {
            line["recorded_by"]: line["input_tokens"] - before.get(line["recorded_by"], 0) for line in lines
        }
        assert tokens == {"user": 500, "runtime": 70}
        (line,) = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=[], p_recorded_by="runtime")
        assert line["input_tokens"] - before.get("runtime", 0) == 70
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0
    own = user.rpc("get_llm_usage", p_bucket=None, p_by=[], p_recorded_by="user")
    assert [line["input_tokens"] for line in own] == [500]
    with refused("invalid_argument", 400):
        user.rpc("get_llm_usage", p_recorded_by="me")


def test_a_default_report_is_bounded_and_says_how_much_is_missing(tx: Transaction, user: Caller) -> None:
    tx.sql(
        "insert into public.llm_usage_totals (user_id, hour, provider, model, task, key_source, recorder,"
        " latency_counts, last_used_at, attempts)"
        " select %s, date_trunc('hour', now()), 'groq', repeat('m', 190) || n, 't', 'user', %s,"
        " array_fill(0, '{40}'), now(), 1 from generate_series(1, 3000) as n",
        user.id, user.id,
    )  # fmt: skip
    lines = user.rpc("get_llm_usage")
    assert len(lines) == 1000
    assert {line["report_lines"] for line in lines} == {3000}
    assert len(str(lines)) < 1_000_000
    assert len(user.rpc("get_llm_usage", p_limit=10_000)) == 3000
    with refused("invalid_argument", 400):
        user.rpc("get_llm_usage", p_limit=10_001)


# Append-only tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["llm_usage_events", "llm_usage_totals", "llm_audit_log"])
def test_no_caller_can_change_recorded_rows(tx: Transaction, user: Caller, table: str) -> None:
    user.records()
    user.holds_key("groq")
    column = "action" if table == "llm_audit_log" else "model"
    before = tx.sql(f"select * from public.{table} where user_id = %s", user.id)
    assert before
    for caller in (user, new_user(tx), tx.anon, tx.admin):
        for statement in (
            f"update public.{table} set {column} = 'x'",
            f"delete from public.{table}",
            f"truncate public.{table}",
            f"insert into public.{table} default values",
            f"alter table public.{table} disable row level security",
            f"drop table public.{table}",
        ):
            with refused("42501"), tx.as_role(caller) as connection:
                connection.execute(statement)
    assert tx.sql(f"select * from public.{table} where user_id = %s", user.id) == before


# The audit log ------------------------------------------------------------------------------------


def test_the_audit_log_is_paged_newest_first(user: Caller) -> None:
    for number in range(7):
        user.rpc("set_llm_settings", p_changes={"task_overrides": {f"t{number}": {"provider": "groq"}}})
    lines = user.rpc("get_llm_audit_log")
    assert [line["detail"]["version"] for line in lines] == [8, 7, 6, 5, 4, 3, 2]
    first = user.rpc("get_llm_audit_log", p_limit=3)
    rest = user.rpc("get_llm_audit_log", p_limit=50, p_before=first[-1]["id"])
    assert first + rest == lines


@pytest.mark.parametrize(("limit", "lines"), [(0, 1), (-5, 1), (None, 2), (10**6, 2)])
def test_an_out_of_range_limit_is_clamped(user: Caller, limit: int | None, lines: int) -> None:
    user.holds_key("groq")
    user.holds_key("groq")
    assert len(user.rpc("get_llm_audit_log", p_limit=limit)) == lines
