"""Benchmarks, and a fair comparison of their two sides: in turn, in several rounds, by medians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.load import Connection, Side, requests_per_second

if TYPE_CHECKING:
    from bench.lab import Lab

Detail = dict[str, float | int | str]
#: Requests or events per second, measured for so many seconds.
Rate = Callable[[float], float]

_BLOCK = 5


@dataclass(frozen=True)
class Benchmark:
    """One figure.

    Attributes:
        what: description of the measured side, for the table.
        against: description of the side it is compared with.
        aim: highest acceptable ratio, or the lowest if ``more_is_better``; None if there is no aim.
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
    """The ratio of each round, and absolute figures."""

    ratios: list[float]
    detail: Detail = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def compare_p50(measured: Side, baseline: Side, *, rounds: int = 15, requests: int = 300) -> Measured:
    """Compare median response times: one connection per side, a few requests of each side in turn."""
    connection, baseline_connection = Connection(measured.url), Connection(baseline.url)
    ratios, measured_p50, baseline_p50 = [], [], []
    for number in range(rounds + 1):
        _prepare(measured, baseline)
        a: list[float] = []
        b: list[float] = []
        for _ in range(requests // _BLOCK):
            a += [connection.seconds(measured.request()) for _ in range(_BLOCK)]
            b += [baseline_connection.seconds(baseline.request()) for _ in range(_BLOCK)]
        if number:  # the round before the first one warms plans and caches
            measured_p50.append(median(a))
            baseline_p50.append(median(b))
            ratios.append(measured_p50[-1] / baseline_p50[-1])
    connection.close()
    baseline_connection.close()
    return Measured(
        ratios,
        {
            "p50_ms": round(1000 * median(measured_p50), 3),
            "against_p50_ms": round(1000 * median(baseline_p50), 3),
            "requests_a_round": requests,
        },
    )


def compare_throughput(
    measured: Side,
    baseline: Side,
    *,
    connections: int,
    measured_weight: int = 1,
    rounds: int = 21,
    seconds: float = 0.7,
) -> Measured:
    """Compare requests per second over many connections; the sides take turns in going first.

    Args:
        measured_weight: for how many requests of the baseline a request of the measured side counts.
    """
    return compare_rates(
        throughput(measured, connections),
        throughput(baseline, connections),
        measured_weight=measured_weight,
        rounds=rounds,
        seconds=seconds,
        connections=connections,
    )


def throughput(side: Side, connections: int) -> Rate:
    """Requests per second over many connections."""

    def run(seconds: float) -> float:
        _prepare(side)
        return requests_per_second(side.url, side.request, connections=connections, seconds=seconds)

    return run


def compare_rates(
    measured: Rate,
    baseline: Rate,
    *,
    measured_weight: int = 1,
    rounds: int = 21,
    seconds: float = 0.7,
    **detail: int,
) -> Measured:
    """Compare rates; the sides take turns in going first."""
    ratios, measured_rps, baseline_rps = [], [], []
    measured(seconds)
    baseline(seconds)
    for number in range(rounds):
        if number % 2:
            a, b = measured(seconds), baseline(seconds)
        else:
            b, a = baseline(seconds), measured(seconds)
        measured_rps.append(a)
        baseline_rps.append(b)
        ratios.append(measured_weight * a / b)
    return Measured(
        ratios,
        {
            "rps": round(median(measured_rps)),
            "against_rps": round(median(baseline_rps)),
            **detail,
            "seconds_a_round": seconds,
        },
    )


def _prepare(*sides: Side) -> None:
    for side in sides:
        if side.prepare:
            side.prepare()
