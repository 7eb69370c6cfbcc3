"""Reports: whole days in any time zone, exact sums, and unpriced usage that never looks free."""

from __future__ import annotations

import random
import statistics
import uuid
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.ledger import attempts, backfill, price, project_attempts
from tests.database.support import Caller, Transaction, new_user, refused, request_id

# Including clock changes at midnight and by half an hour, and local hours that begin at :30 and :45 UTC.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
# Days on which clocks change in some of these zones.
CHANGES = (
    datetime(2026, 3, 8, 5, tzinfo=UTC),
    datetime(2026, 3, 29, 0, tzinfo=UTC),
    datetime(2026, 4, 5, 3, tzinfo=UTC),
    datetime(2026, 9, 6, 4, tzinfo=UTC),
    datetime(2026, 10, 25, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 4, tzinfo=UTC),
)
MOMENTS = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from(CHANGES),
    st.integers(-40 * 60, 40 * 60),
)

property_of_the_database = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def local_day(at: datetime, zone: str) -> date:
    """Return the local day on which the UTC hour of a moment begins."""
    return at.replace(minute=0, second=0, microsecond=0).astimezone(ZoneInfo(zone)).date()


@property_of_the_database
@given(moments=st.lists(MOMENTS, min_size=1, max_size=12), zone=st.sampled_from(ZONES), data=st.data())
def test_days_follow_the_time_zone_across_clock_changes(
    tx: Transaction, moments: list[datetime], zone: str, data: st.DataObject
) -> None:
    expected = Counter(local_day(at, zone) for at in moments)
    since, until = sorted(data.draw(st.sampled_from(sorted(expected))) for _ in range(2))
    with tx.connection.transaction(force_rollback=True):
        user = new_user(tx)
        for at in moments:
            backfill(tx, user, at)
        found = user.rpc("get_llm_usage", p_since="2026-01-01", p_time_zone=zone)
        selected = user.rpc("get_llm_usage", p_since=since, p_until=until, p_time_zone=zone)
        project = tx.admin.rpc("get_llm_usage", p_since="2026-01-01", p_time_zone=zone, p_by=["user"])
    starts = {line["starts_at"]: line["attempts"] for line in found}
    assert {date.fromisoformat(start[:10]): count for start, count in starts.items()} == expected
    for start in map(datetime.fromisoformat, starts):
        # It is the first moment of the day: a second earlier, it was the day before.
        before = (start.astimezone(UTC) - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
        assert before.date() < start.date()
    within = {day: count for day, count in expected.items() if since <= day <= until}
    assert {date.fromisoformat(line["starts_at"][:10]): line["attempts"] for line in selected} == within
    mine = [line for line in project if line["user_id"] == user.id]
    assert {line["starts_at"]: line["attempts"] for line in mine} == starts


def test_a_report_uses_the_time_zone_of_the_users_settings(user: Caller, tx: Transaction) -> None:
    backfill(tx, user, datetime(2026, 6, 30, 23, 30, tzinfo=UTC))
    user.rpc("set_llm_settings", p_changes={"time_zone": "Europe/Berlin"})
    (line,) = user.rpc("get_llm_usage", p_since="2026-07-01", p_until="2026-07-01")
    assert line["starts_at"] == "2026-07-01T00:00:00+02:00"
    (month,) = user.rpc("get_llm_usage", p_since="2026-06-01", p_bucket="month")
    assert month["starts_at"] == "2026-07-01T00:00:00+02:00"
    (utc,) = user.rpc("get_llm_usage", p_since="2026-06-01", p_time_zone="UTC")
    assert utc["starts_at"] == "2026-06-30T00:00:00+00:00"


def test_a_report_does_not_change_the_time_zone_of_its_session(user: Caller, tx: Transaction) -> None:
    user.records()
    user.rpc("get_llm_usage", p_time_zone="Asia/Kathmandu")
    assert tx.value("select current_setting('timezone')") != "Asia/Kathmandu"


@pytest.mark.parametrize(("bucket", "lines"), [("hour", 3), ("day", 2), ("month", 1), (None, 1)])
def test_a_report_has_a_line_for_each_requested_bucket(
    tx: Transaction, user: Caller, bucket: str | None, lines: int
) -> None:
    for hour in (1, 2, 30):
        backfill(tx, user, datetime(2026, 7, 1, tzinfo=UTC) + timedelta(hours=hour))
    found = user.rpc("get_llm_usage", p_since="2026-07-01", p_bucket=bucket)
    assert (len(found), attempts(found)) == (lines, 3)
    assert all((line["starts_at"] is None) is (bucket is None) for line in found)


def test_fields_that_a_report_is_not_grouped_by_are_null(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")["id"]
    for task in ("code", "speed", None):
        for model in ("a", "b"):
            user.records(model=model, task=task, key_id=key)
    lines = user.rpc("get_llm_usage", p_by=["task"])
    assert [(line["task"], line["attempts"]) for line in lines] == [("code", 2), ("speed", 2), (None, 2)]
    for line in lines:
        names = ("user_id", "provider", "model", "key_source", "key_id")
        assert [line[name] for name in names] == [None] * 5
    (by_key,) = user.rpc("get_llm_usage", p_by=["key_id"])
    assert (by_key["key_id"], by_key["attempts"]) == (key, 6)


def test_ordering_by_cost_lists_the_highest_cost_first_and_unpriced_usage_last(
    tx: Transaction, user: Caller
) -> None:
    for model, cost in (("cheap", 1), ("unpriced", None), ("expensive", 3), ("middling", 2)):
        backfill(tx, user, datetime.now(UTC), model=model, cost=cost)
    lines = user.rpc("get_llm_usage", p_bucket=None, p_by=["model"], p_order="cost", p_limit=3)
    assert [line["model"] for line in lines] == ["expensive", "middling", "cheap"]
    *_, last = user.rpc("get_llm_usage", p_bucket=None, p_by=["model"], p_order="cost")
    assert (last["model"], last["cost"]) == ("unpriced", None)


def test_unpriced_usage_is_never_reported_as_free(tx: Transaction, user: Caller) -> None:
    price(tx, model="priced", input=1, output=1)
    price(tx, model="free", input=0, output=0)

    def line(model: str) -> tuple[Any, ...]:
        (found,) = [it for it in user.rpc("get_llm_usage", p_by=["model"]) if it["model"] == model]
        return found["cost"], found["unpriced"], found["unreported"]

    million = {"input_tokens": 10**6, "output_tokens": 0}
    user.records(model="unpriced", **million)
    user.records(model="unpriced", outcome="failed", error_class="timeout")
    assert line("unpriced") == (None, 1, 0), "a failure without tokens does not make the rest priced"
    user.records(model="priced")
    assert line("priced") == (None, 0, 1)
    user.records(model="priced", **million)
    assert line("priced") == (1, 0, 1), "known costs are summed, and unknown ones are counted"
    user.records(model="free", **million)
    assert line("free") == (0, 0, 0)
    user.records(model="failed", outcome="failed", error_class="timeout")
    assert line("failed") == (0, 0, 0)
    (whole,) = user.rpc("get_llm_usage", p_bucket=None, p_by=[])
    assert (whole["cost"], whole["unpriced"], whole["unreported"]) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_latency_percentiles_are_accurate_to_the_width_of_a_bucket(
    tx: Transaction, user: Caller, seed: int
) -> None:
    chance = random.Random(seed)
    latencies = [int(chance.lognormvariate(7, 1)) for _ in range(400)]
    for latency in latencies:
        backfill(tx, user, datetime.now(UTC), latency_ms=latency)
    backfill(tx, user, datetime.now(UTC), latency_ms=None)
    (line,) = user.rpc("get_llm_usage", p_bucket=None, p_by=[])
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    for reported, exact in (
        (line["latency_p50_ms"], percentiles[49]),
        (line["latency_p95_ms"], percentiles[94]),
    ):
        assert exact / 2**0.5 <= reported <= exact * 2**0.5
        assert reported == pytest.approx(exact, rel=0.1), "usually much closer"


def test_a_missing_latency_is_in_no_percentile(user: Caller) -> None:
    user.records(latency_ms=None)
    (line,) = user.rpc("get_llm_usage")
    assert (line["latency_p50_ms"], line["latency_p95_ms"]) == (None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"p_bucket": "week"},
        {"p_by": ["provider", "recorder"]},
        {"p_by": ["user"]},
        {"p_by": [None]},
        {"p_time_zone": "Mars/Olympus_Mons"},
        {"p_order": "name"},
        {"p_limit": 0},
    ],
)
def test_the_error_names_the_invalid_argument(user: Caller, arguments: dict[str, Any]) -> None:
    with refused("invalid_argument", 400) as error:
        user.rpc("get_llm_usage", **arguments)
    assert error.value.message.startswith(next(iter(arguments)))
    assert "Allowed: " in error.value.hint


