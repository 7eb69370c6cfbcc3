"""Usage reports through the clients, for users and administrators."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from supa_llm import Admin, AsyncSupaLLM, InvalidInputError, SupaLLM, export_events
from tests.database.support import request_id, usage_event
from tests.support import Stack, User, unique

MODEL = "reported"
TODAY = datetime.now(UTC).date()


@pytest.fixture
def admin(stack: Stack) -> Iterator[Admin]:
    with Admin(stack.api_url, stack.secret_key) as admin:
        yield admin


@pytest.fixture
def llm(user: User, admin: Admin) -> Iterator[SupaLLM]:
    """A user with three days of usage; two of the models have a price."""
    since = datetime.now(UTC) - timedelta(days=30)
    admin.set_price("groq", MODEL, {"input": 1, "output": 2}, valid_from=since)
    for days in range(3):
        at = time.time() - days * 86_400
        records(user, request_id=request_id(at), latency_ms=250)
    records(user, model="without-a-price", task="code")
    with SupaLLM(user.client()) as llm:
        yield llm


def records(user: User, **changes: Any) -> None:
    event = {"model": MODEL, "input_tokens": 10**6, "output_tokens": 10**6, **changes}
    assert user.rpc("record_llm_usage", **usage_event(**event))


def test_usage_is_grouped_as_requested(llm: SupaLLM) -> None:
    by_model = {line.model: line for line in llm.get_usage(bucket=None, by=["model"], order="cost")}
    assert list(by_model) == [MODEL, "without-a-price"]
    known, unknown = by_model.values()
    assert (known.cost, known.requests, known.unpriced) == (Decimal(9), 3, 0)
    assert (unknown.cost, unknown.unpriced) == (None, 1)
    assert known.latency_p50_ms == pytest.approx(250, rel=0.2)
    days = llm.get_usage(TODAY - timedelta(days=1), by=[])
    assert [line.starts_at.date() for line in days if line.starts_at] == [TODAY, TODAY - timedelta(days=1)]


def test_a_new_user_has_an_empty_report(user: User) -> None:
    with SupaLLM(user.client()) as llm:
        assert llm.get_usage(since=date(2026, 1, 1)) == []


def test_days_are_those_of_the_users_time_zone(llm: SupaLLM) -> None:
    lines = llm.get_usage(by=[], time_zone="Pacific/Kiritimati")
    starts = [line.starts_at for line in lines if line.starts_at]
    assert {start.utcoffset() for start in starts} == {timedelta(hours=14)}
    assert all((start.hour, start.minute) == (0, 0) for start in starts)


@pytest.mark.parametrize(
    "arguments",
    [
        {"bucket": "week"},
        {"by": "model"},
        {"by": ["user"]},
        {"since": "2026-01-01"},
        {"limit": "9"},
        {"order": 1},
        {"time_zone": "Mars"},
    ],
)
def test_an_invalid_argument_is_named(llm: SupaLLM, arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(InvalidInputError, match=name):
        llm.get_usage(**arguments)


def test_receipts_forecast_and_hints(llm: SupaLLM) -> None:
    newest = llm.list_requests(1)[0]
    assert (newest.outcome, newest.cost, newest.unpriced) == ("succeeded", None, 1)
    (before,) = llm.list_requests(1, before=newest.request_id)
    assert (before.cost, before.attempts[0].cost_status) == (Decimal(3), "priced")
    forecast = llm.get_forecast()
    assert forecast.month == TODAY.replace(day=1)
    assert forecast.unpriced == 1
    assert forecast.daily_average == Decimal(3)
    assert llm.list_hints() == []


def test_events_are_exported(llm: SupaLLM, user: User, tmp_path: Path) -> None:
    assert export_events(llm.list_usage_events(), tmp_path / "usage.csv") == 4
    with (tmp_path / "usage.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["user_id"] for row in rows} == {user.id}
    assert sorted(row["cost"] for row in rows) == ["", "3", "3", "3"]
    assert [event.model for event in llm.list_usage_events(since=TODAY, until=TODAY + timedelta(days=1))] == [
        MODEL,
        "without-a-price",
    ]


async def test_the_asyncio_client_gets_the_same(llm: SupaLLM, user: User) -> None:
    async with AsyncSupaLLM(await user.async_client()) as other:
        assert await other.get_usage() == llm.get_usage()
        assert await other.list_requests() == llm.list_requests()
        assert await other.list_hints() == llm.list_hints()
        assert (await other.get_forecast()).cost_so_far == llm.get_forecast().cost_so_far
        assert [event async for event in other.list_usage_events()] == list(llm.list_usage_events())


def test_the_administrator_sees_all_users(llm: SupaLLM, user: User, admin: Admin) -> None:
    lines = admin.get_usage(bucket=None, by=["user"], order="cost")
    assert [line.cost for line in lines if line.user_id == UUID(user.id)] == [Decimal(9)]
    (whole,) = admin.get_usage(bucket=None, by=[])
    assert whole.attempts >= 4
    assert len([event for event in admin.list_usage_events() if event.user_id == UUID(user.id)]) == 4


def test_the_administrator_checks_and_recalculates_the_ledger(llm: SupaLLM, admin: Admin) -> None:
    since = datetime.now(UTC) - timedelta(days=30)
    admin.set_price("groq", "without-a-price", {"input": 5, "output": 0}, valid_from=since)
    *_, state = admin.recalculate_costs(since=date(2020, 1, 1))
    assert state.done
    assert state.newly_priced >= 1
    assert state.cost_after - state.cost_before >= 5
    assert [line.cost for line in llm.get_usage(bucket=None, by=[])] == [Decimal(14)]
    while not admin.run_maintenance().done:
        pass
    assert admin.check_usage().differing == 0
    for price in admin.list_prices("groq"):  # so that other tests find none
        if price.model == "without-a-price":
            admin.end_price(price.id)


def test_the_administrator_reads_alerts(stack: Stack, user: User, admin: Admin) -> None:
    admin.dismiss_alerts()
    assert admin.list_alerts() == []
    runtime = stack.admin("register_llm_runtime", p_name=unique("app"))["secret"]
    event = usage_event(request_id=request_id(), model=f"m-{user.id}")
    assert stack.rpc("record_llm_usage", user.access_token, runtime, **event).is_success
    (alert,) = admin.list_alerts()
    assert (alert.kind, alert.detail["model"]) == ("price_missing", f"m-{user.id}")
    assert admin.dismiss_alerts([alert.id]) == 1
    assert admin.list_alerts() == []
