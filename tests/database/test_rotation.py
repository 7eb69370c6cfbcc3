"""Rotations of the master key while users store and use keys."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from supa_llm import Admin, AsyncAdmin
from tests.database.support import Caller, Http, new_user
from tests.owners import many_owners
from tests.support import Stack, key_for

#: Owners with a data key, besides those of other tests.
OWNERS = 1_500


@pytest.fixture
def admin(stack: Stack) -> Iterator[Admin]:
    with Admin(stack.api_url, stack.secret_key) as admin:
        yield admin


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with stack.connect() as connection:
        yield connection


@pytest.fixture
def owners(db: psycopg.Connection[Any]) -> Iterator[None]:
    with many_owners(db, OWNERS):
        yield


def masters(db: psycopg.Connection[Any]) -> list[int]:
    return [
        number for (number,) in db.execute("select id from llm_private.master_keys order by 1").fetchall()
    ]


def orphans(db: psycopg.Connection[Any]) -> int:
    """Entries of Vault without a master key; each would be a master key that was not destroyed."""
    row = db.execute(
        "select count(*) from vault.secrets as s where s.name like 'supa\\_llm\\_master%%' and not exists ("
        "select from llm_private.master_keys as m where m.vault_secret_id = s.id)"
    ).fetchone()
    assert row
    return int(row[0])


@contextlib.contextmanager
def busy(*work: Callable[[int], object]) -> Iterator[list[int]]:
    """Repeat calls in threads during the block; their counts are in the list at its end."""
    ended = threading.Event()

    def repeat(call: Callable[[int], object]) -> int:
        number = 0
        while not ended.is_set() or not number:
            number += 1
            call(number)
        return number

    counts: list[int] = []
    with ThreadPoolExecutor(len(work)) as pool:
        running = [pool.submit(repeat, call) for call in work]
        try:
            yield counts
        finally:
            ended.set()
        counts += [each.result() for each in running]


def resolves(user: Caller, number: int) -> Callable[[int], None]:
    def call(_: int) -> None:
        route = user.rpc("resolve_llm_route", p_model="groq/m")
        assert route["candidates"][0]["key"] == key_for("groq", number)

    return call


def stores(user: Caller) -> Callable[[int], None]:
    def call(number: int) -> None:
        user.holds_key("openai", number)
        route = user.rpc("resolve_llm_route", p_model="openai/m")
        assert route["candidates"][0]["key"] == key_for("openai", number)

    return call


def begins(http: Http) -> Callable[[int], None]:
    """New users, whose data keys are made while a master key is being replaced."""

    def call(number: int) -> None:
        user = new_user(http)
        user.holds_key("groq", number)
        assert user.rpc("resolve_llm_route")["candidates"][0]["key"] == key_for("groq", number)

    return call


@pytest.mark.usefixtures("owners")
def test_keys_are_stored_and_used_while_the_master_key_rotates(
    http: Http, admin: Admin, db: psycopg.Connection[Any]
) -> None:
    first, second = new_user(http), new_user(http)
    first.holds_key("groq", 1)
    second.holds_key("groq", 2)
    used = set(masters(db))
    with busy(resolves(first, 1), stores(second), begins(http)) as counts:
        for _ in range(3):
            states = [*admin.rotate_vault()]
            assert states[-1].finished
            assert states[-1].left == 0
            used |= set(masters(db))
    assert len(used) >= 4
    assert min(counts) >= 2
    # A new owner may have got the previous master key at the end of the last rotation.
    for _ in admin.rotate_vault():
        pass
    assert (len(masters(db)), orphans(db)) == (1, 0)
    resolves(first, 1)(0)
    resolves(second, 2)(0)
    assert admin.get_vault().unreadable == 0


@pytest.mark.usefixtures("owners")
def test_rotations_at_the_same_time_lose_nothing(
    stack: Stack, http: Http, admin: Admin, db: psycopg.Connection[Any]
) -> None:
    user = new_user(http)
    user.holds_key("groq", 1)
    readable = "select count(*) from llm_private.key_owners as o where llm_private.data_key(o.id) is not null"
    before = db.execute(readable).fetchone()

    def rotate(_: int) -> int:
        with Admin(stack.api_url, stack.secret_key) as each:
            return sum(state.rewrapped for state in each.rotate_vault())

    with ThreadPoolExecutor(3) as pool, busy(resolves(user, 1)):
        rewrapped = [*pool.map(rotate, range(3))]
    # They share the work; one that began when another had ended does all of it again.
    assert sum(rewrapped) >= OWNERS
    assert db.execute(readable).fetchone() == before
    vault = admin.get_vault()
    assert (vault.left, vault.pending, len(masters(db)), orphans(db)) == (0, False, 1, 0)


def test_a_rotation_waits_for_an_owner_who_is_locked(
    http: Http, admin: Admin, db: psycopg.Connection[Any], stack: Stack
) -> None:
    user = new_user(http)
    user.holds_key("groq", 1)
    before = masters(db)
    with stack.connect() as blocker, blocker.transaction():
        blocker.execute("select from llm_private.key_owners where id = %s for update", [user.id])
        rotation = admin.rotate_vault()
        state = next(rotation)
        while state.left != 1:
            state = next(rotation)
        assert (state.finished, state.destroyed) == (False, 0)
        assert set(before) <= set(masters(db))
        # Its key is readable meanwhile.
        resolves(user, 1)(0)
    assert [*rotation][-1].finished
    assert not set(before) & set(masters(db))
    resolves(user, 1)(0)


def test_the_asyncio_twin_rotates_too(stack: Stack) -> None:
    async def rotate() -> tuple[bool, int]:
        async with AsyncAdmin(stack.api_url, stack.secret_key) as admin:
            states = [state async for state in admin.rotate_vault()]
            until = await admin.rotate_ticket_key()
            vault = await admin.get_vault()
        assert vault.ticket_keys[-2].valid_until == until
        return states[-1].finished, len(vault.master_keys)

    assert asyncio.run(rotate()) == (True, 1)
