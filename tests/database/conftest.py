"""Fixtures for the database: over HTTP, and inside a transaction as its owner or as any API role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from supa_llm.local import LocalStack
from tests.database.support import Adopter, Connection, Http, Transaction, inventory, owner, rolled_back
from tests.support import ROOT, Stack, unique


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[Http]:
    """The public API. Changes persist, so a test must restore every operator setting that it changes."""
    if stack.jwt_secret is None:
        pytest.skip(
            "these tests sign their own tokens: set JWT_SECRET to the project's secret in the environment"
        )
    api = Http(stack, stack.jwt_secret)
    with api.client:
        yield api


@pytest.fixture(scope="session")
def _owner(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture
def tx(_owner: Connection) -> Iterator[Transaction]:
    """A transaction for this test, rolled back when the test ends."""
    with rolled_back(_owner) as transaction:
        yield transaction


@pytest.fixture(scope="session")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopter]:
    """An existing project with the default privileges of new projects, after installing supa-llm."""
    empty, directory = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("new_stack")
    (empty / "supabase" / "migrations").mkdir(parents=True)
    options: dict[str, Any] = {"port": 0, "throwaway": True, "default_privileges": "new"}
    local = LocalStack(directory, project=empty, **options)
    try:
        local.up()
        stack = Stack.from_env(local.env())
        with owner(stack) as connection:
            before = inventory(connection)
        LocalStack(directory, project=ROOT, **options).up()
        yield Adopter(stack, before)
    finally:
        local.destroy()


@pytest.fixture(scope="session")
def new_stack(adopter: Adopter) -> Stack:
    """A stack with the default privileges of projects created since 2026."""
    return adopter.stack


@pytest.fixture
def runtime(tx: Transaction) -> str:
    """The secret of a registered runtime."""
    return str(tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"])
