"""A known key, a token and a runtime's secret pass through every failure and appear nowhere in the client.

Not in a log at DEBUG (those of the HTTP libraries too), a warning, a repr, a message or a chain of errors.
"""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from supa_llm import AsyncSupaLLM, SupaLLM, SupaLLMError
from supa_llm.engine import uuid7
from supa_llm.values.routes import Demand
from supa_llm.values.secrets import Secret
from tests.support import Emulator, Stack, User

KEY = "sk-test-canary0123456789abcdefCANARY"
OPERATOR_KEY = "gsk_canary0123456789abcdefOPERATOR"
RUNTIME_SECRET = "runtime-canary-0123456789-SECRET"
#: Long enough to prove a leak, short enough to find a partial one.
PARTS = [secret[at : at + 16] for secret in (KEY, OPERATOR_KEY, RUNTIME_SECRET) for at in (0, 8, 16)]


class Watch:
    """Everything that is logged or raised meanwhile."""

    def __init__(self, *more: str) -> None:
        self.secrets = [*PARTS, *more]
        self.log = io.StringIO()
        self.errors: list[SupaLLMError] = []

    def fails(self, act: Callable[[], Any]) -> SupaLLMError:
        with pytest.raises(SupaLLMError) as caught:
            act()
        self.errors.append(caught.value)
        return caught.value

    def told(self) -> Iterator[tuple[str, str]]:
        yield "log", self.log.getvalue()
        for error in self.errors:
            name = f"{type(error).__name__} {error.code}"
            yield name, "".join(traceback.format_exception(error))
            for link in chain(error):
                yield f"{name}, {type(link).__name__}", f"{link!s} {link!r} {link.args!r} {vars(link)!r}"
                assert not hasattr(link, "request"), f"{name} holds the HTTP request"
                assert not type(link).__module__.startswith(("httpx", "httpcore", "postgrest")), name

    def check(self, *objects: Any) -> None:
        for place, text in (*self.told(), *((type(it).__name__, deep(it)) for it in objects)):
            for secret in self.secrets:
                assert secret not in text, f"a secret in {place}"


