"""What is kept in memory for a user: settings for a while, routes for their lease. Bounded in size.

An entry is found only by the exact access token that it was fetched with, after the database has accepted
that token: what a token merely claims opens nothing. The user that it belongs to matters for forgetting
alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from supa_llm.client.session import AccessToken

V = TypeVar("V")

#: Seconds. What is over, keys on a lease above all, leaves memory with the next look-up, whoever's it is.
_SWEEP_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Slot(Generic[V]):
    """What to keep: ``kind`` (``settings``, ``route``), which of it, and until when (seconds since 1970)."""

    kind: str
    which: Hashable
    until: Callable[[V], float]


_Key = tuple[bytes, str, Hashable]


class Store:
    """Entries with their owners; safe for threads.

    Args:
        size: entries at most; those not used for longest go first.
        clock: seconds since 1970.
    """

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[_Key, tuple[str, float, Any]] = OrderedDict()
        self._owned: dict[str, set[_Key]] = {}
        # An answer that was asked for before its owner's last change is not kept. Owners share the counters:
        # an unlucky neighbour's answer is fetched once more, and memory stays bounded.
        self._changes = [0] * 1024
        self._swept = clock()
        self._lock = threading.RLock()

    def forget(self, owner: str, kind: str | None = None) -> None:
        """Drop what is kept for ``owner``, also what is being fetched now; of one kind, or everything."""
        with self._lock:
            self._changes[hash(owner) % len(self._changes)] += 1
            for key in [key for key in self._owned.get(owner, ()) if kind in (None, key[1])]:
                self._drop(key)

    def kept(self, token: AccessToken, slot: Slot[V]) -> V | None:
        """What is kept for this very token, if anything is."""
        with self._lock:
            return self._get((token.digest, slot.kind, slot.which))  # type: ignore[no-any-return]

    def keep(self, token: AccessToken, slot: Slot[V], value: V) -> None:
        """Keep what was learned of this token by other ways than fetching it."""
        self._put((token.digest, slot.kind, slot.which), token, slot.until(value), value, self._change(token))

    def __len__(self) -> int:
        return len(self._entries)

    def _get(self, key: _Key) -> Any:
        """The value, or None; the lock is held."""
        now = self._clock()
        if now - self._swept >= _SWEEP_EVERY:
            self._swept = now
            for stale in [it for it, (_, until, _) in self._entries.items() if until <= now]:
                self._drop(stale)
        entry = self._entries.get(key)
        if entry is None or entry[1] <= now:
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def _put(self, key: _Key, token: AccessToken, until: float, value: Any, change: int) -> None:
        until = min(until, token.expires_at)
        with self._lock:
            if change != self._change(token) or until <= self._clock():
                return
            self._entries[key] = (token.owner, until, value)
            self._owned.setdefault(token.owner, set()).add(key)
            if len(self._entries) > self._size:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: _Key) -> None:
        owner = self._entries.pop(key)[0]
        keys = self._owned[owner]
        keys.discard(key)
        if not keys:
            del self._owned[owner]

    def _change(self, token: AccessToken) -> int:
        return self._changes[hash(token.owner) % len(self._changes)]


class Cache(Store):
    """For threads: those that miss the same entry at the same time share one fetch, and its error."""

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        super().__init__(size, clock)
        self._flights: dict[tuple[_Key, int], Future[Any]] = {}

    def fetch(self, token: AccessToken, slot: Slot[V], load: Callable[[], V]) -> V:
        """What is kept for this very token, or else what ``load`` returns."""
        key = (token.digest, slot.kind, slot.which)
        with self._lock:
            if (value := self._get(key)) is not None:
                return value  # type: ignore[no-any-return]
            change = self._change(token)
            flight, mine = self._flights.get((key, change)), Future[Any]()
            if flight is None:
                self._flights[key, change] = mine
        if flight is not None:
            return flight.result()  # type: ignore[no-any-return]
        try:
            loaded = load()
            self._put(key, token, slot.until(loaded), loaded, change)
            mine.set_result(loaded)
            return loaded
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[key, change]


class AsyncCache(Store):
    """For tasks of one event loop, else the same as :class:`Cache`. A waiter's cancellation is its own."""

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        super().__init__(size, clock)
        self._flights: dict[tuple[_Key, int], asyncio.Future[Any]] = {}

    async def fetch(self, token: AccessToken, slot: Slot[V], load: Callable[[], Awaitable[V]]) -> V:
        """What is kept for this very token, or else what ``load`` returns."""
        key = (token.digest, slot.kind, slot.which)
        with self._lock:
            if (value := self._get(key)) is not None:
                return value  # type: ignore[no-any-return]
            change = self._change(token)
            flight = self._flights.get((key, change))

        async def fly() -> V:
            loaded = await load()
            self._put(key, token, slot.until(loaded), loaded, change)
            return loaded

        def landed(flight: asyncio.Future[Any]) -> None:
            del self._flights[key, change]
            if not flight.cancelled():
                flight.exception()  # so that asyncio does not complain when every waiter has gone

        if flight is None:
            flight = self._flights[key, change] = asyncio.ensure_future(fly())
            flight.add_done_callback(landed)
        return await asyncio.shield(flight)
