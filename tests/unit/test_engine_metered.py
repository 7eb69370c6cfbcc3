"""Requests of a user with quotas: reservations for candidates, and their release."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from supa_llm.errors import (
    BadRequestError,
    DatabaseUnavailableError,
    InvalidInputError,
    NoCandidateError,
    ProviderError,
    QuotaExceededError,
)
from tests.unit.engine_support import HELLO, STREAM, Both, Web, answered, candidate

FULL = QuotaExceededError("Your own quota of $1 a month does not leave enough.", code="quota_exceeded")


@pytest.fixture(params=[False, True], ids=["threads", "asyncio"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def metered(both: Both, *providers: str, **values: Any) -> Any:
    return both.account(*map(candidate, providers), metered=True, **values)


async def test_the_first_candidate_is_reserved_for_with_the_route(both: Both) -> None:
    account = metered(both, "one", "two")
    await both.chat(both.engine(Web({"one": [answered()]})), account)
    assert account.reserved == []
    assert account.released == []
    assert account.demands[0].request_id == account.records[0][0]
    assert account.demands[0].input_tokens > 0


async def test_the_next_candidate_is_reserved_for_before_it_is_tried(both: Both) -> None:
    account = metered(both, "one", "two", "three")
    web = Web({"one": [httpx.Response(500)], "two": [httpx.Response(500)], "three": [answered()]})
    await both.chat(both.engine(web), account)
    assert account.reserved == [(2, "two"), (3, "three")]
    assert account.released == []


async def test_a_candidate_that_a_quota_refuses_is_skipped(both: Both) -> None:
    account = metered(both, "one", "two", "three", refusals={"two": FULL})
    web = Web({"one": [httpx.Response(500)], "three": [answered()]})
    answer = await both.chat(both.engine(web), account)
    assert [attempt.provider for attempt in answer.receipt.attempts] == ["one", "three"]
    assert account.reserved == [(2, "three")]


async def test_when_all_others_are_refused_the_failure_is_told(both: Both) -> None:
    account = metered(both, "one", "two", refusals={"two": FULL})
    with pytest.raises(ProviderError) as info:
        await both.chat(both.engine(Web({"one": [httpx.Response(500)]})), account)
    assert [attempt.provider for attempt in info.value.receipt.attempts] == ["one"]
    assert account.released == []


async def test_a_database_that_is_away_leaves_the_candidate_untried(both: Both) -> None:
    account = metered(both, "one", "two", refusals={"two": DatabaseUnavailableError("It is away.")})
    with pytest.raises(ProviderError):
        await both.chat(both.engine(Web({"one": [httpx.Response(500)]})), account)


async def test_an_untried_reservation_moves_to_the_candidate_that_is_tried(both: Both) -> None:
    account = both.account(candidate("one", key=None), candidate("two"), metered=True)
    await both.chat(both.engine(Web({"two": [answered()]})), account)
    assert account.reserved == [(1, "two")]
    assert account.released == []


async def test_what_no_attempt_used_is_freed(both: Both) -> None:
    account = both.account(candidate("one", key=None), metered=True)
    with pytest.raises(NoCandidateError):
        await both.chat(both.engine(Web({})), account)
    assert account.released == [account.demands[0].request_id]


async def test_a_request_that_cannot_be_written_is_freed(both: Both) -> None:
    account = both.account(candidate("one", wire_format="anthropic"), metered=True)
    broken = {"messages": [{"role": "user", "content": [{"type": "text"}]}]}
    with pytest.raises(InvalidInputError):
        await both.chat(both.engine(Web({})), account, broken)
    assert account.released == [account.demands[0].request_id]


async def test_a_refused_request_keeps_its_reservation_for_the_event_that_settles_it(both: Both) -> None:
    account = metered(both, "one")
    with pytest.raises(BadRequestError):
        await both.chat(both.engine(Web({"one": [httpx.Response(400)]})), account)
    assert account.released == []
    assert len(account.records) == 1


async def test_nobody_else_reserves_or_frees(both: Both) -> None:
    account = both.account(candidate("one"), candidate("two"))
    await both.chat(both.engine(Web({"one": [httpx.Response(500)], "two": [answered()]})), account)
    assert account.reserved == []
    assert account.released == []


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({}, 700),
        ({"n": 2}, 350),
        ({"n": "many"}, 700),
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 50}, 50),
    ],
)
async def test_the_output_is_limited_to_what_was_reserved(both: Both, body: Any, sent: int) -> None:
    account = metered(both, "one", max_output_tokens=700)
    web = Web({"one": [answered()]})
    await both.chat(both.engine(web), account, {**HELLO, **body})
    asked = httpx.Response(200, content=web.requests[0].content).json()
    assert asked["max_completion_tokens"] == sent


async def test_a_stream_that_is_left_early_keeps_its_reservation_for_its_event(both: Both) -> None:
    account = metered(both, "one")
    web = Web({"one": [httpx.Response(200, stream=both.body(STREAM))]})
    await both.pieces(both.stream(both.engine(web), account, HELLO), limit=1)
    assert [attempt.outcome for attempt in account.attempts] == ["cancelled"]
    assert account.released == []
