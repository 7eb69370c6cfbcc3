"""Users for the tests of libraries, in an environment where every other way to a provider is a trap."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from supa_llm.engine import AsyncEngine, Engine
from tests.providers.conftest import Providers
from tests.support import Emulator
from tests.unit.engine_support import AsyncMemoryAccount, AsyncMemoryUser, MemoryAccount, MemoryUser


class City(BaseModel):
    """A city."""

    name: str
    people: int


#: The emulator's answer to a schema with the fields of City.
MOCK_CITY = City(name="mock-name", people=1)


@pytest.fixture
def llm(to: Providers) -> Iterator[MemoryUser]:
    """A synchronous client's user, whose OpenAI key is tried before the Groq key."""
    with Engine() as engine:
        yield MemoryUser(MemoryAccount((to("openai"), to("groq"))), engine)


@pytest.fixture
def async_llm(to: Providers) -> AsyncMemoryUser:
    """An asynchronous client's user."""
    return AsyncMemoryUser(AsyncMemoryAccount((to("openai"), to("groq"))), AsyncEngine())


@pytest.fixture(params=["synchronous client", "asynchronous client"])
def any_llm(
    request: pytest.FixtureRequest, llm: MemoryUser, async_llm: AsyncMemoryUser
) -> MemoryUser | AsyncMemoryUser:
    """Either; asynchronous calls must work with both."""
    return llm if request.param == "synchronous client" else async_llm


@pytest.fixture(autouse=True)
def strays(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> Iterator[list[Any]]:
    """Addresses that a test calls past supa-llm; there must be none. The operator's key is in every trap."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "sk-operator")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/v1")
    allowed = ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    strays: list[Any] = []

    def guarded(connect: Any) -> Any:
        def connect_to(it: socket.socket, address: Any) -> Any:
            if it.family == socket.AF_UNIX or address[:2] == allowed:
                return connect(it, address)
            strays.append(address)
            raise OSError(f"A connection to {address}")

        return connect_to

    def resolve(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host in ("127.0.0.1", b"127.0.0.1"):
            return getaddrinfo(host, port, *more, **options)
        strays.append((host, port))
        raise socket.gaierror(f"A look-up of {host!r}")

    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    yield strays
    assert strays == []
    assert "sk-operator" not in str(emulator.requests())
