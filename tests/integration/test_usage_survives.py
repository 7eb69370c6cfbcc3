"""Usage survives the end of a process, a fork, an expired token and an outage of the database.

Every loss is reported.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from supa_llm import AsyncSupaLLM, DatabaseUnavailableError, NotSignedInError, SupaLLM
from supa_llm.local import LocalStack
from supa_llm.local.ports import pick_free
from tests.support import ROOT, Emulator, Stack, User, key_for, unique, wait_until

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
        stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
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


@pytest.fixture
def runtime(stack: Stack) -> Iterator[str]:
    """The secret of a runtime."""
    registered = stack.admin("register_llm_runtime", p_name=unique("a test of usage"))
    yield registered["secret"]
    stack.admin("revoke_llm_runtime", p_id=registered["id"])


@pytest.fixture
def crowd(stack: Stack, providers: Emulator) -> list[User]:
    """A few users with keys."""
    users = stack.crowd(4)
    for owner, user in enumerate(users):
        user.rpc("set_llm_key", provider="openai", key=key_for("openai", owner))
    return users


@contextmanager
def serving(
    stack: Stack, runtime: str, *, workers: int, spool: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A uvicorn with the app of ``usage_server.py``, and the app's URL."""
    port = pick_free(1)[0]
    url = f"http://127.0.0.1:{port}/reply"
    options = f"tests.integration.usage_server:app --port {port} --workers {workers} --log-level warning"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *options.split()],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "API_URL": stack.api_url,
            "PUBLISHABLE_KEY": stack.publishable_key,
            "SUPA_LLM_RUNTIME_SECRET": runtime,
        }
        | ({"USAGE_SPOOL": str(spool)} if spool else {}),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or _is_up(url), seconds=30)
        yield process, url
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 405
    except httpx.TransportError:
        return False


class Load:
    """Requests of many users at once, until the server is gone.

    Attributes:
        answered: the ID of each request that was answered, and the process that answered it.
    """

    def __init__(self, url: str, users: list[User]) -> None:
        self.answered: dict[str, int] = {}
        self._threads = [threading.Thread(target=self._run, args=(url, user)) for user in users * 3]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str, user: User) -> None:
        # Connections that stay open may all belong to the same worker.
        headers = {"authorization": f"Bearer {user.access_token}", "connection": "close"}
        failures = 0
        with httpx.Client(timeout=30, headers=headers) as http:
            while failures < 3:
                try:
                    answer = http.post(url).raise_for_status().json()
                    self.answered[answer["request_id"]] = answer["process"]
                except httpx.HTTPError:
                    failures += 1

    def end(self) -> None:
        for thread in self._threads:
            thread.join(30)


@contextmanager
def unable_to_record(db: psycopg.Connection[Any], load: Load) -> Iterator[None]:
    """Usage waits in the server, at least that of 50 requests."""
    with db.transaction():
        db.execute("lock table public.llm_usage_events in exclusive mode")
        answered = len(load.answered)
        wait_until(lambda: len(load.answered) > answered + 50, seconds=30)
        yield


def missing(db: psycopg.Connection[Any], load: Load) -> set[str]:
    """The answered requests that are not recorded."""
    ids = list(load.answered)
    rows = db.execute(
        "select request_id::text from public.llm_usage_events where request_id = any(%s::uuid[])", [ids]
    )
    return set(ids) - {name for (name,) in rows}


def test_sigterm_under_load_loses_no_usage(
    stack: Stack, runtime: str, crowd: list[User], db: psycopg.Connection[Any]
) -> None:
    with serving(stack, runtime, workers=2) as (server, url):
        load = Load(url, crowd)
        wait_until(lambda: len(load.answered) > 100 and len(set(load.answered.values())) == 2, seconds=30)
        with unable_to_record(db, load):
            server.send_signal(signal.SIGTERM)
            time.sleep(1)
        load.end()
        _, said = server.communicate(timeout=30)
    assert missing(db, load) == set()
    assert "usage event" not in said


