"""Reserving ahead: requests take their reservations from a stock, and what they do not use is released."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from supa_llm.client.account import AsyncUserAccount, UserAccount
from supa_llm.client.cache import AsyncCache, Cache, Store
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.session import AccessToken
from supa_llm.client.stock import Pace, Stock, sized
from supa_llm.engine.ids import uuid7
from supa_llm.errors import QuotaExceededError
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate, Demand, Route
from tests.support import unsigned_token

CANDIDATE = Candidate(
    "groq", "m", "requested", "user", None, None, "openai", "https://x", "a", "b", metered=True
)


class Identity:
    token = AccessToken.read(unsigned_token(sub="anna", exp=4_102_444_800))


class Recorder:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any], *_: Any) -> None:
        self.events.append(event)

    def renew(self, _: Any) -> None:
        pass

    def released(self) -> list[Any]:
        return [event.get("requests") for event in self.events if event.get("release")]


class Database:
    """Reserves for as many requests as it is asked for, up to a limit."""

    def __init__(self, limit: int = 1000, *, metered: bool = True, seconds: float = 300) -> None:
        self.limit, self.metered, self.seconds = limit, metered, seconds
        self.asked: list[int] = []
        self.used = 0

    def run(self, call: Any, _: Any) -> Any:
        if call.name == "reserve_llm_attempt":
            return None
        requests = call.args.get("p_requests", 1)
        self.asked.append(requests)
        given = min(requests, max(1, (self.limit - self.used) // 8))
        if self.used + given > self.limit:
            raise QuotaExceededError("No.")
        self.used += given
        now = datetime.now(UTC)
        first = Candidate(
            **{name: getattr(CANDIDATE, name) for name in CANDIDATE.__slots__ if name != "metered"}
        )
        return Route(
            "speed",
            (CANDIDATE if self.metered else first,),
            expires_at=now + timedelta(seconds=300),
            reserved_requests=given if self.metered else None,
            reserved_until=now + timedelta(seconds=self.seconds) if self.metered else None,
        )


class AsyncDatabase(Database):
    async def run(self, call: Any, token: Any) -> Any:
        await asyncio.sleep(0)
        return super().run(call, token)


class World:
    """One process of a user."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.recorder = Recorder()
        self.asynchronous = isinstance(database, AsyncDatabase)
        self.cache: Store = AsyncCache() if self.asynchronous else Cache()

    def begin(
        self, *, task: str = "speed", tokens: int = 300, service_tier: str | None = None
    ) -> tuple[Any, Route, UUID]:
        """Resolve the route of a request; returns its account, route and ID."""
        request_id = uuid7()
        demand = Demand(request_id, tokens, 100, service_tier)
        account: Any
        if self.asynchronous:

            async def identify() -> Any:
                return Identity

            parts: Any = (identify, self.database, self.cache, OperatorKeys({}), self.recorder, None)
            account = AsyncUserAccount(*parts)
            return account, asyncio.run(account.route(task, None, ["chat"], demand)), request_id
        parts = (lambda: Identity, self.database, self.cache, OperatorKeys({}), self.recorder, None)
        account = UserAccount(*parts)
        return account, account.route(task, None, ["chat"], demand), request_id

    def request(self, **changes: Any) -> None:
        account, _, request_id = self.begin(**changes)
        account.record(request_id, "speed", attempt())


def attempt(**changes: Any) -> Attempt:
    fields: dict[str, Any] = {
        "number": 1, "provider": "groq", "model": "m", "key_source": "user", "key_id": None, "key_hint": None,
        "outcome": "succeeded", "latency_ms": 1, "streamed": False, **changes,
    }  # fmt: skip
    return Attempt(**fields)


@pytest.fixture(params=[Database, AsyncDatabase])
def kind(request: pytest.FixtureRequest) -> Callable[..., Database]:
    factory: Callable[..., Database] = request.param
    return factory


def test_the_more_requests_the_more_are_reserved_at_once(kind: Callable[..., Database]) -> None:
    world = World(kind(10_000))
    for _ in range(300):
        world.request()
    assert world.database.asked == [1, 10, 100, 100, 100]


def test_each_request_names_the_reservation_that_it_settles(kind: Callable[..., Database]) -> None:
    world = World(kind())
    for _ in range(30):
        world.request()
    reservations = [event.get("reservation") for event in world.recorder.events]
    assert reservations[0] is None
    assert [reservations.count(it) for it in dict.fromkeys(reservations)] == [1, 10, 19]
    assert len({event["request_id"] for event in world.recorder.events}) == 30


