"""What a benchmark is, and how its two sides are measured fairly: in turn, in several rounds, by medians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.load import Connection, Request, requests_per_second

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
        aim: where the ratio should be: at most there, or at least there where ``more_is_better``.
    """

    name: str
    what: str
    against: str
    aim: float
    run: Callable[[Lab], Measured]
    more_is_better: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.aim if self.more_is_better else ratio <= self.aim


@dataclass(frozen=True)
class Measured:
    """The ratio of each round, and the figures behind it."""

    ratios: list[float]
    detail: Detail = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def compare_p50(
    url: str, ours: Request, theirs: Request, *, rounds: int = 15, requests: int = 300
) -> Measured:
    """Median response times over one connection, a few requests of each side in turn."""
    connection = Connection(url)
    ratios, ours_p50, theirs_p50 = [], [], []
    for number in range(rounds + 1):
        a: list[float] = []
        b: list[float] = []
        for _ in range(requests // _BLOCK):
            a += [connection.seconds(ours()) for _ in range(_BLOCK)]
            b += [connection.seconds(theirs()) for _ in range(_BLOCK)]
        if number:  # the round before the first makes plans and caches
            ours_p50.append(median(a))
            theirs_p50.append(median(b))
            ratios.append(ours_p50[-1] / theirs_p50[-1])
    connection.close()
    return Measured(
        ratios,
        {
            "p50_ms": round(1000 * median(ours_p50), 3),
            "against_p50_ms": round(1000 * median(theirs_p50), 3),
            "requests_a_round": requests,
        },
    )


def compare_throughput(
    url: str, ours: Request, theirs: Request, *, connections: int, rounds: int = 21, seconds: float = 0.7
) -> Measured:
    """Requests a second over many connections; which side goes first changes with each round."""
    ratios, ours_rps, theirs_rps = [], [], []

    def run(request: Request) -> float:
        return requests_per_second(url, request, connections=connections, seconds=seconds)

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
