"""What a forked process must not share with its parent: locks, threads, connections and queued events."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """An object that begins afresh in a forked process."""

    def begin_child(self) -> None:
        """Replace what belongs to the parent. No other thread runs yet."""


_live: weakref.WeakSet[Forked] = weakref.WeakSet()


def begin_in_children(one: Forked) -> None:
    """Call ``one.begin_child()`` in every process that is forked while ``one`` exists."""
    _live.add(one)


def _begin_child() -> None:
    for one in list(_live):
        one.begin_child()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_begin_child)
