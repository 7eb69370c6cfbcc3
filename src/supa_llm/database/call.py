"""One RPC as a value: its name, its arguments and how its response is parsed. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One RPC. ``args`` may contain a provider key, so the repr omits them."""

    name: str
    args: Mapping[str, Any] = field(repr=False)
    parse: Callable[[Any], T] = field(repr=False)
