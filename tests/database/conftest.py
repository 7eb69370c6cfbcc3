"""The database under test, as its owner, as each role of the API, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supa_llm.local import LocalStack
from tests.database.support import Http, Transaction, rolled_back

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One stack for all tests, with the default privileges of most projects."""
    started = LocalStack(
        tmp_path_factory.mktemp("stack"), project=PROJECT, port=0, throwaway=True, default_privileges="old"
    )
    started.up()
    yield started
    started.destroy()


@pytest.fixture(scope="session")
def http(stack: LocalStack) -> Iterator[Http]:
    """The public surface. What a test does here stays: leave the operator's switches as they were."""
    world = Http(stack)
    with world.client:
        yield world


@pytest.fixture
def db(stack: LocalStack) -> Iterator[Transaction]:
    """The database in a transaction of this test's own, rolled back at its end."""
    with rolled_back(stack.env()["DB_URL"]) as transaction:
        yield transaction


@pytest.fixture(scope="session")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with the default privileges of projects made since 2026."""
    started = LocalStack(
        tmp_path_factory.mktemp("new"), project=PROJECT, port=0, throwaway=True, default_privileges="new"
    )
    started.up()
    yield started
    started.destroy()
