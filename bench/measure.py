"""What a benchmark is, and how its two sides are measured fairly: in turn, in several rounds, by medians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.load import Connection, Side, requests_per_second

if TYPE_CHECKING:
    from bench.lab import Lab

Detail = dict[str, float | int | str]

_BLOCK = 5


@dataclass(frozen=True)
class Benchmark:
    """One figure.

    Attributes:
        what: what is measured, for the table.
        against: what it is compared with.
        aim: where the ratio should be: at most there, or at least there where ``more_is_better``;
            None: it has no aim.
    """

    name: str
    what: str
    against: str
    aim: float | None
    run: Callable[[Lab], Measured]
    more_is_better: bool = False

    def met(self, ratio: float) -> bool:
        if self.aim is None:
            return True
        return ratio >= self.aim if self.more_is_better else ratio <= self.aim


@dataclass(frozen=True)
class Measured:
    """The ratio of each round, and the figures behind it."""

    ratios: list[float]
    detail: Detail = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def compare_p50(ours: Side, theirs: Side, *, rounds: int = 15, requests: int = 300) -> Measured:
    """Median response times over a connection each, a few requests of each side in turn."""
    our_connection, their_connection = Connection(ours.url), Connection(theirs.url)
    ratios, ours_p50, theirs_p50 = [], [], []
    for number in range(rounds + 1):
        _prepare(ours, theirs)
        a: list[float] = []
        b: list[float] = []
        for _ in range(requests // _BLOCK):
            a += [our_connection.seconds(ours.request()) for _ in range(_BLOCK)]
            b += [their_connection.seconds(theirs.request()) for _ in range(_BLOCK)]
        if number:  # the round before the first makes plans and caches
            ours_p50.append(median(a))
            theirs_p50.append(median(b))
            ratios.append(ours_p50[-1] / theirs_p50[-1])
    our_connection.close()
    their_connection.close()
    return Measured(
        ratios,
        {
            "p50_ms": round(1000 * median(ours_p50), 3),
            "against_p50_ms": round(1000 * median(theirs_p50), 3),
            "requests_a_round": requests,
        },
    )


def compare_throughput(
    ours: Side, theirs: Side, *, connections: int, rounds: int = 21, seconds: float = 0.7
) -> Measured:
    """Requests a second over many connections; which side goes first changes with each round."""
    ratios, ours_rps, theirs_rps = [], [], []

    def run(side: Side) -> float:
        _prepare(side)
        return requests_per_second(side.url, side.request, connections=connections, seconds=seconds)

    run(ours)
    run(theirs)
    for number in range(rounds):
        if number % 2:
            a, b = run(ours), run(theirs)
        else:
            b, a = run(theirs), run(ours)
        ours_rps.append(a)
        theirs_rps.append(b)
        ratios.append(a / b)
    return Measured(
        ratios,
        {
            "rps": round(median(ours_rps)),
            "against_rps": round(median(theirs_rps)),
            "connections": connections,
            "seconds_a_round": seconds,
        },
    )


def _prepare(*sides: Side) -> None:
    for side in sides:
        if side.prepare:
            side.prepare()