@contextmanager
def watching(*more: str) -> Iterator[Watch]:
    watch = Watch(*more)
    handler = logging.StreamHandler(watch.log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    names = ("httpx", "httpcore", "hpack", "h2", "postgrest", "openai", "asyncio", "supa_llm")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield watch
            watch.log.writelines(f"{warning.message}\n" for warning in warned)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything reachable from it, also what a traceback hides."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [it for it in (link.__cause__, link.__context__) if it is not None]


def deep(thing: Any, levels: int = 5) -> str:
    """The repr of an object and of its attributes."""
    if isinstance(thing, Secret) or levels == 0:
        return repr(thing)
    held = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    if isinstance(thing, dict):
        held += thing.values()
    elif isinstance(thing, list | tuple | set):
        held += thing
    if not type(thing).__module__.startswith("supa_llm") and not held:
        return repr(thing)
    ours = [it for it in held if type(it).__module__.startswith(("supa_llm", "builtins", "collections"))]
    return " ".join([repr(thing), *(deep(it, levels - 1) for it in ours)])


@pytest.fixture
def canary(user: User, providers: Emulator) -> User:
    """A user whose key is the canary."""
    user.rpc("set_llm_key", provider="openai", key=KEY)
    return user


def faults(providers: Emulator) -> Iterator[None]:
    """Each kind of provider failure, with an error message that repeats the key if possible."""
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        providers.fail(status, message=f"Incorrect API key provided: {KEY}. Bearer {KEY}")
        yield
    providers.script({"type": "delay", "seconds": 3})
    yield
    for kind in ("disconnect", "truncate", "malformed"):
        providers.script({"type": "stream_fault", "kind": kind, "after_chunks": 0})
        yield


def revive(user: User) -> None:
    """Reset the key's status to working."""
    with user.stack.connect() as db:
        db.execute(
            "update public.llm_keys set status = 'untested', rate_limited_models = '{}' where owner_id = %s",
            [user.id],
        )


def test_in_threads(canary: User, providers: Emulator, stack: Stack) -> None:
    sb = canary.client()
    session = sb.auth.get_session()
    assert session is not None
    with watching(session.access_token, session.refresh_token, session.access_token.split(".")[2]) as watch:
        llm = SupaLLM(sb, operator_keys={"mistral": OPERATOR_KEY}, max_retries=0, flush_timeout=0.5)
        llm.set_settings(allow_operator_keys=False)
        for provider in ("openai", "groq", "nobody", KEY):
            for key in (
                KEY[:-1] + "\n",
                KEY + "\x00",
                KEY + "\ud800",
                KEY * 400,
                f"Bearer {KEY}",
                f'"{KEY}"',
            ):
                watch.fails(partial(llm.set_key, provider, key))
        for wrong in (
            lambda: llm.set_settings(default_provider=KEY),
            lambda: llm.set_settings(provider_preferences={KEY: {"enabled": True}}),
            lambda: llm.set_settings(provider_preferences={"openai": {"model": f"{KEY} {KEY}"}}),
            lambda: llm.set_settings(task_overrides={"code": {"provider": KEY}}),
            lambda: llm.remove_key(KEY),
            lambda: llm.reveal_key(KEY),
            lambda: llm.explain_route(model=f"{KEY} "),
            lambda: llm.for_user(KEY).get_settings(),
            lambda: llm.for_user(f"{session.access_token}x").chat("Hello"),
            lambda: llm.for_user(f"{session.access_token}\n").chat("Hello"),
            lambda: SupaLLM(sb, runtime_secret=RUNTIME_SECRET).chat("Hello"),
            lambda: SupaLLM(sb, runtime_secret=f"{RUNTIME_SECRET}\n"),
        ):
            watch.fails(wrong)
        for _ in faults(providers):
            watch.fails(lambda: "".join(llm.stream("Hello", timeout=1)))
            llm.flush(5)
            revive(canary)
            llm._resources.cache.forget(canary.id)
        for _ in faults(providers):
            try:
                llm.chat("Hello", timeout=1)
            except SupaLLMError as error:
                watch.errors.append(error)
            llm.flush(5)
            revive(canary)
            llm._resources.cache.forget(canary.id)
        route = llm._account().route(None, None, ["chat"], Demand(uuid7(), 1_000, None))
        assert route.candidates[0].key == Secret(KEY)
        answer = llm.chat("Hello")
        watch.check(
            llm,
            llm._resources,
            llm._session,
            route,
            answer,
            answer.receipt,
            llm._resources.operator_keys,
            llm.list_keys(),
        )
        with pytest.raises(TypeError):
            pickle.dumps(route)
        database = llm._resources._database._client
        database.base_url = database.base_url.with_port(9)
        llm.chat("Hello")
        watch.fails(lambda: llm.set_key("openai", KEY))
        watch.fails(llm.list_keys)
        llm.close()
        assert llm.dropped_usage == 1
        watch.fails(lambda: llm.set_key("openai", KEY))
        watch.check(llm, llm._resources)
    assert len(watch.errors) > 50
    assert "usage event" in watch.log.getvalue()
    assert "send_request_headers" in watch.log.getvalue()


async def test_in_tasks(canary: User, providers: Emulator, stack: Stack) -> None:
    sb = await canary.async_client()
    session = await sb.auth.get_session()
    assert session is not None

    with watching(session.access_token, session.refresh_token) as watch:
        llm = AsyncSupaLLM(sb, max_retries=0, flush_timeout=0.5)

        async def fails(acting: Any) -> None:
            with pytest.raises(SupaLLMError) as caught:
                await acting
            watch.errors.append(caught.value)

        async def read() -> None:
            async with llm.stream("Hello", timeout=1) as stream:
                async for _ in stream:
                    pass

        for key in (KEY[:-1] + "\n", KEY + "\x00", KEY + "\ud800", KEY * 400):
            await fails(llm.set_key("openai", key))
        await fails(llm.for_user(f"{session.access_token}x").chat("Hello"))
        for _ in faults(providers):
            await fails(read())
            await llm.flush(5)
            revive(canary)
            llm._resources.cache.forget(canary.id)
        await llm.chat("Hello")
        task = asyncio.create_task(llm.chat("Hello"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        database = llm._resources._database._client
        database.base_url = database.base_url.with_port(9)
        await fails(llm.set_key("openai", KEY))
        await llm.close()
        await fails(llm.list_keys())
        watch.check(llm, llm._resources)
