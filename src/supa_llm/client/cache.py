"""The cache of users' settings and routes, bounded in size.

Only the exact access token that fetched an entry finds it, after the database has accepted that token: a
token's claims alone open nothing. The owner of an entry matters only when the entry is dropped.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from supa_llm.client.session import AccessToken
from supa_llm.errors import NotSignedInError

V = TypeVar("V")

#: Seconds. Any user's lookup removes expired entries, so that leased keys leave memory soon.
_SWEEP_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Slot(Generic[V]):
    """What to cache: its kind (``settings``, ``route``), which one, and until when (seconds since 1970).

    Attributes:
        dropped: called with a value that leaves the cache, or that a change kept out of it; must be quick.
    """

    kind: str
    which: Hashable
    until: Callable[[V], float]
    dropped: Callable[[V], None] | None = None


_Key = tuple[bytes, str, Hashable]


def _key(token: AccessToken, slot: Slot[Any]) -> _Key:
    return token.digest, slot.kind, slot.which


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    until: float
    value: Any
    dropped: Callable[[Any], None] | None


class Store:
    """Entries with their owners; safe for threads.

    Args:
        size: most entries; the least recently used leave first.
        clock: seconds since 1970.
    """

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._owned: dict[str, set[_Key]] = {}
        # A value that was requested before its owner's last change is not cached. Owners share the counters,
        # which bounds memory; another owner's value is at worst fetched once more.
        self._changes = [0] * 1024
        self._swept = clock()
        self._lock = threading.RLock()
        self._sweeper: threading.Thread | None = None

    def forget(self, owner: str, kind: str | None = None) -> None:
        """Drop the entries of ``owner``, of one kind or all, including those that are being fetched."""
        with self._lock:
            self._changes[hash(owner) % len(self._changes)] += 1
            for key in [key for key in self._owned.get(owner, ()) if kind in (None, key[1])]:
                self._drop(key)

    def forget_outdated(self, owner: str, kind: str, is_outdated: Callable[[Any], bool]) -> None:
        """Drop the cached entries of ``owner`` and of one kind whose value is outdated."""
        with self._lock:
            for key in [key for key in self._owned.get(owner, ()) if key[1] == kind]:
                if is_outdated(self._entries[key].value):
                    self._drop(key)

    def kept(self, token: AccessToken, slot: Slot[V]) -> V | None:
        """The cached value of exactly this token, or None."""
        with self._lock:
            return self._get(_key(token, slot))  # type: ignore[no-any-return]

    def keep(self, token: AccessToken, slot: Slot[V], value: V) -> None:
        """Cache a value without fetching it."""
        self._put(token, slot, value, self._change(token))

    def discard(self, token: AccessToken, slot: Slot[V], value: V) -> None:
        """Drop this value, unless another one is cached by now."""
        key = _key(token, slot)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.value is value:
                self._drop(key)

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            for key in list(self._entries):
                self._drop(key)

    def __len__(self) -> int:
        return len(self._entries)

    def _get(self, key: _Key) -> Any:
        """The value, or None; the lock is held."""
        now = self._clock()
        if now - self._swept >= _SWEEP_EVERY:
            self._sweep(now)
        entry = self._entries.get(key)
        if entry is None or entry.until <= now:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def _put(self, token: AccessToken, slot: Slot[V], value: V, change: int) -> None:
        key, until = _key(token, slot), min(slot.until(value), token.expires_at)
        with self._lock:
            if until <= self._clock():
                return
            if change != self._change(token):
                if slot.dropped is not None:
                    slot.dropped(value)
                return
            if key in self._entries:
                self._drop(key)
            self._entries[key] = _Entry(token.owner, until, value, slot.dropped)
            self._owned.setdefault(token.owner, set()).add(key)
            if len(self._entries) > self._size:
                self._drop(next(iter(self._entries)))
            if slot.dropped is not None and self._sweeper is None:
                self._start_sweeper()

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key)
        keys = self._owned[entry.owner]
        keys.discard(key)
        if not keys:
            del self._owned[entry.owner]
        if entry.dropped is not None:
            entry.dropped(entry.value)

    def _sweep(self, now: float) -> None:
        self._swept = now
        for stale in [key for key, entry in self._entries.items() if entry.until <= now]:
            self._drop(stale)

    def _start_sweeper(self) -> None:
        """Have a thread drop entries in time even if nobody looks anything up; the lock is held."""
        sweeper = threading.Thread(target=self._sweep_on, name="supa-llm-cache", daemon=True)
        with suppress(RuntimeError):  # the interpreter is ending
            sweeper.start()
            self._sweeper = sweeper

    def _sweep_on(self) -> None:
        while True:
            time.sleep(_SWEEP_EVERY)
            with self._lock:
                self._sweep(self._clock())
                if all(entry.dropped is None for entry in self._entries.values()):
                    self._sweeper = None
                    return

    def _change(self, token: AccessToken) -> int:
        return self._changes[hash(token.owner) % len(self._changes)]


class Cache(Store):
    """For threads; those that miss the same entry at the same time share one fetch and its error."""

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        super().__init__(size, clock)
        self._flights: dict[tuple[_Key, int], Future[Any]] = {}

    def fetch(self, token: AccessToken, slot: Slot[V], load: Callable[[], V]) -> V:
        """The cached value of exactly this token, or else what ``load`` returns."""
        key = _key(token, slot)
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
            self._put(token, slot, loaded, change)
            mine.set_result(loaded)
            return loaded
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[key, change]


class AsyncCache(Store):
    """The twin of :class:`Cache` for one event loop. Canceling one waiter leaves the fetch to the others."""

    def __init__(self, size: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        super().__init__(size, clock)
        self._flights: dict[tuple[_Key, int], asyncio.Future[Any]] = {}

    async def fetch(self, token: AccessToken, slot: Slot[V], load: Callable[[], Awaitable[V]]) -> V:
        """The cached value of exactly this token, or else what ``load`` returns."""
        key = _key(token, slot)
        with self._lock:
            if (value := self._get(key)) is not None:
                return value  # type: ignore[no-any-return]
            change = self._change(token)
            flight = self._flights.get((key, change))

        async def fly() -> V:
            loaded = await load()
            self._put(token, slot, loaded, change)
            return loaded

        def landed(flight: asyncio.Future[Any]) -> None:
            del self._flights[key, change]
            if not flight.cancelled():
                flight.exception()  # marks it as retrieved, in case every waiter was canceled

        if flight is None:
            flight = self._flights[key, change] = asyncio.ensure_future(fly())
            flight.add_done_callback(landed)
        return await asyncio.shield(flight)


@contextmanager
def changing(store: Store, token: AccessToken) -> Iterator[None]:
    """Drop a user's entries after their change, also if it failed and may still have happened."""
    try:
        yield
    except NotSignedInError:
        raise  # nothing changed, and a refused token may claim any owner
    except BaseException:
        store.forget(token.owner)
        raise
    store.forget(token.owner)
