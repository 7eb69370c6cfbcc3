"""Usage is recorded by threads of its own: no request waits for it, and nothing is lost in silence."""

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

_IDLE = 5.0  # seconds after which a worker without work ends
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between tries while the database is away
_WARN_EVERY = 10.0  # seconds between two warnings of the same kind


@dataclass(frozen=True, slots=True, eq=False)
class _Event:
    call: Call[Any] = field(repr=False)
    identity: Identity = field(repr=False)
    then: Callable[[], None] | None = field(repr=False)
    enqueued: float = field(default_factory=time.monotonic)


class Recorder:
    """Sends usage events in the background.

    While the database is away events wait and are tried again; recording twice is harmless, for an event is
    known by its request and attempt. An event is given up when the queue is full (the oldest goes), when its
    user's token is refused, or when it has waited too long. Each loss is counted in ``dropped`` and said on
    the logger ``supa_llm``.

    Args:
        send: runs one call as the user of an access token; called from several threads.
        capacity: events that may wait; about 1 kB each.
        workers: threads at most; they start with the first event and end when there is nothing to do.
        patience: seconds that one event is tried for.
        exit_timeout: seconds that the end of the interpreter waits for what is still to be sent.
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
        self._unsaid: Counter[str] = Counter()
        self._said_at: dict[str, float] = {}
        self._changed = threading.Condition()
        _live.add(self)

    @property
    def dropped(self) -> int:
        """Events that were given up."""
        return self._lost.total()

    def put(self, call: Call[Any], identity: Identity, then: Callable[[], None] | None = None) -> None:
        """Take one event to be recorded for this user; returns at once and raises nothing.

        ``then`` is called once it is on record; it must be quick and raise nothing.
        """
        with self._changed:
            self._queue.append(_Event(call, identity, then))
            if len(self._queue) > self._capacity:
                self._queue.popleft()
                self._give_up("the queue was full")
            self._staff()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything taken so far is recorded or given up, for at most ``timeout`` seconds."""
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
                elif (event := self._next(left)) is not None:  # no thread can start at the interpreter's end
                    self._changed.release()
                    try:
                        self._deliver(event)
                    finally:
                        self._changed.acquire()
        return True

    def close(self, timeout: float) -> None:
        """Flush, then give up what could not be sent, with a warning."""
        done = self.flush(timeout)
        with self._changed:
            if not done:
                self._give_up(
                    f"closing waited {timeout:g} s for the database", len(self._queue) + len(self._sending)
                )
                self._queue.clear()
                self._sending.clear()
            for reason in list(self._unsaid):
                self._say(reason)

    def _staff(self) -> None:
        """Have a thread for each waiting event, up to the limit; the lock is held."""
        self._workers = {worker for worker in self._workers if worker.is_alive()}  # none is, after a fork
        if self._queue and len(self._workers) < min(self._max_workers, len(self._sending) + len(self._queue)):
            worker = threading.Thread(target=self._work, name="supa-llm-usage", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # the interpreter is ending: flush() will send it
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
                return  # given up by close()
            self._sending.remove(event)
            match error:
                case None:
                    self._pause = _FIRST_PAUSE
                case DatabaseUnavailableError():
                    self._try_later(event)
                case SupaLLMError():
                    self._give_up(f"the database refused it ({error.code})")
                case _:
                    self._give_up(f"an unexpected {type(error).__name__}")
            self._changed.notify_all()

    def _try_later(self, event: _Event) -> None:
        now = time.monotonic()
        if now - event.enqueued > self._patience:
            self._give_up(f"the database was away for {self._patience:g} s")
        elif len(self._queue) >= self._capacity:
            self._give_up("the queue was full")
        else:
            self._queue.appendleft(event)
        if now >= self._paused_until:
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _give_up(self, reason: str, events: int = 1) -> None:
        self._lost[reason] += events
        self._unsaid[reason] += events
        if time.monotonic() - self._said_at.get(reason, -_WARN_EVERY) >= _WARN_EVERY:
            self._say(reason)

    def _say(self, reason: str) -> None:
        self._said_at[reason] = time.monotonic()
        log.warning(
            "%d usage event(s) could not be recorded: %s. In total %d were dropped.",
            self._unsaid.pop(reason),
            reason,
            self.dropped,
        )


_live: weakref.WeakSet[Recorder] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    for recorder in list(_live):
        recorder.close(recorder.exit_timeout)
