"""A class for threads and its twin for asyncio have the same docs, which stand once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound=type)


def documented_by(twin: type) -> Callable[[C], C]:
    """Take the docs of methods from the class for threads."""

    def copy(cls: C) -> C:
        for name, member in vars(cls).items():
            if not name.startswith("_") and not member.__doc__:
                member.__doc__ = getattr(twin, name.removeprefix("async_")).__doc__
        return cls

    return copy
