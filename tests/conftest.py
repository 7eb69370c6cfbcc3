"""Fixtures for the whole suite.

The tests run against a Supabase project with the migrations: the one in API_URL, DB_URL, PUBLISHABLE_KEY and
SECRET_KEY (``supabase status -o env`` prints them), or else a local stack in a temporary directory, which is
destroyed at the end of the session. Each test creates its own users, so tests do not affect each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from supa_llm.local import LocalStack
from supa_llm.local.ports import pick_free
from tests.support import PROVIDERS, ROOT, Emulator, Stack, User, running_emulator

_NAMED = ("API_URL", "DB_URL", "PUBLISHABLE_KEY", "SECRET_KEY")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="also run slow cases that are similar to others"
    )


@pytest.fixture(scope="session")
def exhaustive(pytestconfig: pytest.Config) -> bool:
    """Whether to run slow cases that are similar to others."""
    return bool(pytestconfig.getoption("--exhaustive"))


@pytest.fixture(autouse=True)
def _no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keys and secrets of the person who runs the tests."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name == "SUPA_LLM_RUNTIME_SECRET":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The Supabase project that the tests run against."""
    if all(os.environ.get(name) for name in _NAMED):
        yield _open_to_owners(Stack.from_env(os.environ))
        return
    local = LocalStack(tmp_path_factory.mktemp("stack"), project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        yield _open_to_owners(Stack.from_env(local.env()))
    finally:
        local.destroy()


def _open_to_owners(stack: Stack) -> Stack:
    """Let users get their keys without a runtime, so that tests about something else need none."""
    stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
    return stack


@pytest.fixture
def new_user(stack: Stack) -> Callable[[], User]:
    """A function that signs up a new user."""
    return stack.sign_up


@pytest.fixture
def user(new_user: Callable[[], User]) -> User:
    """A new user."""
    return new_user()


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the database owner, in autocommit."""
    with stack.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def _emulator() -> Iterator[Emulator]:
    with running_emulator(pick_free(1)[0]) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: Emulator) -> Iterator[Emulator]:
    """An emulator of the providers, without scripted behavior or earlier requests."""
    _emulator.reset()
    yield _emulator
    _emulator.reset()


@pytest.fixture(scope="session")
def _emulated(stack: Stack, _emulator: Emulator) -> Iterator[None]:
    with stack.connect() as connection:
        before = connection.execute("select id, base_url from public.llm_providers").fetchall()
    for provider in PROVIDERS:
        stack.admin("set_llm_provider", p_provider={"id": provider, "base_url": _emulator.base_url(provider)})
    yield
    for provider, base_url in before:
        stack.admin("set_llm_provider", p_provider={"id": provider, "base_url": base_url})


@pytest.fixture
def providers(_emulated: None, emulator: Emulator) -> Emulator:
    """The emulator, with the project's catalog pointing at it."""
    return emulator