def test_sigkill_under_load_loses_no_usage_that_is_in_the_spool(
    stack: Stack, runtime: str, crowd: list[User], db: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with serving(stack, runtime, workers=1, spool=tmp_path) as (server, url):
        load = Load(url, crowd)
        wait_until(lambda: len(load.answered) > 100, seconds=30)
        with unable_to_record(db, load):
            server.kill()
            load.end()
    assert missing(db, load)
    with SupaLLM(stack.client(), runtime_secret=runtime, operator_keys={}, usage_spool=tmp_path) as llm:
        assert llm.flush()
        assert llm.dropped_usage == 0
    assert missing(db, load) == set()
    assert list(tmp_path.iterdir()) == []


def test_usage_outlives_its_token_if_a_runtime_records_it(
    stack: Stack, runtime: str, crowd: list[User], db: psycopg.Connection[Any]
) -> None:
    if stack.jwt_secret is None:
        pytest.skip("needs the project's JWT secret")
    user = crowd[0]
    # PostgREST accepts a token for 30 seconds after its expiry.
    token = stack.sign(sub=user.id, exp=int(time.time()) - 27)
    with SupaLLM(stack.client(), runtime_secret=runtime, operator_keys={}) as llm:
        send, llm._resources.recorder._send = llm._resources.recorder._send, _away
        llm.for_user(token).chat("Hello")
        time.sleep(4)
        assert stack.rpc("get_llm_settings", token).status_code == 401
        llm._resources.recorder._send = send
        assert llm.flush()
        assert llm.dropped_usage == 0
    assert recorded(db, user) == 1


def test_usage_waits_for_the_users_next_token_without_a_runtime(
    stack: Stack, crowd: list[User], db: psycopg.Connection[Any]
) -> None:
    if stack.jwt_secret is None:
        pytest.skip("needs the project's JWT secret")
    user = crowd[0]
    token = stack.sign(sub=user.id, exp=int(time.time()) - 27)
    with SupaLLM(stack.client(), operator_keys={}) as llm:
        send, llm._resources.recorder._send = llm._resources.recorder._send, _away
        llm.for_user(token).chat("Hello")
        time.sleep(4)
        llm._resources.recorder._send = send
        assert not llm.flush(1)
        with pytest.raises(NotSignedInError):
            llm.for_user(token).list_keys()
        assert (recorded(db, user), llm.dropped_usage) == (0, 0)
        llm.for_user(user.access_token).list_keys()
        assert llm.flush()
        assert llm.dropped_usage == 0
    assert recorded(db, user) == 1


def test_usage_waits_for_the_refresh_of_a_session(
    user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
    sb = user.client()
    with SupaLLM(sb, operator_keys={}) as llm:
        send, llm._resources.recorder._send = llm._resources.recorder._send, _refuse
        llm.chat("Hello")
        assert not llm.flush(0.2)
        llm._resources.recorder._send = send
        time.sleep(1.1)  # a token's issue time is in whole seconds
        sb.auth.refresh_session()
        wait_until(lambda: recorded(db, user) == 1, seconds=3)
        assert llm.dropped_usage == 0


def _refuse(*_: object) -> Any:
    raise NotSignedInError("expired")


def _away(*_: object) -> Any:
    raise DatabaseUnavailableError("away")


def in_child(run: Callable[[], None]) -> None:
    """Run in a forked process, which must succeed."""
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_process_records_its_own_usage_on_its_own_connections(
    stack: Stack, runtime: str, crowd: list[User], db: psycopg.Connection[Any]
) -> None:
    user = crowd[0]
    with SupaLLM(stack.client(), runtime_secret=runtime, operator_keys={}) as llm:
        view = llm.for_user(user.access_token)
        view.chat("Hello")
        assert llm.flush()
        drop_in = view.openai(max_retries=0)
        connections = sockets()
        assert connections
        send, llm._resources.recorder._send = llm._resources.recorder._send, _away
        story = view.stream("Hello")
        story.__enter__()
        for _ in range(5):
            view.chat("Hello")

        def child() -> None:
            llm._resources.recorder._send = send
            assert llm.flush(0)
            story.close()  # it belongs to the parent
            for _ in range(4):
                view.chat("Hello")
            drop_in.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])
            assert llm.flush()
            assert llm.dropped_usage == 0
            mine = {end for end in sockets() if end not in connections}
            assert len(mine) >= 2

        in_child(child)
        assert recorded(db, user) == 1 + 5
        llm._resources.recorder._send = send
        assert "".join(story)
        story.close()
        view.chat("Hello")
        assert llm.flush()
        assert llm.dropped_usage == 0
    assert recorded(db, user) == 1 + 5 + 5 + 1 + 1


def test_a_forked_process_can_use_an_asynchronous_client(
    stack: Stack, runtime: str, crowd: list[User], db: psycopg.Connection[Any]
) -> None:
    user = crowd[0]

    async def make() -> AsyncSupaLLM:
        llm = AsyncSupaLLM(await stack.async_client(), runtime_secret=runtime, operator_keys={})
        await llm.for_user(user.access_token).chat("Hello")
        return llm

    async def use() -> None:
        await asyncio.gather(*(llm.for_user(user.access_token).chat("Hello") for _ in range(5)))
        await llm.close()
        assert llm.dropped_usage == 0

    with asyncio.Runner() as runner:
        llm = runner.run(make())
        in_child(lambda: asyncio.run(use()))
        in_child(lambda: asyncio.run(use()))
        runner.run(llm.close())
    assert llm.dropped_usage == 0
    assert recorded(db, user) == 1 + 5 + 5


def sockets() -> set[str]:
    """The sockets that this process has open."""
    opened = set()
    for one in Path("/proc/self/fd").iterdir():
        try:
            opened.add(os.readlink(one))
        except FileNotFoundError:  # the listing itself
            continue
    return {name for name in opened if name.startswith("socket:")}
