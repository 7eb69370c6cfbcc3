"""Key checks: the result of each response, and the destination of the key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from supa_llm.client.key_check import KeyCheckResult, check_key
from supa_llm.values.key_checks import KeyCheck
from supa_llm.values.secrets import Secret

KEY = "sk-made-up-0123456789"


def a_test(**changes: Any) -> KeyCheck:
    fields: dict[str, Any] = {
        "check_id": uuid.uuid4(), "provider": "openai", "base_url": "https://api.example/v1",
        "wire_format": "openai", "key_header": "authorization", "key_scheme": "Bearer",
        "key_check_path": None,
        "key": None, **changes,
    }  # fmt: skip
    return KeyCheck(**fields)


async def ask(
    answer: Callable[[httpx.Request], httpx.Response], key: str = KEY, **changes: Any
) -> KeyCheckResult:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await check_key(a_test(**changes), Secret(key), http)


def answering(*arguments: Any, **named: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(*arguments, **named)


@pytest.mark.parametrize(
    ("changes", "url", "headers"),
    [
        ({}, "https://api.example/v1/models", {"authorization": f"Bearer {KEY}"}),
        ({"key_check_path": "/key"}, "https://api.example/v1/key", {"authorization": f"Bearer {KEY}"}),
        (
            {"wire_format": "anthropic", "key_header": "x-api-key", "key_scheme": ""},
            "https://api.example/v1/v1/models?limit=1",
            {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
        ),
        (
            {"wire_format": "google", "key_header": "x-goog-api-key", "key_scheme": ""},
            "https://api.example/v1/v1beta/models?pageSize=1",
            {"x-goog-api-key": KEY},
        ),
    ],
)
async def test_the_key_is_in_one_header_and_not_in_the_url(
    changes: dict[str, Any], url: str, headers: dict[str, str]
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    result = await ask(answer, **changes)
    (request,) = seen
    assert (result.result, result.reason, request.method) == ("works", "ok", "GET")
    assert str(request.url) == url
    assert headers.items() <= dict(request.headers).items()
    assert [name for name, value in request.headers.items() if KEY in value] == [next(iter(headers))]


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        (answering(401, json={"error": {"message": f"Bad key {KEY}"}}), "rejected", "auth"),
        (answering(400, json={"error": {"code": "invalid_api_key"}}), "rejected", "auth"),
        (answering(403, text="<html>no</html>"), "unknown", "forbidden"),
        (answering(404), "unknown", "not_found"),
        (answering(500, text=f"oops {KEY}"), "unknown", "server_error"),
        (answering(302, headers={"location": "https://elsewhere.example"}), "unknown", "invalid_response"),
        (answering(418), "unknown", "invalid_response"),
        (answering(500, json=[[]]), "unknown", "server_error"),
        (answering(500, content=b"x" * 1_000_000), "unknown", "server_error"),
    ],
)
async def test_a_check_has_one_of_three_results_and_quotes_no_key(
    answer: Callable[[httpx.Request], httpx.Response], result: str, reason: str
) -> None:
    said = await ask(answer)
    assert (said.result, said.reason) == (result, reason)
    assert KEY not in repr(said)
    assert said.message


async def test_a_rate_limited_check_reports_the_wait() -> None:
    said = await ask(answering(429, headers={"retry-after": "17"}))
    assert (said.result, said.reason, said.retry_after) == ("unknown", "rate_limited", 17)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "connection"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.RemoteProtocolError("nonsense"), "connection"),
    ],
)
async def test_an_unreachable_provider_says_nothing_about_the_key(error: Exception, reason: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    said = await ask(answer)
    assert (said.result, said.reason) == ("unknown", reason)


async def test_a_key_that_is_invalid_in_a_header_is_rejected_unsent() -> None:
    said = await ask(answering(200), key="sk-ключ")
    assert (said.result, said.reason) == ("rejected", "auth")


async def test_an_unknown_wire_format_is_inconclusive_and_sends_nothing() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    result = await ask(refuse, wire_format="format-of-a-newer-database")
    assert (result.result, result.reason) == ("unknown", "unknown_wire_format")
    assert "format-of-a-newer-database" in result.message
