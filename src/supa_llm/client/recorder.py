"""Records usage in background threads, so that no request waits for it and no loss goes unreported."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from supa_llm.client.session import Identity
from supa_llm.database.call import Call
from supa_llm.errors import DatabaseUnavailableError, SupaLLMError
from supa_llm.values.secrets import Secret

log = logging.getLogger("supa_llm")

_IDLE = 5.0  # seconds after which an idle worker ends
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between retries while the database is unavailable
_WARN_EVERY = 10.0  # seconds between two warnings of the same kind


@dataclass(frozen=True, slots=True, eq=False)
class _Event:
    call: Call[Any] = field(repr=False)
    identity: Identity = field(repr=False)
    then: Callable[[], None] | None = field(repr=False)
    enqueued: float = field(default_factory=time.monotonic)


class Recorder:
    """Sends usage events in the background.

    While the database is unavailable, events wait and are retried. The database records an attempt once,
    however often it arrives. An event is dropped if the queue is full (the oldest first), if its user's token
    is refused, or if it has waited too long. ``dropped`` counts the losses, and the logger ``supa_llm`` warns
    of them.

    Args:
        send: runs one call as the user of an access token; several threads call it.
        capacity: most events that may wait; about 1 kB each.
        workers: most threads; they start with the first event and end when idle.
        patience: seconds for which one event is retried.
        exit_timeout: seconds that the end of the interpreter waits for unsent events.
    """

    def __init__(
        self,
        send: Callable[[Call[Any], Secret], object],
        *,
        capacity: int = 10_000,
        workers: int = 4,
        patience: float = 600.0,
        exit_timeout: float = 10.0,
    ) -> None:
        self._send = send
        self._capacity, self._max_workers, self._patience = capacity, workers, patience
        self.exit_timeout = exit_timeout
        self._queue: deque[_Event] = deque()
        self._workers: set[threading.Thread] = set()
        self._sending: set[_Event] = set()
        self._pause, self._paused_until = _FIRST_PAUSE, 0.0
        self._lost: Counter[str] = Counter()
        self._unreported: Counter[str] = Counter()
        self._reported_at: dict[str, float] = {}
        self._changed = threading.Condition()
        _live.add(self)

    @property
    def dropped(self) -> int:
        """Number of dropped events."""
        return self._lost.total()

    def put(self, call: Call[Any], identity: Identity, then: Callable[[], None] | None = None) -> None:
        """Queue one event of this user; returns at once and raises nothing.

        ``then`` is called when the event is recorded; it must be quick and raise nothing.
        """
        with self._changed:
            self._queue.append(_Event(call, identity, then))
            if len(self._queue) > self._capacity:
                self._queue.popleft()
                self._drop("the queue was full")
            self._staff()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until every queued event is recorded or dropped."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._paused_until = 0.0
            self._staff()
            self._changed.notify_all()
            while self._queue or self._sending:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._workers:
                    self._changed.wait(left)
                elif (event := self._next(left)) is not None:  # threads cannot start at exit
                    self._changed.release()
                    try:
                        self._deliver(event)
                    finally:
                        self._changed.acquire()
        return True

    def close(self, timeout: float) -> None:
        """Flush, then drop unsent events with a warning."""
        done = self.flush(timeout)
        with self._changed:
            if not done:
                self._drop(
                    f"closing waited {timeout:g} s for the database", len(self._queue) + len(self._sending)
                )
                self._queue.clear()
                self._sending.clear()
            for reason in list(self._unreported):
                self._warn(reason)

    def _staff(self) -> None:
        """Start a thread for each waiting event, up to the limit; the lock is held."""
        self._workers = {worker for worker in self._workers if worker.is_alive()}  # after a fork, none is
        if self._queue and len(self._workers) < min(self._max_workers, len(self._sending) + len(self._queue)):
            worker = threading.Thread(target=self._work, name="supa-llm-usage", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # the interpreter is ending, and flush() sends the event
                return
            self._workers.add(worker)

    def _work(self) -> None:
        while True:
            with self._changed:
                event = self._next(_IDLE)
                if event is None and not self._queue:
                    self._workers.discard(threading.current_thread())
                    return
            if event is not None:
                self._deliver(event)

    def _next(self, wait: float) -> _Event | None:
        """The next event to send, within ``wait`` seconds; the lock is held."""
        deadline = time.monotonic() + wait
        while True:
            now = time.monotonic()
            if self._queue and now >= self._paused_until:
                event = self._queue.popleft()
                self._sending.add(event)
                return event
            if now >= deadline:
                return None
            self._changed.wait(min(deadline, self._paused_until if self._queue else deadline) - now)

    def _deliver(self, event: _Event) -> None:
        error: Exception | None = None
        try:
            self._send(event.call, event.identity.token.secret)
        except Exception as failure:
            error = failure
        if error is None and event.then is not None:
            event.then()
        with self._changed:
            if event not in self._sending:
                return  # dropped by close()
            self._sending.remove(event)
            match error:
                case None:
                    self._pause = _FIRST_PAUSE
                case DatabaseUnavailableError():
                    self._try_later(event)
                case SupaLLMError():
                    self._drop(f"the database refused it ({error.code})")
                case _:
                    self._drop(f"an unexpected {type(error).__name__}")
            self._changed.notify_all()

    def _try_later(self, event: _Event) -> None:
        now = time.monotonic()
        if now - event.enqueued > self._patience:
            self._drop(f"the database was unavailable for {self._patience:g} s")
        elif len(self._queue) >= self._capacity:
            self._drop("the queue was full")
        else:
            self._queue.appendleft(event)
        if now >= self._paused_until:
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _drop(self, reason: str, events: int = 1) -> None:
        self._lost[reason] += events
        self._unreported[reason] += events
        if time.monotonic() - self._reported_at.get(reason, -_WARN_EVERY) >= _WARN_EVERY:
            self._warn(reason)

    def _warn(self, reason: str) -> None:
        self._reported_at[reason] = time.monotonic()
        log.warning(
            "%d usage event(s) could not be recorded: %s. In total %d were dropped.",
            self._unreported.pop(reason),
            reason,
            self.dropped,
        )


_live: weakref.WeakSet[Recorder] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    for recorder in list(_live):
        recorder.close(recorder.exit_timeout)
