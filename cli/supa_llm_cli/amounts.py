"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

_BARS = "▁▂▃▄▅▆▇█"


def dollars(cost: Decimal) -> str:
    """US dollars to a hundredth of a cent; what is less than that is not shown as nothing."""
    if 0 < abs(cost) < Decimal("0.0001"):
        return f"{'-' if cost < 0 else ''}<$0.0001"
    return f"{'-' if cost < 0 else ''}${abs(cost):,.4f}"


def counted(count: int, noun: str) -> str:
    """A count of things: 1 attempt, 2,000 attempts."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def compact(count: int) -> str:
    """A count of tokens in four characters or so: 950, 12.3k, 4.5M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            scaled = count / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return str(count)


def seconds(milliseconds: int | None) -> str:
    """A latency: 350 ms, 1.2 s; nothing where it is not known."""
    if milliseconds is None:
        return ""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def sparkline(values: Sequence[float]) -> str:
    """A curve of one character a value, from 0 to the largest; a blank for 0."""
    most = max(values, default=0)
    if most <= 0:
        return ""
    return "".join(_BARS[min(int(value / most * 8), 7)] if value > 0 else " " for value in values)
