"""What a route has reserved in quotas for several requests, so that not each of them asks the database."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from uuid import UUID

from supa_llm.values.routes import Demand, Route

_MOST = 100  # requests that one route reserves for
_GROWTH = 10
_SMALLEST, _LARGEST = 256, 2**31 - 1  # tokens
_ALONE = 5.0  # seconds


class Pace:
    """For how many requests the next route reserves: the more requests a user sends, the more."""

    def __init__(self) -> None:
        self.requests = _GROWTH
        self._alone_until = 0.0

    @property
    def alone(self) -> bool:
        """Whether each request reserves exactly for itself, because a quota is near its limit."""
        return time.monotonic() < self._alone_until

    def reserved(self, requests: int) -> None:
        """A route has reserved for this many requests."""
        if requests == 1:
            self.near_limit()
        elif requests >= self.requests:
            self.requests = min(_GROWTH * requests, _MOST)

    def near_limit(self) -> None:
        """A quota has too little left to reserve ahead."""
        self._alone_until = time.monotonic() + _ALONE


class Stock:
    """The requests that a route has reserved for; safe for threads.

    Attributes:
        reservation: the ID with which the route was resolved. Usage events name it to settle the reservation.
        requests: how many the route has reserved for.
    """

    def __init__(self, route: Route, reservation: UUID) -> None:
        self.route = route
        self.reservation = reservation
        self.requests = self._left = route.reserved_requests or 1
        self._closed = False
        self._lock = threading.Lock()

    @property
    def until(self) -> float:
        """Until when it is for other requests, in seconds since 1970."""
        until = self.route.reserved_until
        return until.timestamp() if until and self.requests > 1 else 0.0

    def take(self) -> bool:
        """Take one; False if none is left."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def put_back(self) -> bool:
        """Put back one that was not used; False if the stock is closed and the caller must release it."""
        with self._lock:
            if not self._closed:
                self._left += 1
            return not self._closed

    def close(self) -> int:
        """Give out no more; returns how many are left to release."""
        with self._lock:
            left, self._left, self._closed = self._left, 0, True
            return left


def sized(demand: Demand) -> Demand:
    """The same demand rounded up, so that requests of about the same size share a stock."""
    output = demand.output_tokens
    return replace(
        demand,
        input_tokens=_round(demand.input_tokens),
        output_tokens=None if output is None else _round(output),
    )


def _round(tokens: int) -> int:
    return min(max(_SMALLEST, 1 << (tokens - 1).bit_length()), _LARGEST)
