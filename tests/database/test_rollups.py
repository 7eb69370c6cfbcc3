"""Project totals are rolled up during recording, and the project report is exact at every moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.ledger import backfill, project_attempts
from tests.database.support import Connection, Http, Transaction, new_user, owner, request_id, usage_event
from tests.support import Stack, wait_until

HOUR, DAY = 3600, 24 * 3600

# The sums of all users' totals, by the columns of a report.
SUMS = """
select date_trunc('day', hour, 'UTC') as starts_at, model, sum(attempts)::bigint as attempts,
  sum(input_tokens)::bigint as input_tokens, sum(unpriced)::bigint as unpriced,
  max(last_used_at) as last_used_at
from public.llm_usage_totals group by 1, 2
"""


def project(tx: Transaction) -> list[dict[str, Any]]:
    """Return the project report with the columns of SUMS."""
    lines = tx.admin.rpc("get_llm_usage", p_since="2000-01-01", p_by=["model"])
    return [
        {
            **{name: line[name] for name in ("model", "attempts", "input_tokens", "unpriced")},
            **{name: datetime.fromisoformat(line[name]) for name in ("starts_at", "last_used_at")},
        }
        for line in lines
    ]


def sums(tx: Transaction) -> list[dict[str, Any]]:
    return tx.sql(SUMS)


def as_set(lines: list[dict[str, Any]]) -> set[Any]:
    return {tuple(sorted(line.items())) for line in lines}


def rollups(tx: Transaction, **where: Any) -> int:
    conditions = " and ".join(f"{name} = %s" for name in where) or "true"
    count: int = tx.value(
        f"select count(*) from llm_private.usage_rollups where {conditions}", *where.values()
    )
    return count


def roll_up_all(tx: Transaction) -> None:
    for _ in range(50):
        if tx.admin.rpc("run_llm_maintenance")["hours_left"] == 0:
            return
    raise AssertionError("rolling up does not end")


STEPS = st.one_of(
    st.tuples(st.just("record"), st.integers(0, 7 * DAY - 600), st.sampled_from("ab")),
    st.tuples(st.just("rollup"), st.sampled_from(["0 seconds", "20 milliseconds", "5 seconds"])),
    st.tuples(st.just("recalculate")),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=2, max_size=10))
def test_the_project_report_is_exact_after_any_sequence_of_operations(
    tx: Transaction, steps: list[tuple[Any, ...]]
) -> None:
    with tx.connection.transaction(force_rollback=True):
        user = new_user(tx)
        for number, step in enumerate(steps):
            match step:
                case "record", seconds, model:
                    user.records(request_id=request_id(time.time() - seconds), model=model, input_tokens=7)
                case "rollup", budget:
                    tx.sql("select llm_private.roll_up_usage(%s::interval)", budget)
                case _:
                    tx.admin.rpc(
                        "set_llm_price",
                        p_provider="groq",
                        p_model="*",
                        p_rates={"input": number, "output": number},
                        p_valid_from=datetime.now(UTC) - timedelta(days=30),
                    )
                    tx.admin.rpc("recalculate_llm_costs", p_batch=10_000)
            assert as_set(project(tx)) == as_set(sums(tx))
        assert tx.admin.rpc("check_llm_usage")["differing"] == 0


def test_only_completed_hours_and_days_are_rolled_up(tx: Transaction) -> None:
    user = new_user(tx)
    for days in (0, 1, 3):
        user.records(request_id=request_id(time.time() - days * DAY))
    roll_up_all(tx)
    now = datetime.now(UTC)
    assert rollups(tx, stale=True) == 0
    assert tx.value(
        "select max(starts_at) from llm_private.usage_rollups where span = 'hour'"
    ) <= now - timedelta(hours=1)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert rollups(tx, span="day", starts_at=today - timedelta(days=2)) == 1
    assert rollups(tx, span="day", starts_at=today) == 0


def test_a_rolled_up_day_has_one_row_for_all_users(tx: Transaction) -> None:
    users = [new_user(tx) for _ in range(20)]
    at = datetime.now(UTC) - timedelta(days=3)
    for user in users:
        backfill(tx, user, at, model="rolled_up")
    roll_up_all(tx)
    kept = tx.value(
        "select count(*) from llm_private.project_totals where model = 'rolled_up' and span = 'day'"
    )
    assert kept == 1


def test_a_rolled_up_report_does_not_read_every_users_totals(tx: Transaction) -> None:
    backfill(tx, new_user(tx), datetime.now(UTC) - timedelta(days=3), model="many")
    columns = tx.value(
        "select string_agg(column_name, ', ') from information_schema.columns"
        " where table_name = 'llm_usage_totals' and column_name not in ('user_id', 'id')"
    )
    tx.sql(
        f"insert into public.llm_usage_totals (user_id, {columns})"
        f" select gen_random_uuid(), {columns} from public.llm_usage_totals, generate_series(1, 10000)"
        " where model = 'many'"
    )
    tx.sql("analyze public.llm_usage_totals")
    read = (
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'llm_usage_totals'"
    )
    before = tx.value(read)
    project(tx)
    rolled_up = tx.value(read)
    assert rolled_up - before > 10_000, "to roll them up"
    for _ in range(7):  # Until PostgreSQL uses a generic plan.
        lines = project(tx)
    assert sum(line["attempts"] for line in lines if line["model"] == "many") == 10_001
    assert tx.value(read) - rolled_up < 5_000


def test_a_late_event_is_reported_at_once_and_rolled_up_again(tx: Transaction) -> None:
    user = new_user(tx)
    user.records(request_id=request_id(time.time() - 3 * DAY))
    roll_up_all(tx)
    before = project_attempts(tx)
    user.records(request_id=request_id(time.time() - 3 * DAY))
    assert rollups(tx, stale=True) == 2, "the hour and its day"
    assert project_attempts(tx) == before + 1
    assert rollups(tx, stale=True) == 0, "a report rolls up"
    assert project_attempts(tx) == before + 1


def test_an_event_of_the_current_hour_marks_no_rollup_as_stale(tx: Transaction) -> None:
    roll_up_all(tx)
    new_user(tx).records()
    assert rollups(tx, stale=True) == 0


def test_a_report_in_a_read_only_transaction_includes_all_usage(stack: Stack, http: Http) -> None:
    user = new_user(http)
    user.records(request_id=request_id(time.time() - 2 * DAY), model="read-only")
    with owner(stack) as connection, connection.transaction():
        connection.execute("set transaction read only")
        connection.execute("select set_config('role', 'service_role', true)")
        row = connection.execute("select public.get_llm_usage(p_by => '{model}') as it").fetchone()
    assert row is not None
    assert sum(line["attempts"] for line in row["it"] if line["model"] == "read-only") >= 1


# Concurrency --------------------------------------------------------------------------------------


@pytest.fixture
def late(http: Http, stack: Stack) -> Iterator[tuple[Connection, Connection, str]]:
    """Two connections, and a request in an hour of two days ago that is rolled up."""
    user = new_user(http)
    event = request_id(time.time() - 2 * DAY)
    user.records(request_id=event)
    with owner(stack) as recording, owner(stack) as rolling_up:
        while not http.admin.rpc("run_llm_maintenance")["done"]:
            pass
        recording.execute("select set_config('request.jwt.claims', %s, false)", [f'{{"sub": "{user.id}"}}'])
        yield recording, rolling_up, event


def record(connection: Connection, at: str) -> None:
    """Record an attempt in the same hour as another request."""
    event = usage_event(request_id=at[:13] + request_id()[13:], model="racing")
    named = ", ".join(f"{name} => %({name})s" for name in event)
    connection.execute(f"select public.record_llm_usage({named})", event)


def reported(connection: Connection) -> int:
    """Return the attempts of the model `racing` in the project report."""
    with connection.transaction():
        connection.execute("select set_config('role', 'service_role', true)")
        row = connection.execute(
            "select public.get_llm_usage(p_since => '2000-01-01', p_bucket => null, p_by => '{model}') as it"
        ).fetchone()
    assert row is not None
    return sum(line["attempts"] for line in row["it"] if line["model"] == "racing")


def test_an_event_that_commits_after_a_rollup_began_is_not_lost(
    late: tuple[Connection, Connection, str],
) -> None:
    recording, rolling_up, event = late
    record(recording, event)
    before = reported(rolling_up)
    with recording.transaction():
        record(recording, event)
        assert reported(rolling_up) == before, "an uncommitted event is not counted"
    assert reported(rolling_up) == before + 1


def test_an_event_waits_for_the_rollup_of_its_hour_and_marks_it_as_stale(
    late: tuple[Connection, Connection, str], stack: Stack
) -> None:
    recording, rolling_up, event = late
    record(recording, event)
    waiting = "select from pg_stat_activity where wait_event = 'advisory' and pid = %s"
    with ThreadPoolExecutor(1) as pool, owner(stack) as watching:
        with rolling_up.transaction():
            rolling_up.execute("select llm_private.roll_up_usage('5 seconds')")
            recorded = pool.submit(record, recording, event)
            wait_until(lambda: watching.execute(waiting, [recording.info.backend_pid]).fetchall())
        recorded.result()
        stale = watching.execute(
            "select count(*) as it from llm_private.usage_rollups where stale"
        ).fetchone()
        assert stale == {"it": 2}
        committed = watching.execute(
            "select sum(attempts)::integer as it from public.llm_usage_totals where model = 'racing'"
        ).fetchone()
        assert committed == {"it": reported(watching)}


def test_a_second_concurrent_rollup_returns_without_waiting(stack: Stack) -> None:
    rollup = "select llm_private.roll_up_usage('1 second') as it"
    with owner(stack) as one, owner(stack) as other, one.transaction():
        assert one.execute(rollup).fetchone() != {"it": None}
        other.execute("set statement_timeout = '5s'")
        assert other.execute(rollup).fetchone() == {"it": None}


def test_concurrent_late_recording_and_reporting_lose_no_usage(http: Http, stack: Stack) -> None:
    users = [new_user(http) for _ in range(4)]
    chance = random.Random(11)
    stop = threading.Event()

    def keep_recording(user: Any) -> None:
        for _ in range(60):
            at = time.time() - chance.choice([0, HOUR, 2 * DAY, 2 * DAY, 3 * DAY])
            user.records(request_id=request_id(at), model="racing", latency_ms=chance.randrange(1, 5000))

    def keep_reporting() -> list[int]:
        counts = []
        with owner(stack) as connection:
            while not stop.is_set():
                counts.append(reported(connection))
        return counts

    with owner(stack) as connection:
        before = reported(connection)
    with ThreadPoolExecutor(6) as pool:
        reports = [pool.submit(keep_reporting) for _ in range(2)]
        for done in [pool.submit(keep_recording, user) for user in users]:
            done.result()
        stop.set()
        counts = [report.result() for report in reports]
    for seen in counts:
        assert seen == sorted(seen), "a reported count never decreases"
    with owner(stack) as connection:
        assert reported(connection) == before + 240
        while not http.admin.rpc("run_llm_maintenance")["done"]:
            pass
        assert reported(connection) == before + 240
    assert http.admin.rpc("check_llm_usage")["differing"] == 0
