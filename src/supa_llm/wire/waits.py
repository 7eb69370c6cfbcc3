"""The time that a provider asks to wait, from any of the usual places."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Longest wait that a provider is believed, seconds: a day.
LONGEST_WAIT = 86_400.0
_DURATION = re.compile(
    r"(?:(?P<d>[\d.]+)d)?(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m(?!s))?(?:(?P<s>[\d.]+)s)?(?:(?P<ms>[\d.]+)ms)?"
)
_NAMED = re.compile(r"\b(?:try again|retry) in ((?:[\d.]+ ?(?:ms|[dhms])(?![a-z]) ?)+)", re.IGNORECASE)
#: A number of seconds since 1970 is above this, and no wait is.
_EPOCH = 1e9
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a provider asks to wait; None if it does not.

    Understands ``retry-after-ms``, ``retry-after`` as seconds, a duration or a date, and else the reset times
    beside a rate limit that is used up (``x-ratelimit-reset-tokens: 6m0s``,
    ``anthropic-ratelimit-tokens-reset: <date>``).

    Args:
        headers: of the response, with names in lower case.
    """
    now = now or datetime.now(UTC)
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return believable(milliseconds / 1000)
    if (text := headers.get("retry-after")) is not None:
        return believable(_seconds(text, now))
    resets = []
    for name, left in headers.items():
        limit = re.fullmatch(r"(x-ratelimit-)remaining(-\w+)?|(anthropic-ratelimit-[\w-]+)-remaining", name)
        if limit and _number(left) == 0:
            reset = f"{limit[3]}-reset" if limit[3] else f"{limit[1]}reset{limit[2] or ''}"
            resets.append(_seconds(headers.get(reset, ""), now))
    return believable(max((it for it in resets if it is not None), default=None))


def duration(text: str) -> float | None:
    """Seconds of ``1m30s``, ``250ms`` or ``2.5``; None for anything else."""
    if (plain := _number(text)) is not None:
        return plain
    match = _DURATION.fullmatch(text.strip())
    parts = match.groupdict() if match and text.strip() else {}
    numbers = [(_number(value), _SECONDS[unit]) for unit, value in parts.items() if value]
    return sum(number * unit for number, unit in numbers if number is not None) if numbers else None


def named_wait(message: str) -> float | None:
    """Seconds to wait that a message names, as OpenAI and Groq do; None if it names none.

    Example:
        >>> named_wait("Rate limit reached. Please try again in 1m2.5s.")
        62.5
    """
    match = _NAMED.search(message)
    return believable(duration(match[1].replace(" ", "").rstrip("."))) if match else None


def believable(seconds: float | None) -> float | None:
    """The wait, limited to the range from 0 seconds to one day."""
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT)


def _seconds(text: str, now: datetime) -> float | None:
    seconds = duration(text)
    if seconds is None:
        return _until(text, now)
    # Some providers send the time of the reset, in seconds or milliseconds since 1970.
    moment = seconds / 1000 if seconds > _EPOCH * 100 else seconds
    return moment - now.timestamp() if moment > _EPOCH else seconds


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(text: str, now: datetime) -> float | None:
    """Seconds until an HTTP date or an ISO 8601 time."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return None
