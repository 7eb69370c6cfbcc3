"""Maintenance: retention of events without a change of reports, and checks for wrong totals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.ledger import backfill, project_attempts
from tests.database.support import Caller, Transaction, new_user, owner, refused
from tests.support import Stack


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def months_ago(count: int) -> datetime:
    """Return noon on the tenth of an earlier month."""
    at = datetime.now(UTC).replace(day=10, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(count):
        at = (at.replace(day=1) - timedelta(days=1)).replace(day=10)
    return at


def partition(at: datetime) -> str:
    return f"llm_usage_events_{at:%Y_%m}"


def kept(tx: Transaction, user: Caller) -> list[str]:
    return [
        event["requested_at"].strftime("%Y-%m") for event in user.rpc("list_llm_usage_events", p_limit=1000)
    ]


@pytest.fixture
def old(tx: Transaction, user: Caller) -> Caller:
    """A user with usage in five months; that of the oldest month is in the default partition."""
    for count in range(1, 5):
        if count < 4:
            tx.sql(
                "select llm_private.add_month_partition('llm_usage_events', 'request_id', %s)",
                months_ago(count).date(),
            )
        event = backfill(tx, user, months_ago(count))
        tx.sql(
            "insert into public.llm_usage_adjustments"
            " (user_id, request_id, attempt, recorder, recalculation_id, cost, price_id)"
            " values (%s, %s, 1, %s, 0, 0, 1)",
            user.id,
            event["request_id"],
            user.id,
        )
    user.records()
    return user


def maintain(tx: Transaction) -> dict[str, Any]:
    done = tx.admin.rpc("run_llm_maintenance")
    assert isinstance(done, dict)
    return done


def test_events_are_kept_indefinitely_by_default(tx: Transaction, old: Caller) -> None:
    assert maintain(tx)["dropped_months"] == []
    assert len(kept(tx, old)) == 5


@pytest.mark.parametrize("months", [2, 3, 4])
def test_old_months_are_dropped_and_reports_do_not_change(tx: Transaction, old: Caller, months: int) -> None:
    everything = {"p_since": "2000-01-01", "p_bucket": "month"}
    before = old.rpc("get_llm_usage", **everything), project_attempts(tx)
    tx.admin.rpc("set_llm_operator_settings", p_changes={"events_kept_months": months})
    dropped = maintain(tx)["dropped_months"]
    assert dropped == [f"{months_ago(count):%Y-%m}" for count in (4, 3, 2, 1) if count >= months]
    assert kept(tx, old) == [f"{months_ago(count):%Y-%m}" for count in reversed(range(months))]
    assert (
        tx.value("select count(*) from public.llm_usage_adjustments where user_id = %s", old.id) == months - 1
    )
    assert (old.rpc("get_llm_usage", **everything), project_attempts(tx)) == before
    for count in range(1, 4):
        exists = tx.value("select to_regclass(%s) is not null", f"llm_private.{partition(months_ago(count))}")
        assert exists is (count < months)
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0, "dropped events are not compared"
    assert maintain(tx)["dropped_months"] == []


def test_a_longer_retention_does_not_restore_dropped_events(tx: Transaction, old: Caller) -> None:
    for months in (2, 12, None):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"events_kept_months": months})
        maintain(tx)
        assert len(kept(tx, old)) == 2
        assert tx.admin.rpc("check_llm_usage")["differing"] == 0


@pytest.mark.parametrize("months", [0, 1, -3, 1201, "many", 2.5])
def test_an_invalid_number_of_months_to_keep_is_refused(tx: Transaction, months: Any) -> None:
    with refused("invalid_setting", 400):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"events_kept_months": months})


def test_dropping_old_events_does_not_wait_for_readers(stack: Stack) -> None:
    at = months_ago(6)
    with owner(stack) as connection, owner(stack) as reading:
        connection.execute(
            "select llm_private.add_month_partition('llm_usage_events', 'request_id', %s)", [at.date()]
        )
        connection.execute("update llm_private.operator_settings set events_kept_months = 6")
        connection.execute("set statement_timeout = '10s'")
        dropped = "select llm_private.drop_old_events() as it"
        try:
            with reading.transaction():
                reading.execute("select count(*) from public.llm_usage_events")
                assert connection.execute(dropped).fetchone() == {"it": None}
            assert connection.execute(dropped).fetchone() == {"it": [f"{at:%Y-%m}"]}
        finally:
            connection.execute("update llm_private.operator_settings set events_kept_months = null")
            connection.execute("update llm_private.usage_retention set events_since = '-infinity'")


def test_maintenance_creates_the_partitions_of_coming_months(tx: Transaction) -> None:
    ahead = datetime.now(UTC).replace(day=1) + timedelta(days=3 * 31 + 1)
    tx.sql(f"drop table if exists llm_private.{partition(ahead)}")
    maintain(tx)
    assert tx.value("select to_regclass(%s) is not null", f"llm_private.{partition(ahead)}")


# Usage check --------------------------------------------------------------------------------------


def check(tx: Transaction, **days: Any) -> dict[str, Any]:
    found = tx.admin.rpc("check_llm_usage", **days)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("day", ["-infinity", "4714-11-24 BC", "infinity", "5874897-12-31"])
@pytest.mark.parametrize("bound", ["p_since", "p_until"])
def test_a_check_accepts_every_day(tx: Transaction, bound: str, day: str) -> None:
    assert check(tx, **{bound: day})["differing"] == 0


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("attempts = attempts + 1", {"attempts": 1}),
        ("cost = cost - 0.5", {"cost": -0.5}),
        ("unpriced = unpriced + 2, unreported = 1", {"unpriced": 2, "unreported": 1}),
        ("output_tokens = 0", {"output_tokens": -5}),
        ("latency_counts[3] = 4", {"latency_counts 3": 4}),
        ("last_used_at = last_used_at + interval '1 second'", {"last_used_at": 1}),
    ],
)
def test_a_check_reports_a_wrong_total(
    tx: Transaction, user: Caller, change: str, difference: dict[str, Any]
) -> None:
    backfill(tx, user, datetime.now(UTC) - timedelta(days=2), task="code")
    assert check(tx)["differing"] == 0
    tx.sql(f"update public.llm_usage_totals set {change} where user_id = %s", user.id)
    found = check(tx)
    assert found["differing"] == 1
    (line,) = found["differences"]
    assert (line["totals"], line["user_id"], line["model"], line["task"]) == ("users", user.id, "m", "code")
    assert line["differences"] == difference


def test_a_check_reports_a_missing_total_and_one_without_events(tx: Transaction, user: Caller) -> None:
    backfill(tx, user, datetime.now(UTC))
    tx.sql("update public.llm_usage_totals set model = 'other' where user_id = %s", user.id)
    found = check(tx)["differences"]
    assert {line["model"]: line["differences"]["attempts"] for line in found} == {"m": -1, "other": 1}


@pytest.mark.parametrize("span", ["hour", "day"])
def test_a_check_reports_a_wrong_project_total(tx: Transaction, user: Caller, span: str) -> None:
    backfill(tx, user, datetime.now(UTC) - timedelta(days=2), model="project-total")
    maintain(tx)
    assert check(tx)["differing"] == 0
    tx.sql(
        "update llm_private.project_totals set cost = cost + 1, latency_counts[2] = 9"
        " where model = 'project-total' and span = %s",
        span,
    )
    (line,) = check(tx)["differences"]
    assert (line["totals"], line["user_id"], line["differences"]) == (
        span,
        None,
        {"cost": 1, "latency_counts 2": 9},
    )


def test_a_check_finds_no_difference_in_an_empty_ledger(tx: Transaction) -> None:
    for table in ("public.llm_usage_events", "public.llm_usage_totals", "llm_private.usage_rollups"):
        tx.sql(f"delete from {table}")
    found = check(tx)
    assert (found["first_day"], found["differing"]) == (None, 0)


def test_a_check_covers_only_the_requested_days(tx: Transaction, user: Caller) -> None:
    day = datetime.now(UTC).date() - timedelta(days=2)
    backfill(tx, user, datetime.now(UTC) - timedelta(days=2))
    tx.sql("update public.llm_usage_totals set attempts = 9 where user_id = %s", user.id)
    after, before = day + timedelta(days=1), day - timedelta(days=1)
    assert check(tx, p_since=day, p_until=day)["differing"] == 1
    assert check(tx, p_since=after)["differing"] == 0
    assert check(tx, p_since=before, p_until=before)["differing"] == 0