def test_the_project_report_sums_all_users_and_can_group_by_user(tx: Transaction) -> None:
    ada, ben = new_user(tx), new_user(tx)
    ada.records(model="project-test", input_tokens=1)
    ben.records(model="project-test", input_tokens=2)
    lines = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["model", "user"])
    mine = {line["user_id"]: line["input_tokens"] for line in lines if line["model"] == "project-test"}
    assert mine == {ada.id: 1, ben.id: 2}
    together = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["model"])
    assert [line["input_tokens"] for line in together if line["model"] == "project-test"] == [3]


def test_an_administrator_can_read_a_users_report_as_the_user_sees_it(tx: Transaction, user: Caller) -> None:
    user.rpc("set_llm_settings", p_changes={"time_zone": "Asia/Kathmandu"})
    user.records(input_tokens=7)
    new_user(tx).records()
    assert tx.admin.rpc("get_llm_usage", p_user_id=user.id) == user.rpc("get_llm_usage")
    (line,) = tx.admin.rpc("get_llm_usage", p_user_id=user.id, p_bucket=None, p_by=["user"])
    assert (line["user_id"], line["input_tokens"]) == (user.id, 7)
    assert tx.admin.rpc("get_llm_usage", p_user_id=str(uuid.uuid4())) == []


def test_an_unbounded_report_includes_all_usage(tx: Transaction, user: Caller) -> None:
    before = project_attempts(tx)
    backfill(tx, user, datetime(2021, 1, 1, tzinfo=UTC))
    user.records(request_id=request_id())
    assert project_attempts(tx) == before + 2
    assert attempts(user.rpc("get_llm_usage", p_since="-infinity", p_until="infinity")) == 2