def test_near_the_limit_each_request_reserves_for_itself(kind: Callable[..., Database]) -> None:
    world = World(kind(20))
    passed = 0
    for _ in range(30):
        try:
            world.request()
            passed += 1
        except QuotaExceededError:
            pass
    assert world.database.used <= 20
    assert passed >= 18


def test_an_unmetered_route_is_cached_for_its_lease(kind: Callable[..., Database]) -> None:
    world = World(kind(metered=False))
    for _ in range(20):
        world.request()
    assert world.database.asked == [1]


def test_requests_of_another_size_have_a_stock_of_their_own(kind: Callable[..., Database]) -> None:
    world = World(kind())
    for tokens in (300, 400, 500, 5000, 300, 8000):
        world.request(tokens=tokens)
    assert world.database.asked == [1, 10, 100]


def test_each_service_tier_has_a_stock_of_its_own(kind: Callable[..., Database]) -> None:
    world = World(kind())
    for tier in (None, None, "priority", None, "flex", "priority"):
        world.request(service_tier=tier)
    assert world.database.asked == [1, 10, 100, 100]


def test_a_request_that_is_not_sent_puts_its_reservation_back(kind: Callable[..., Database]) -> None:
    world = World(kind())
    world.request()
    for _ in range(25):
        account, _, request_id = world.begin()
        account.release(request_id)
    assert world.database.asked == [1, 10]
    assert world.recorder.released() == []


def test_a_later_candidate_is_reserved_by_itself(kind: Callable[..., Database]) -> None:
    world = World(kind())
    world.request()
    account, _, request_id = world.begin()
    account.record(request_id, "speed", attempt(outcome="failed", error_class="timeout"))
    account.record(request_id, "speed", attempt(number=2, provider="openai"))
    first, second = world.recorder.events[-2:]
    assert "reservation" in first
    assert "reservation" not in second


def test_a_candidate_that_was_not_tried_does_not_use_the_reservation(kind: Callable[..., Database]) -> None:
    world = World(kind())
    world.request()
    account, _, request_id = world.begin()
    account.record(request_id, "speed", attempt(provider="openai"))
    account.release(request_id)
    assert "reservation" not in world.recorder.events[-1]
    world.cache.clear()
    assert world.recorder.released() == [10]


def test_what_is_not_used_is_released_when_the_client_closes(kind: Callable[..., Database]) -> None:
    world = World(kind())
    for _ in range(5):
        world.request()
    world.cache.clear()
    assert world.recorder.released() == [6]


def test_what_is_not_used_is_released_when_settings_change(kind: Callable[..., Database]) -> None:
    world = World(kind())
    for _ in range(5):
        world.request()
    world.cache.forget("anna")
    assert world.recorder.released() == [6]


def test_a_reservation_put_back_after_the_release_is_released_too(kind: Callable[..., Database]) -> None:
    world = World(kind())
    world.request()
    account, _, request_id = world.begin()
    world.cache.clear()
    account.release(request_id)
    assert world.recorder.released() == [9, 1]


def test_an_expired_stock_is_released_without_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.cache._SWEEP_EVERY", 0.05)
    world = World(Database(seconds=0.2))
    world.request()
    world.request()
    done = threading.Event()
    for _ in range(100):
        if world.recorder.released():
            break
        done.wait(0.05)
    assert world.recorder.released() == [9]


def test_threads_take_no_reservation_twice() -> None:
    world = World(Database(10_000))
    world.request()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: world.request(), range(400)))
    counts: dict[Any, int] = {}
    for event in world.recorder.events:
        counts[event.get("reservation")] = counts.get(event.get("reservation"), 0) + 1
    assert all(count <= 100 for count in counts.values())
    world.cache.clear()
    assert world.database.used - sum(world.recorder.released()) == 401


def test_sizes_are_rounded_up() -> None:
    def size(input_tokens: int, output_tokens: int | None) -> tuple[int, int | None]:
        demand = sized(Demand(uuid7(), input_tokens, output_tokens))
        return demand.input_tokens, demand.output_tokens

    assert size(0, 0) == (256, 256)
    assert size(256, 257) == (256, 512)
    assert size(1000, None) == (1024, None)
    assert size(2**30 + 1, 1) == (2**31 - 1, 256)


def test_a_stock_gives_out_no_more_than_it_has() -> None:
    stock = Stock(Route(None, (CANDIDATE,), reserved_requests=2), uuid7())
    assert [stock.take() for _ in range(3)] == [True, True, False]
    assert stock.put_back()
    assert stock.close() == 1
    assert not stock.take()
    assert not stock.put_back()


def test_a_refusal_slows_the_pace() -> None:
    pace = Pace()
    assert not pace.alone
    pace.reserved(1)
    assert pace.alone
