"""Reports: whole days of any time zone, sums of what was recorded, and nothing that looks free and is not."""

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

# With clocks that change at midnight, twice a day by half an hour, and hours that begin at :30 and :45.
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
# Around the days on which clocks change in one or the other.
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
    """The day that the UTC hour of a moment begins on."""
    return at.replace(minute=0, second=0, microsecond=0).astimezone(ZoneInfo(zone)).date()


@property_of_the_database
@given(moments=st.lists(MOMENTS, min_size=1, max_size=12), zone=st.sampled_from(ZONES), data=st.data())
def test_a_day_is_that_of_the_time_zone_also_when_clocks_change(
    tx: Transaction, moments: list[datetime], zone: str, data: st.DataObject
) -> None:
    expected = Counter(local_day(at, zone) for at in moments)
    since, until = sorted(data.draw(st.sampled_from(sorted(expected))) for _ in range(2))
    with tx.connection.transaction(force_rollback=True):
        user = new_user(tx)
        for at in moments:
            backfill(tx, user, at)
        found = user.rpc("get_llm_usage", p_since="2026-01-01", p_time_zone=zone)
        asked = user.rpc("get_llm_usage", p_since=since, p_until=until, p_time_zone=zone)
        project = tx.admin.rpc("get_llm_usage", p_since="2026-01-01", p_time_zone=zone, p_by=["user"])
    starts = {line["starts_at"]: line["attempts"] for line in found}
    assert {date.fromisoformat(start[:10]): count for start, count in starts.items()} == expected
    for start in map(datetime.fromisoformat, starts):
        # It is the first moment of the day: there is none a second before.
        before = (start.astimezone(UTC) - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
        assert before.date() < start.date()
    within = {day: count for day, count in expected.items() if since <= day <= until}
    assert {date.fromisoformat(line["starts_at"][:10]): line["attempts"] for line in asked} == within
    mine = [line for line in project if line["user_id"] == user.id]
    assert {line["starts_at"]: line["attempts"] for line in mine} == starts


def test_a_report_is_in_the_time_zone_of_the_settings(user: Caller, tx: Transaction) -> None:
    backfill(tx, user, datetime(2026, 6, 30, 23, 30, tzinfo=UTC))
    user.rpc("set_llm_settings", p_changes={"time_zone": "Europe/Berlin"})
    (line,) = user.rpc("get_llm_usage", p_since="2026-07-01", p_until="2026-07-01")
    assert line["starts_at"] == "2026-07-01T00:00:00+02:00"
    (month,) = user.rpc("get_llm_usage", p_since="2026-06-01", p_bucket="month")
    assert month["starts_at"] == "2026-07-01T00:00:00+02:00"
    (utc,) = user.rpc("get_llm_usage", p_since="2026-06-01", p_time_zone="UTC")
    assert utc["starts_at"] == "2026-06-30T00:00:00+00:00"


def test_a_report_leaves_the_time_zone_of_its_session_alone(user: Caller, tx: Transaction) -> None:
    user.records()
    user.rpc("get_llm_usage", p_time_zone="Asia/Kathmandu")
    assert tx.value("select current_setting('timezone')") != "Asia/Kathmandu"


@pytest.mark.parametrize(("bucket", "lines"), [("hour", 3), ("day", 2), ("month", 1), (None, 1)])
def test_time_is_cut_as_asked(tx: Transaction, user: Caller, bucket: str | None, lines: int) -> None:
    for hour in (1, 2, 30):
        backfill(tx, user, datetime(2026, 7, 1, tzinfo=UTC) + timedelta(hours=hour))
    found = user.rpc("get_llm_usage", p_since="2026-07-01", p_bucket=bucket)
    assert (len(found), attempts(found)) == (lines, 3)
    assert all((line["starts_at"] is None) is (bucket is None) for line in found)


def test_what_a_report_is_not_by_is_null_and_summed(tx: Transaction, user: Caller) -> None:
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


def test_the_dearest_come_first_and_what_has_no_price_last(tx: Transaction, user: Caller) -> None:
    for model, cost in (("cheap", 1), ("unpriced", None), ("dear", 3), ("middling", 2)):
        backfill(tx, user, datetime.now(UTC), model=model, cost=cost)
    lines = user.rpc("get_llm_usage", p_bucket=None, p_by=["model"], p_order="cost", p_limit=3)
    assert [line["model"] for line in lines] == ["dear", "middling", "cheap"]
    *_, last = user.rpc("get_llm_usage", p_bucket=None, p_by=["model"], p_order="cost")
    assert (last["model"], last["cost"]) == ("unpriced", None)


def test_what_has_no_price_never_looks_free(tx: Transaction, user: Caller) -> None:
    price(tx, model="priced", input=1, output=1)
    price(tx, model="free", input=0, output=0)

    def line(model: str) -> tuple[Any, ...]:
        (found,) = [it for it in user.rpc("get_llm_usage", p_by=["model"]) if it["model"] == model]
        return found["cost"], found["unpriced"], found["unreported"]

    million = {"input_tokens": 10**6, "output_tokens": 0}
    user.records(model="unpriced", **million)
    user.records(model="unpriced", outcome="failed", error_class="timeout")
    assert line("unpriced") == (None, 1, 0), (
        "a failure without tokens costs nothing, and says nothing of the rest"
    )
    user.records(model="priced")
    assert line("priced") == (None, 0, 1)
    user.records(model="priced", **million)
    assert line("priced") == (1, 0, 1), "what is known is told, and what is not is counted beside it"
    user.records(model="free", **million)
    assert line("free") == (0, 0, 0)
    user.records(model="failed", outcome="failed", error_class="timeout")
    assert line("failed") == (0, 0, 0)
    (whole,) = user.rpc("get_llm_usage", p_bucket=None, p_by=[])
    assert (whole["cost"], whole["unpriced"], whole["unreported"]) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_latencies_are_right_to_the_width_of_a_bucket(tx: Transaction, user: Caller, seed: int) -> None:
    chance = random.Random(seed)
    latencies = [int(chance.lognormvariate(7, 1)) for _ in range(400)]
    for latency in latencies:
        backfill(tx, user, datetime.now(UTC), latency_ms=latency)
    backfill(tx, user, datetime.now(UTC), latency_ms=None)
    (line,) = user.rpc("get_llm_usage", p_bucket=None, p_by=[])
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    for told, exact in ((line["latency_p50_ms"], percentiles[49]), (line["latency_p95_ms"], percentiles[94])):
        assert exact / 2**0.5 <= told <= exact * 2**0.5
        assert told == pytest.approx(exact, rel=0.1), "and usually much closer"


def test_a_latency_that_was_not_measured_is_in_no_percentile(user: Caller) -> None:
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
def test_an_argument_that_cannot_be_is_refused_by_name(user: Caller, arguments: dict[str, Any]) -> None:
    with refused("invalid_argument", 400) as error:
        user.rpc("get_llm_usage", **arguments)
    assert error.value.message.startswith(next(iter(arguments)))
    assert "Allowed: " in error.value.hint


def test_the_project_is_all_users_together_and_says_who_used_what(tx: Transaction) -> None:
    ada, ben = new_user(tx), new_user(tx)
    ada.records(model="project-test", input_tokens=1)
    ben.records(model="project-test", input_tokens=2)
    lines = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["model", "user"])
    mine = {line["user_id"]: line["input_tokens"] for line in lines if line["model"] == "project-test"}
    assert mine == {ada.id: 1, ben.id: 2}
    together = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["model"])
    assert [line["input_tokens"] for line in together if line["model"] == "project-test"] == [3]


def test_an_administrator_reads_one_users_report_as_they_see_it_and_by_user(
    tx: Transaction, user: Caller
) -> None:
    user.rpc("set_llm_settings", p_changes={"time_zone": "Asia/Kathmandu"})
    user.records(input_tokens=7)
    new_user(tx).records()
    assert tx.admin.rpc("get_llm_usage", p_user_id=user.id) == user.rpc("get_llm_usage")
    (line,) = tx.admin.rpc("get_llm_usage", p_user_id=user.id, p_bucket=None, p_by=["user"])
    assert (line["user_id"], line["input_tokens"]) == (user.id, 7)
    assert tx.admin.rpc("get_llm_usage", p_user_id=str(uuid.uuid4())) == []


def test_a_report_of_everything_is_of_everything(tx: Transaction, user: Caller) -> None:
    before = project_attempts(tx)
    backfill(tx, user, datetime(2021, 1, 1, tzinfo=UTC))
    user.records(request_id=request_id())
    assert project_attempts(tx) == before + 2
    assert attempts(user.rpc("get_llm_usage", p_since="-infinity", p_until="infinity")) == 2
