"""The many formats in which providers say how long to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from supa_llm.wire.waits import LONGEST_WAIT, duration, named_wait, retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Thu, 01 Jan 2026 12:01:30 GMT"}, 90),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "2026-01-01T12:00:20Z"}, 20),
        ({"retry-after": "Fri, 02 Jan 2026 18:00:00 GMT"}, LONGEST_WAIT),
        ({"retry-after": "30s"}, 30),
        ({"retry-after": "2h"}, 7_200),
        ({"retry-after": "1d2h"}, LONGEST_WAIT),
        ({"retry-after": "0.5d"}, 43_200),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "172800000"}, LONGEST_WAIT),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767268812000"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767268812"}, 12),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999"}, LONGEST_WAIT),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90),
        ({"x-ratelimit-remaining-requests": "4", "x-ratelimit-reset-requests": "1m30s"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "250ms",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            360,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-01-01T12:00:20Z",
            },
            20,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h2m3.5s", 3723.5), ("34s", 34), ("12ms", 0.012), ("2d", 172_800), ("5", 5), ("", None), ("x", None)],
)
def test_duration(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for gpt-5. Please try again in 6ms. Visit …", 0.006),
        ("Limit 6000, Used 5900. Please try again in 2m59.5s.", 179.5),
        ("Please retry in 34.07s.", 34.07),
        ("Please try again in 1d2h3m.", LONGEST_WAIT),
        ("Try again in 20 s", 20),
        ("Please try again in 5 months.", None),
        ("Please try again later.", None),
    ],
)
def test_a_wait_in_a_message(message: str, seconds: float | None) -> None:
    assert named_wait(message) == seconds
