"""Reports refused requests in a background thread, so that administrators see why users got no answer."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from supa_llm.client.forks import begin_in_children
from supa_llm.client.session import AccessToken
from supa_llm.database.call import Call
from supa_llm.database.refusals import CODES, record_refusals
from supa_llm.errors import DatabaseUnavailableError
from supa_llm.values.secrets import Secret

log = logging.getLogger("supa_llm")

_EVERY = 60.0  # seconds between two reports with one access token
_TOKENS = 1000  # most access tokens with refusals
_TRIES = 10  # reports of one token that may fail because the database is unavailable
_EXIT_TIMEOUT = 2.0  # seconds that the end of the interpreter waits for the last reports


@dataclass(slots=True, eq=False)
class _Waiting:
    token: AccessToken
    counts: Counter[str] = field(default_factory=Counter)
    due: float = 0.0
    failures: int = 0


class RefusalReports:
    """Counts the refused requests of each access token, and reports the counts to the database.

    The first refusal is reported at once, further ones together, a minute later. A report is lost if the
    database refuses it, for example because the token has expired. What is not reported when the process ends
    is lost too.

    Args:
        send: runs a call with an access token; one background thread calls it.
    """

    def __init__(self, send: Callable[[Call[None], Secret], None]) -> None:
        self._send = send
        self._begin()
        begin_in_children(self)
        _live.add(self)

    def _begin(self) -> None:
        # Keyed by token, so that a forged token cannot report the refusals of the user it names.
        self._waiting: dict[bytes, _Waiting] = {}
        self._worker: threading.Thread | None = None
        self._closing = False
        self._changed = threading.Condition()

    def begin_child(self) -> None:
        """Begin afresh in a forked process. What waits is its parent's."""
        self._begin()

    def add(self, code: str, token: AccessToken) -> None:
        """Count one refused request of this token's user; returns at once and raises nothing."""
        if code not in CODES:
            return
        with self._changed:
            waiting = self._waiting.get(token.digest)
            if waiting is None:
                if self._closing or len(self._waiting) >= _TOKENS:
                    return
                waiting = self._waiting[token.digest] = _Waiting(token)
            waiting.counts[code] += 1
            if self._worker is None or not self._worker.is_alive():
                worker = threading.Thread(target=self._work, name="supa-llm-refusals", daemon=True)
                try:
                    worker.start()
                except RuntimeError:  # the interpreter is ending
                    self._waiting.clear()
                    return
                self._worker = worker
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Report what waits, for up to ``timeout`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, timeout)
            self._waiting.clear()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            waiting, counts = turn
            error: Exception | None = None
            try:
                self._send(record_refusals(counts), waiting.token.secret)
            except Exception as failure:
                error = failure
                log.debug("Refused requests could not be reported: %s", type(failure).__name__)
            with self._changed:
                waiting.failures = waiting.failures + 1 if isinstance(error, DatabaseUnavailableError) else 0
                if 0 < waiting.failures < _TRIES and not self._closing:
                    waiting.counts += counts
                if self._closing and not waiting.counts:
                    self._waiting.pop(waiting.token.digest, None)
                    self._changed.notify_all()

    def _next(self) -> tuple[_Waiting, Counter[str]] | None:
        """Wait for the next report that is due. None if nothing is left to wait for."""
        with self._changed:
            while self._waiting:
                digest, waiting = min(self._waiting.items(), key=lambda it: it[1].due)
                now = time.monotonic()
                if not self._closing and waiting.due > now:
                    self._changed.wait(waiting.due - now)
                elif waiting.counts:
                    counts, waiting.counts = waiting.counts, Counter()
                    waiting.due = now + _EVERY
                    return waiting, counts
                else:
                    del self._waiting[digest]
            self._worker = None
            self._changed.notify_all()
            return None


_live: weakref.WeakSet[RefusalReports] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    for reports in list(_live):
        reports.close(_EXIT_TIMEOUT)
