"""Usage survives the end of a script and an outage of the database; every loss is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import DatabaseUnavailableError, SupaLLM
from supa_llm.local import LocalStack
from tests.support import ROOT, Emulator, Stack, User, key_for

SCRIPT = """
from supabase import create_client
from supa_llm import SupaLLM
import sys
sb = create_client(sys.argv[1], sys.argv[2])
sb.auth.sign_in_with_password({"email": sys.argv[3], "password": sys.argv[4]})
llm = SupaLLM(sb, flush_timeout=1)
llm.chat("Hello")
"""
ASYNC_SCRIPT = """
import asyncio, sys
from supabase import create_async_client
from supa_llm import AsyncSupaLLM
async def main():
    sb = await create_async_client(sys.argv[1], sys.argv[2])
    await sb.auth.sign_in_with_password({"email": sys.argv[3], "password": sys.argv[4]})
    llm = AsyncSupaLLM(sb)
    await llm.chat("Hello")
asyncio.run(main())
"""
GOES_DOWN = """
llm.flush()
client = llm._resources._database._client
client.base_url = client.base_url.with_port(9)
llm.chat("Hello")
"""


def run(script: str, stack: Stack, user: User) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, stack.api_url, stack.publishable_key, *user.credentials.values()],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def recorded(db: psycopg.Connection[Any], user: User) -> int:
    row = db.execute("select count(*) from public.llm_usage_events where user_id = %s", [user.id]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT,
        ASYNC_SCRIPT,
        SCRIPT + "raise ValueError('a bug')",
        SCRIPT + "sys.exit(3)",
        SCRIPT + "llm.close()",
        SCRIPT + "del llm, sb",
    ],
    ids=["ends", "asyncio", "fails", "exits", "closes", "deletes"],
)
def test_a_script_that_just_ends(
    script: str, stack: Stack, user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
    done = run(script, stack, user)
    assert recorded(db, user) == 1, done.stderr
    assert "usage event" not in done.stderr


def test_a_script_that_ends_while_the_database_is_down_reports_the_loss(
    stack: Stack, user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
    done = run(SCRIPT + GOES_DOWN, stack, user)
    assert recorded(db, user) == 1, done.stderr
    assert "1 usage event(s) could not be recorded" in done.stderr
    assert user.access_token not in done.stderr


@pytest.fixture
def private(tmp_path: Path, emulator: Emulator) -> Any:
    """A stack that may be stopped."""
    local = LocalStack(tmp_path / "stack", project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        stack = Stack.from_env(local.env())
        stack.admin("set_llm_provider", p_provider={"id": "openai", "base_url": emulator.base_url("openai")})
        yield local, stack
    finally:
        local.destroy()


def test_usage_waits_until_the_database_is_back(private: tuple[LocalStack, Stack]) -> None:
    local, stack = private
    user = stack.sign_up()
    user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
    with SupaLLM(user.client()) as llm:
        llm.chat("Hello")
        assert llm.flush()
        local.down()
        for _ in range(20):  # its route is on lease
            llm.chat("Hello")
        with pytest.raises(DatabaseUnavailableError) as caught:
            llm.list_keys()
        assert caught.value.__context__ is None
        assert not llm.flush(2)
        assert llm.dropped_usage == 0
        local.up()
        assert llm.flush(30)
        assert llm.dropped_usage == 0
    with stack.connect() as db:
        assert recorded(db, user) == 21
