"""One object serves many users at once, and every provider call has the right user's key."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from supa_llm import AsyncSupaLLM, SupaLLM
from tests.support import Emulator, Stack, User, key_for

USERS, AT_ONCE, TURNS = 200, 32, 3


class Watched(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends requests and notes the user and the key of each. The prompt names the user: ``I am user 7``."""

    def __init__(self) -> None:
        self._sync, self._async = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()
        self._lock = threading.Lock()
        self.seen: list[tuple[int, str]] = []

    def _note(self, request: httpx.Request) -> None:
        owner = int(json.loads(request.content)["messages"][0]["content"].removeprefix("I am user "))
        with self._lock:
            self.seen.append((owner, request.headers["authorization"].removeprefix("Bearer ")))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._note(request)
        return self._sync.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._note(request)
        return await self._async.handle_async_request(request)


@pytest.fixture
def crowd(stack: Stack, providers: Emulator) -> list[User]:
    """Users, each with an own key."""
    users = stack.crowd(USERS)

    def store(owner: int) -> None:
        users[owner].rpc("set_llm_key", provider="openai", key=key_for("openai", owner))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(USERS)))
    return users


def turns() -> list[int]:
    """Each user several times, shuffled."""
    order = [owner for owner in range(USERS) for _ in range(TURNS)]
    random.Random(7).shuffle(order)
    return order


def check(transport: Watched, users: list[User], db: psycopg.Connection[Any]) -> None:
    assert len(transport.seen) == USERS * TURNS
    assert [it for it in transport.seen if it[1] != key_for("openai", it[0])] == []
    mixed_up = db.execute(
        """
        select count(*) from public.llm_usage_events as e
        left join public.llm_keys as k on k.owner_id = e.user_id and k.id = e.key_id
        where e.user_id = any(%s) and k.id is null
        """,
        [[user.id for user in users]],
    ).fetchone()
    recorded = db.execute(
        "select count(*) from public.llm_usage_events where user_id = any(%s) group by user_id",
        [[user.id for user in users]],
    ).fetchall()
    assert mixed_up == (0,)
    assert recorded == [(TURNS,)] * USERS


def test_over_threads(stack: Stack, crowd: list[User], db: psycopg.Connection[Any]) -> None:
    transport = Watched()
    with (
        httpx.Client(transport=transport) as http,
        SupaLLM(stack.client(), http_client=http) as llm,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def ask(owner: int) -> None:
            view = llm.for_user(crowd[owner].access_token)
            receipt = view.chat(f"I am user {owner}").receipt
            assert receipt.answered_by is not None
            assert str(view.get_settings().user_id) == crowd[owner].id

        list(pool.map(ask, turns()))
        assert llm.flush(60)
        assert llm.dropped_usage == 0
    check(transport, crowd, db)


async def test_over_tasks(stack: Stack, crowd: list[User], db: psycopg.Connection[Any]) -> None:
    transport, limit = Watched(), asyncio.Semaphore(AT_ONCE)
    sb = await stack.async_client()
    async with httpx.AsyncClient(transport=transport) as http, AsyncSupaLLM(sb, http_client=http) as llm:

        async def ask(owner: int) -> None:
            async with limit:
                view = llm.for_user(crowd[owner].access_token)
                receipt = (await view.chat(f"I am user {owner}")).receipt
                assert receipt.answered_by is not None
                assert str((await view.get_settings()).user_id) == crowd[owner].id

        await asyncio.gather(*map(ask, turns()))
        assert await llm.flush(60)
        assert llm.dropped_usage == 0
    check(transport, crowd, db)
