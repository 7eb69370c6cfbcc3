"""One RPC as a value: its name, its arguments and how its response is parsed. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# RPCs with the same effect if they run twice. The others may report an error the second time, such as that a
# key to remove does not exist, or store an entry of their own.
_REPEATABLE = (
    "get_",
    "list_",
    "explain_",
    "check_",
    "resolve_",
    "reveal_",
    "reserve_",
    "release_",
    "record_llm_usage",
    "verify_",
)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One RPC. ``args`` may contain a provider key, so the repr omits them.

    Attributes:
        again: for RPCs that return a key: the arguments of the next call after the response
            ``{"again": true}``. The database commits a record of the key's release before it returns the key.
    """

    name: str
    args: Mapping[str, Any] = field(repr=False)
    parse: Callable[[Any], T] = field(repr=False)
    again: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = field(default=None, repr=False)

    @property
    def repeatable(self) -> bool:
        """Whether to send the call again if it is unknown whether it ran."""
        return self.name.startswith(_REPEATABLE)

    def following(self, data: Any) -> Call[T] | None:
        """The call that must follow this one if the database responded with ``data``; None if that is all."""
        if self.again is None or not isinstance(data, Mapping) or data.get("again") is not True:
            return None
        return replace(self, args=self.again(data))
