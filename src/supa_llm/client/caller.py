"""The base classes of the client's nouns, and the decorator that shares docs between twins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from supa_llm.database.call import Call

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Caller(ABC):
    """Runs RPCs as one user or as an administrator."""

    @abstractmethod
    def _run(self, call: Call[T]) -> T:
        """Run an RPC after which every cached value stays valid."""

    @abstractmethod
    def _change(self, call: Call[T]) -> T:
        """Run an RPC, then drop the cached settings and routes of the user."""


class AsyncCaller(ABC):
    """The twin of :class:`Caller` for asyncio."""

    @abstractmethod
    async def _run(self, call: Call[T]) -> T: ...

    @abstractmethod
    async def _change(self, call: Call[T]) -> T: ...


def documented_by(twin: type) -> Callable[[C], C]:
    """Copy the docs of methods from the class for threads, so that they are written once."""

    def copy(cls: C) -> C:
        for name, member in vars(cls).items():
            if not name.startswith("_") and not member.__doc__:
                member.__doc__ = getattr(twin, name.removeprefix("async_")).__doc__
        return cls

    return copy
