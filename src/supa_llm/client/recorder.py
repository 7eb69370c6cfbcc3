"""Records usage in background threads, so that no request waits for it and no loss goes unreported."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from supa_llm.client.forks import begin_in_children
from supa_llm.client.session import AccessToken
from supa_llm.client.spool import Spool
from supa_llm.database.call import Call
from supa_llm.database.usage import record_usage_batch
from supa_llm.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    ForbiddenError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.secrets import Secret
from supa_llm.values.usage import Recording

log = logging.getLogger("supa_llm")

#: Runs one call with an access token, or without one if its events have tickets.
Send = Callable[[Call[list[Recording]], Secret | None], list[Recording]]

_BATCH = 200  # most events in one call
_IDLE = 5.0  # seconds after which an idle worker ends
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between retries while the database is unavailable
_REFUSED_PAUSE = 5.0  # seconds until a token that was refused before its expiry is tried again
_TRIES = 3  # calls with one event alone whose failures nothing explains
_WARN_EVERY = 10.0  # seconds between two warnings of the same kind


@dataclass(slots=True, eq=False)
class _Event:
    fields: Mapping[str, Any] = field(repr=False)
    then: Callable[[Recording], None] | None = field(default=None, repr=False)
    spooled: int | None = None
    queued: float = field(default_factory=time.monotonic)
    failures: int = 0


class _Lane:
    """Events that go with one credential, one call after the other, so that they arrive in order.

    Tickets prove each event by itself, so all users' events with tickets share one lane, whose ``owner`` is
    None. Each user without tickets has a lane, with the user's newest token.
    """

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.waiting: deque[_Event] = deque()
        self.sending: Sequence[_Event] = ()
        self.size = _BATCH
        self.ready_at = time.monotonic()
        self.token: AccessToken | None = None
        self.refused = b""  # digest of the token that the database refused last

    def learn(self, token: AccessToken) -> None:
        """Take a token that the database or Supabase Auth has just accepted, if it is newer."""
        known = self.token
        if token.digest == self.refused:
            return
        if known is None or known.digest == self.refused or known.expires_at < token.expires_at:
            self.token = token
            self.ready_at = time.monotonic()

    def refuse(self, token: AccessToken | None) -> None:
        """Wait for a newer token, or try this one again: PostgREST sometimes refuses a valid one."""
        if self.token is token:
            self.refused = token.digest if token else b""
            self.ready_at = time.monotonic() + _REFUSED_PAUSE

    def accepts(self, token: AccessToken | None) -> bool:
        """Whether it is worth to send the events with this token."""
        if self.owner is None:
            return True
        return token is not None and (token.digest != self.refused or token.expires_at > time.time())


class Recorder:
    """Sends usage events in the background, many in one call.

    A call takes the events that waited while the previous one ran. While the database is unavailable, events
    wait and are retried. Events without a ticket also wait for a new token if their user's token is refused.
    The database records an attempt once, however often it arrives, and answers each event by itself. An event
    is dropped if the database refuses it, if the queue is full (the oldest first), or if it has waited too
    long. ``dropped`` counts the losses, and the logger ``supa_llm`` warns of them. The next call reports them
    to the database, where administrators see them.

    Args:
        send: several threads call it.
        capacity: most events that may wait; about 1 kB each.
        workers: most threads; they start with the first event and end when idle.
        patience: seconds for which one event is retried.
        exit_timeout: seconds that the end of the interpreter waits for unsent events.
        spool: keeps unsent events on disk too.
        before_close: called when the recorder closes, to queue what it should still send.
    """

    def __init__(
        self,
        send: Send,
        *,
        capacity: int = 10_000,
        workers: int = 4,
        patience: float = 600.0,
        exit_timeout: float = 10.0,
        spool: Spool | None = None,
        before_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._before_close = before_close
        self._capacity, self._max_workers, self._patience = capacity, workers, patience
        self.exit_timeout = exit_timeout
        self._spool = spool
        self._begin()
        begin_in_children(self)
        _live.add(self)
        if spool is not None:
            self._replay(spool)

    def _begin(self) -> None:
        self._lanes: dict[str | None, _Lane] = {}  # each has events that wait or are being sent
        self._workers: set[threading.Thread] = set()
        self._pause, self._paused_until = _FIRST_PAUSE, 0.0
        self._closing = False
        self._lost: Counter[str] = Counter()
        self._unreported: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()  # drops that the database does not know of, by code
        self._reported_at: dict[str, float] = {}
        self._changed = threading.Condition()

    def begin_child(self) -> None:
        """Begin afresh in a forked process. The queued events are its parent's."""
        self._begin()
        if self._spool is not None:
            self._spool.begin_child()
        # Children of multiprocessing run no exit handlers, only finalizers that are registered in them.
        if (processes := sys.modules.get("multiprocessing.util")) is not None:
            processes.register_after_fork(
                self, lambda it: processes.Finalize(it, it.close, (it.exit_timeout,), exitpriority=0)
            )

    @property
    def dropped(self) -> int:
        """Number of dropped events."""
        return self._lost.total()

    def put(
        self, event: Mapping[str, Any], token: AccessToken, then: Callable[[Recording], None] | None = None
    ) -> None:
        """Queue one event of this token's user; returns at once and raises nothing.

        Args:
            token: has been accepted by the database; not used if the event has a ticket.
            then: called with the answer when the event is recorded; it must be quick and raise nothing.
        """
        owner = None if "ticket" in event else token.owner
        with self._changed:
            spooled = self._spool.add(owner, event) if self._spool is not None else None
            lane = self._queue(owner, _Event(event, then, spooled))
            if owner is not None:
                lane.learn(token)
            self._staff()
            self._changed.notify_all()

    def renew(self, token: AccessToken) -> None:
        """Use a token that the database or Supabase Auth has accepted for the events that wait for one."""
        if (lane := self._lanes.get(token.owner)) is not None:
            with self._changed:
                lane.learn(token)
                self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until no event waits; returns whether all events are recorded.

        After an event was dropped, it returns False: that event will never be recorded.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._paused_until = 0.0
            for lane in self._lanes.values():
                lane.ready_at = min(lane.ready_at, time.monotonic())
            self._staff()
            self._changed.notify_all()
            while self._lanes:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._workers:
                    self._changed.wait(left)
                elif (next_lane := self._next(left)) is not None:  # threads cannot start at exit
                    self._changed.release()
                    try:
                        self._deliver(next_lane)
                    finally:
                        self._changed.acquire()
            return not self._lost

    def close(self, timeout: float) -> None:
        """Flush, then leave unsent events in the spool, or drop them with a warning if there is none."""
        self._before_close()
        with self._changed:
            self._closing = True
        self.flush(timeout)
        with self._changed:
            unsent = [event for lane in self._lanes.values() for event in (*lane.sending, *lane.waiting)]
            for lane in self._lanes.values():
                lane.sending = ()  # what arrives later is ignored
            self._lanes.clear()
            self._abandon("database_unavailable", f"closing waited {timeout:g} s for the database", unsent)
            if self._spool is not None and (left := self._spool.close()):
                log.warning("%d usage event(s) are not recorded yet. They stay in the usage spool.", left)
            for reason in list(self._unreported):
                self._warn(reason)

    def _replay(self, spool: Spool) -> None:
        with self._changed:
            for number, (owner, fields) in spool.take_over():
                self._queue(owner, _Event(fields, spooled=number))
            self._staff()

    def _queue(self, owner: str | None, event: _Event) -> _Lane:
        lane = self._lanes.get(owner)
        if lane is None:
            lane = self._lanes[owner] = _Lane(owner)
        lane.waiting.append(event)
        self._trim()
        return lane

    def _trim(self) -> None:
        """Drop the oldest events beyond the capacity; the lock is held."""
        while sum(len(lane.waiting) for lane in self._lanes.values()) > self._capacity:
            filled = [lane for lane in self._lanes.values() if lane.waiting]
            oldest = min(filled, key=lambda lane: lane.waiting[0].queued)
            self._drop("queue_full", "the queue was full", [oldest.waiting.popleft()])
            self._leave(oldest)

    def _leave(self, lane: _Lane) -> None:
        if not lane.waiting and not lane.sending:
            self._lanes.pop(lane.owner, None)

    def _staff(self) -> None:
        """Start a thread for a waiting lane, up to the limit; the lock is held."""
        self._workers = {worker for worker in self._workers if worker.is_alive()}
        if len(self._workers) < min(self._max_workers, len(self._lanes)):
            worker = threading.Thread(target=self._work, name="supa-llm-usage", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # the interpreter is ending, and flush() sends the events
                return
            self._workers.add(worker)

    def _work(self) -> None:
        while True:
            with self._changed:
                lane = self._next(_IDLE)
                if lane is None and not self._lanes:
                    self._workers.discard(threading.current_thread())
                    return
            if lane is not None:
                self._deliver(lane)

    def _next(self, wait: float) -> _Lane | None:
        """The lane whose turn comes within ``wait`` seconds, with its next batch; the lock is held."""
        deadline = time.monotonic() + wait
        while True:
            idle = (lane for lane in self._lanes.values() if lane.waiting and not lane.sending)
            lane = min(idle, key=lambda lane: lane.ready_at, default=None)
            turn = deadline if lane is None else max(lane.ready_at, self._paused_until)
            now = time.monotonic()
            if lane is not None and turn <= now:
                lane.sending = [lane.waiting.popleft() for _ in range(min(lane.size, len(lane.waiting)))]
                return lane
            if now >= deadline:
                return None
            self._changed.wait(min(deadline, turn) - now)

    def _deliver(self, lane: _Lane) -> None:
        """Send the batch of a lane."""
        batch, token = lane.sending, lane.token
        with self._changed:
            dropped, self._untold = self._untold, Counter()
        answers: list[Recording] = []
        error: Exception | None = None
        try:
            if not lane.accepts(token):
                raise NotSignedInError("The user's access token has expired.")
            call = record_usage_batch([event.fields for event in batch], dropped)
            answers = self._send(call, token.secret if token else None)
        except Exception as failure:
            error = failure
        for event, answer in zip(batch, answers, strict=False):
            if event.then is not None and not answer.refused:
                event.then(answer)
        with self._changed:
            if error is not None:
                self._untold += dropped
            if lane.sending is not batch:
                return  # close() has counted them
            lane.sending, lane.ready_at = (), time.monotonic()
            if error is None:
                self._answered(lane, batch, answers)
            else:
                self._failed(lane, batch, token, error)
            self._leave(lane)
            self._changed.notify_all()

    def _answered(self, lane: _Lane, batch: Sequence[_Event], answers: list[Recording]) -> None:
        self._pause = _FIRST_PAUSE
        lane.size, lane.refused = min(2 * lane.size, _BATCH), b""
        for event, answer in zip(batch, answers, strict=True):
            if answer.refused:
                self._drop(None, f"the database refused it ({answer.code})", [event])
        self._unspool(batch)

    def _failed(
        self, lane: _Lane, batch: Sequence[_Event], token: AccessToken | None, error: Exception
    ) -> None:
        """Retry a batch, or drop it. After a failure, the next call takes half as many events."""
        match error:
            case DatabaseUnavailableError():  # which may be a batch that takes too long
                self._back_off()
                reason = f"the database was unavailable for {self._patience:g} s"
                self._put_back("database_unavailable", lane, batch, reason)
            case NotSignedInError() if lane.owner is not None:
                lane.refuse(token)
                reason = f"the database refused the user's access token ({error.code})"
                self._put_back("token_refused", lane, batch, reason)
                if self._closing:  # no newer token will come
                    self._abandon("token_refused", reason, list(lane.waiting))
                    lane.waiting.clear()
                return
            case DatabaseError() if len(batch) == 1 and batch[0].failures < _TRIES - 1:
                batch[0].failures += 1  # it may be the database's fault, or the event's
                self._back_off()
                lane.waiting.extendleft(batch)
            case SupaLLMError() if _refuses_all(error) or len(batch) == 1:
                self._drop("refused", f"the database refused it ({error.code})", batch)
            case _ if len(batch) == 1:
                self._drop("failed", f"an unexpected {type(error).__name__}", batch)
            case _:  # probably one of the events is at fault: find it
                lane.waiting.extendleft(reversed(batch))
        lane.size = max(1, len(batch) // 2)

    def _put_back(self, code: str, lane: _Lane, batch: Sequence[_Event], reason: str) -> None:
        """Let a batch wait on, except for events that have waited too long."""
        lane.waiting.extendleft(reversed(batch))
        latest = time.monotonic() - self._patience
        late = []
        while lane.waiting and lane.waiting[0].queued <= latest:
            late.append(lane.waiting.popleft())
        self._drop(code, reason, late)
        self._trim()

    def _back_off(self) -> None:
        now = time.monotonic()
        if now >= self._paused_until:
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _unspool(self, events: Sequence[_Event]) -> None:
        if self._spool is not None:
            self._spool.remove(event.spooled for event in events if event.spooled is not None)

    def _abandon(self, code: str, reason: str, events: Sequence[_Event]) -> None:
        """Give up events at the end of the process: the spool keeps them, or else they are dropped."""
        if self._spool is None:
            self._drop(code, reason, events)

    def _drop(self, code: str | None, reason: str, events: Sequence[_Event]) -> None:
        """Give up events.

        Args:
            code: with which the next call reports them; None if the database has counted them itself.
        """
        if not events:
            return
        if code is not None:
            self._untold[code] += len(events)
        self._unspool(events)
        self._lost[reason] += len(events)
        self._unreported[reason] += len(events)
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


def _refuses_all(error: SupaLLMError) -> bool:
    """Whether the database refused the process, not one of its events."""
    return isinstance(error, NotSignedInError | ForbiddenError | ConfigurationError)


_live: weakref.WeakSet[Recorder] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    for recorder in list(_live):
        recorder.close(recorder.exit_timeout)
