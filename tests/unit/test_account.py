"""The routes of concurrent requests of one user."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from supa_llm.client.account import AsyncUserAccount, UserAccount
from supa_llm.client.cache import AsyncCache, Cache
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.session import AccessToken
from supa_llm.errors import DatabaseUnavailableError
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Demand, Route
from supa_llm.values.usage import Recording
from tests.support import unsigned_token

TASKS = ("speed", "code", "poems", "jokes")


class Identity:
    token = AccessToken.read(unsigned_token(sub="anna", exp=4_102_444_800))


class Database:
    """Returns a route for each task, and keeps how many calls ran while each of them did."""

    def __init__(self, fails: str | None = None) -> None:
        self.fails = fails
        self.running: list[str] = []
        self.seen: list[tuple[str, ...]] = []

    def _begin(self, call: Any) -> None:
        self.running.append(call.args["p_task"])
        self.seen.append(tuple(self.running))

    def _end(self, call: Any) -> Route:
        task = call.args["p_task"]
        self.running.remove(task)
        if task == self.fails:
            raise DatabaseUnavailableError("No.")
        return Route(task, (), expires_at=datetime.now(UTC) + timedelta(minutes=5))

    def run(self, call: Any, _: Any) -> Route:
        self._begin(call)
        time.sleep(0.1)
        return self._end(call)


class AsyncDatabase(Database):
    async def run(self, call: Any, _: Any) -> Route:  # type: ignore[override]
        self._begin(call)
        await asyncio.sleep(0.1)
        return self._end(call)


def demand() -> Demand:
    return Demand(uuid4(), 1, None)


def in_threads(database: Database) -> dict[str, Any]:
    cache: Any = Cache()

    def route(place: int) -> Any:
        time.sleep(0.02 * place)
        parts: Any = (Identity, database, cache, OperatorKeys({}), None, None)
        try:
            return UserAccount(*parts).route(TASKS[place], None, ["chat"], demand()).task
        except DatabaseUnavailableError as error:
            return type(error)

    with ThreadPoolExecutor(len(TASKS)) as pool:
        return dict(zip(TASKS, pool.map(route, range(len(TASKS))), strict=True))


def in_tasks(database: AsyncDatabase) -> dict[str, Any]:
    cache: Any = AsyncCache()

    async def identify() -> Any:
        return Identity

    async def route(place: int) -> Any:
        await asyncio.sleep(0.02 * place)
        parts: Any = (identify, database, cache, OperatorKeys({}), None, None)
        try:
            return (await AsyncUserAccount(*parts).route(TASKS[place], None, ["chat"], demand())).task
        except DatabaseUnavailableError as error:
            return type(error)

    async def routes() -> list[Any]:
        return await asyncio.gather(*map(route, range(len(TASKS))))

    return dict(zip(TASKS, asyncio.run(routes()), strict=True))


def routes(database: Any) -> dict[str, Any]:
    return in_tasks(database) if isinstance(database, AsyncDatabase) else in_threads(database)


@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
def test_the_first_route_leases_the_keys_for_all(kind: type[Database]) -> None:
    database = kind()
    assert routes(database) == {task: task for task in TASKS}
    assert database.seen[0] == ("speed",)
    assert len(database.seen) == len(TASKS)
    # The others waited for the first one, but not for each other.
    assert "speed" not in database.seen[-1]
    assert len(database.seen[-1]) == len(TASKS) - 1


@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
def test_the_failure_of_the_first_route_is_its_own(kind: type[Database]) -> None:
    database = kind("speed")
    assert routes(database) == {task: task for task in TASKS} | {"speed": DatabaseUnavailableError}
    assert len(database.seen) == len(TASKS)


class Recorder:
    """Answers each event with this version."""

    version: str | None = "2"

    def put(self, _: Any, __: Any, then: Any) -> None:
        then(Recording("recorded", version=self.version))


class Versions:
    """Returns routes of the version that it has."""

    version = "1"
    resolved = 0

    def run(self, call: Any, _: Any) -> Route:
        self.resolved += 1
        return Route(
            call.args["p_task"], (), expires_at=datetime.now(UTC) + timedelta(minutes=5), version=self.version
        )


def test_a_recording_with_another_version_ends_the_cached_routes() -> None:
    database, recorder = Versions(), Recorder()
    parts: Any = (Identity, database, Cache(), OperatorKeys({}), recorder, None)

    def request() -> None:
        account = UserAccount(*parts)
        account.route("speed", None, ["chat"], demand())
        account.record(
            uuid4(),
            "speed",
            Attempt(1, "groq", "m", "user", None, None, "succeeded", latency_ms=1, streamed=False),
        )

    request()
    database.version = "2"
    request()
    request()
    request()
    assert database.resolved == 2
    recorder.version = None  # an older database
    request()
    assert database.resolved == 2
