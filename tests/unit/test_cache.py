"""The cache: only the exact token finds an entry, owners never see stale ones, and its size is bounded."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from functools import partial

import pytest

from supa_llm.client.cache import AsyncCache, Cache, Slot
from supa_llm.client.session import AccessToken
from supa_llm.errors import DatabaseUnavailableError
from tests.support import unsigned_token

LATER = int(time.time()) + 3600


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def token(sub: str = "anna", exp: float | None = None, salt: str = "") -> AccessToken:
    return AccessToken.read(unsigned_token(sub=sub, exp=exp or LATER, salt=salt))


def slot(kind: str = "settings", which: str | None = None, until: float | None = None) -> Slot[str]:
    return Slot(kind, which, lambda _: until or LATER)


def test_a_value_is_fetched_once_for_the_same_token() -> None:
    cache, anna = Cache(), token()
    assert [cache.fetch(anna, slot(), lambda: "a") for _ in range(2)] == ["a", "a"]
    assert cache.fetch(anna, slot(), lambda: "never asked for") == "a"


def test_a_forged_token_with_the_same_owner_finds_nothing() -> None:
    cache = Cache()
    cache.fetch(token(), slot(), lambda: "anna's")
    assert cache.fetch(token(salt="forged"), slot(), lambda: "nothing") == "nothing"


def test_an_entry_expires_with_its_time_or_its_token() -> None:
    clock = Clock()
    cache = Cache(clock=clock)
    soon, late = clock.now + 10, clock.now + 100
    for expires, until in ((soon, late), (late, soon)):
        anna = token(exp=expires, salt=f"{expires}")
        assert cache.fetch(anna, slot(until=until), lambda: "first") == "first"
    clock.now += 11
    for expires, until in ((soon, late), (late, soon)):
        anna = token(exp=expires, salt=f"{expires}")
        assert cache.fetch(anna, slot(until=until), lambda: "second") == "second"


def test_expired_entries_leave_memory_without_a_lookup() -> None:
    clock = Clock()
    cache = Cache(clock=clock)
    cache.fetch(token(), slot("route", until=clock.now + 5), lambda: "a key")
    clock.now += 11
    cache.fetch(token("bert"), slot(), lambda: "settings")
    assert len(cache) == 1


def test_nothing_is_cached_for_an_expired_token() -> None:
    cache, expired = Cache(), token(exp=time.time() - 1)
    assert [cache.fetch(expired, slot(), partial(str, n)) for n in (1, 2)] == ["1", "2"]
    assert len(cache) == 0


def test_forgetting_an_owner_drops_the_entries_of_all_their_tokens() -> None:
    cache = Cache()
    for who in (token(salt="1"), token(salt="2"), token("bert")):
        cache.fetch(who, slot(), lambda: "old")
        cache.fetch(who, slot("route", "x"), lambda: "old")
    cache.forget("anna", "route")
    assert cache.fetch(token(salt="1"), slot(), lambda: "new") == "old"
    assert cache.fetch(token(salt="1"), slot("route", "x"), lambda: "new") == "new"
    cache.forget("anna")
    assert cache.fetch(token(salt="2"), slot(), lambda: "new") == "new"
    assert cache.fetch(token("bert"), slot(), lambda: "new") == "old"


def test_a_response_from_before_a_change_is_neither_cached_nor_shared() -> None:
    cache, anna = Cache(), token()

    def changed_meanwhile() -> str:
        cache.forget("anna")
        assert cache.fetch(anna, slot(), lambda: "new") == "new"
        return "old"

    assert cache.fetch(anna, slot(), changed_meanwhile) == "old"
    assert cache.fetch(anna, slot(), lambda: "newest") == "new"


def test_the_size_is_bounded_and_the_least_recently_used_entry_goes() -> None:
    cache = Cache(size=3)
    for which in "abc":
        cache.fetch(token(), slot(which=which), lambda: "kept")
    cache.fetch(token(), slot(which="a"), lambda: "fetched")
    cache.fetch(token(), slot(which="d"), lambda: "kept")
    assert len(cache) == 3
    assert cache.fetch(token(), slot(which="a"), lambda: "fetched") == "kept"
    assert cache.fetch(token(), slot(which="b"), lambda: "fetched") == "fetched"


def test_threads_that_miss_together_fetch_once() -> None:
    cache, anna = Cache(), token()
    calls, results = [], []
    together = threading.Barrier(8)

    def load() -> str:
        calls.append(1)
        time.sleep(0.05)
        return "value"

    def run() -> None:
        together.wait()
        results.append(cache.fetch(anna, slot(), load))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(calls), results) == (1, ["value"] * 8)


def test_a_failed_fetch_is_not_cached() -> None:
    cache, anna = Cache(), token()

    def fail() -> str:
        raise DatabaseUnavailableError("away")

    with pytest.raises(DatabaseUnavailableError):
        cache.fetch(anna, slot(), fail)
    assert cache.fetch(anna, slot(), lambda: "back") == "back"


async def test_tasks_that_miss_together_fetch_once_even_if_one_is_cancelled() -> None:
    cache, anna = AsyncCache(), token()
    calls = []

    async def load() -> str:
        calls.append(1)
        await asyncio.sleep(0.02)
        return "value"

    tasks = [asyncio.create_task(cache.fetch(anna, slot(), load)) for _ in range(8)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert (len(calls), results[1:]) == (1, ["value"] * 7)
    assert await cache.fetch(anna, slot(), load) == "value"
    assert len(calls) == 1


async def test_tasks_share_a_failed_fetch_and_do_not_cache_it() -> None:
    cache, anna = AsyncCache(), token()

    async def fail() -> str:
        raise DatabaseUnavailableError("away")

    async def load() -> str:
        return "back"

    tasks = [asyncio.create_task(cache.fetch(anna, slot(), fail)) for _ in range(2)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailableError] * 2
    assert await cache.fetch(anna, slot(), load) == "back"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought eager tasks")
async def test_a_fetch_that_fails_immediately_leaves_nothing_behind() -> None:
    cache, anna = AsyncCache(), token()
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009

    async def fail() -> str:
        raise DatabaseUnavailableError("away")

    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError):
            await cache.fetch(anna, slot(), fail)
    await asyncio.sleep(0)
    assert not cache._flights


def test_only_outdated_entries_of_one_kind_and_owner_are_dropped() -> None:
    cache = Cache()
    for who in (token(salt="1"), token(salt="2"), token("bert")):
        for kind in ("route", "settings"):
            cache.fetch(who, slot(kind), partial(str, f"old of {who.owner}"))
        cache.fetch(who, slot("route", "x"), lambda: "new")
    cache.forget_outdated("anna", "route", lambda value: value != "new")
    for who, kind, which, expected in (
        (token(salt="1"), "route", None, "fetched"),
        (token(salt="2"), "route", None, "fetched"),
        (token(salt="1"), "route", "x", "new"),
        (token(salt="1"), "settings", None, "old of anna"),
        (token("bert"), "route", None, "old of bert"),
    ):
        assert cache.fetch(who, slot(kind, which), lambda: "fetched") == expected
