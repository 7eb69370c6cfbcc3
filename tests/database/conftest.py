"""The database under test: over HTTP, and in a transaction as its owner and as each role of the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from supa_llm.local import LocalStack
from tests.database.support import Adopter, Connection, Http, Transaction, inventory, owner, rolled_back
from tests.support import ROOT, Stack


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[Http]:
    """The public surface. What a test does here stays: leave the operator's switches as they were."""
    if stack.jwt_secret is None:
        pytest.skip("these tests sign tokens of their own: name the project's JWT_SECRET in the environment")
    world = Http(stack, stack.jwt_secret)
    with world.client:
        yield world


@pytest.fixture(scope="session")
def _owner(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture
def tx(_owner: Connection) -> Iterator[Transaction]:
    """The database in a transaction of this test's own, rolled back at its end."""
    with rolled_back(_owner) as transaction:
        yield transaction


@pytest.fixture(scope="session")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopter]:
    """A project made since 2026, with the default privileges of those, that adopts supa-llm."""
    empty, directory = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("new_stack")
    (empty / "supabase" / "migrations").mkdir(parents=True)
    made: dict[str, Any] = {"port": 0, "throwaway": True, "default_privileges": "new"}
    local = LocalStack(directory, project=empty, **made)
    try:
        local.up()
        stack = Stack.from_env(local.env())
        with owner(stack) as connection:
            before = inventory(connection)
        LocalStack(directory, project=ROOT, **made).up()
        yield Adopter(stack, before)
    finally:
        local.destroy()


@pytest.fixture(scope="session")
def new_stack(adopter: Adopter) -> Stack:
    """A stack with the default privileges of projects made since 2026."""
    return adopter.stack
