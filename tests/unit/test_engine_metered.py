"""Requests of a user with quotas: reservations for candidates, and their release."""

from __future__ import annotations

import contextlib
import json
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
        ({"n": 2.0}, 350),
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 50.0, "n": 2}, 50),
        ({"max_completion_tokens": 50}, 50),
        ({"max_tokens": None, "max_completion_tokens": 50}, 50),
        ({"max_tokens": 50, "max_completion_tokens": 50}, 50),
        ({"prediction": {"type": "content", "content": "x" * 900}}, 700),
    ],
)
@pytest.mark.parametrize(
    ("form", "limit"),
    [
        ({"parameter_names": {"max_completion_tokens": "max_completion_tokens"}}, "max_completion_tokens"),
        ({}, "max_tokens"),
        ({"wire_format": "anthropic"}, "max_tokens"),
        ({"wire_format": "google"}, "maxOutputTokens"),
    ],
    ids=["openai", "other", "anthropic", "google"],
)
async def test_the_output_is_limited_to_what_was_reserved(
    both: Both, body: Any, sent: int, form: Any, limit: str
) -> None:
    account = both.account(candidate("one", **form), metered=True, max_output_tokens=700)
    web = Web({"one": [httpx.Response(500)]})
    with contextlib.suppress(ProviderError, NoCandidateError):
        await both.chat(both.engine(web), account, {**HELLO, **body})
    if not web.requests:
        assert body.get("n")  # these formats return one answer, so the candidate is skipped
        return
    asked = json.loads(web.requests[0].content)
    asked |= asked.get("generationConfig", {})
    assert asked[limit] == sent
    assert not {"max_tokens", "max_completion_tokens", "prediction"} - {limit} & asked.keys()
    output = account.demands[0].output_tokens
    assert output is None or output == sent * body.get("n", 1)


async def test_a_parameter_with_the_limits_other_name_does_not_replace_the_limit(both: Both) -> None:
    named = candidate("one", parameter_names={"max_completion_tokens": "max_output_tokens"})
    account = both.account(named, metered=True, max_output_tokens=700)
    web = Web({"one": [answered()]})
    await both.chat(both.engine(web), account, {**HELLO, "max_tokens": 50, "max_output_tokens": 99_999})
    assert json.loads(web.requests[0].content)["max_output_tokens"] == 50


@pytest.mark.parametrize(
    ("asked", "demanded"),
    [(None, None), ("auto", None), ("default", None), ("flex", "flex"), ("Priority", "priority")],
)
async def test_usage_is_reserved_in_the_requested_service_tier(
    both: Both, asked: str | None, demanded: str | None
) -> None:
    account = metered(both, "one")
    await both.chat(both.engine(Web({"one": [answered()]})), account, {**HELLO, "service_tier": asked})
    assert account.demands[0].service_tier == demanded


async def test_a_stream_that_is_left_early_keeps_its_reservation_for_its_event(both: Both) -> None:
    account = metered(both, "one")
    web = Web({"one": [httpx.Response(200, stream=both.body(STREAM))]})
    await both.pieces(both.stream(both.engine(web), account, HELLO), limit=1)
    assert [attempt.outcome for attempt in account.attempts] == ["cancelled"]
    assert account.released == []
