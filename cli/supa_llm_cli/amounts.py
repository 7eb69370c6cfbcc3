"""Format amounts, counts and durations for people."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

_BARS = "▁▂▃▄▅▆▇█"


def dollars(cost: Decimal) -> str:
    """Format US dollars to a hundredth of a cent. A smaller cost shows as <$0.0001, never as zero."""
    if 0 < abs(cost) < Decimal("0.0001"):
        return f"{'-' if cost < 0 else ''}<$0.0001"
    return f"{'-' if cost < 0 else ''}${abs(cost):,.4f}"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: 1 attempt, 2,000 attempts."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def compact(count: int) -> str:
    """Shorten a token count to about four characters: 950, 12.3k, 4.5M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            scaled = count / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return str(count)


def seconds(milliseconds: int | None) -> str:
    """Format a latency: 350 ms, 1.2 s. An unknown latency is empty."""
    if milliseconds is None:
        return ""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def sparkline(values: Sequence[float]) -> str:
    """Draw one character per value, scaled from 0 to the largest. Zero is blank."""
    most = max(values, default=0)
    if most <= 0:
        return ""
    return "".join(_BARS[min(int(value / most * 8), 7)] if value > 0 else " " for value in values)
