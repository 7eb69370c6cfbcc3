"""Retries at the same candidate: when they are made, after which wait, and what is recorded of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import openai
import pytest

from supa_llm.client import dropin
from supa_llm.engine import Retries, Timeouts
from supa_llm.errors import (
    BadRequestError,
    InvalidInputError,
    NoCandidateError,
    ProviderError,
    QuotaExceededError,
    StreamInterruptedError,
)
from tests.unit.engine_support import HELLO, STREAM, Both, Reply, Web, answered, candidate, delta, fast


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, in which nobody really waits."""
    waited: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def failing(status: int, headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": error}, headers=headers)


PASSING: list[Reply] = [
    failing(408),
    failing(409),
    failing(429),
    failing(500),
    failing(529),
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("disconnected"),
    httpx.Response(200, json={"error": {"message": "busy"}}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("reply", PASSING)
async def test_the_only_candidate_is_tried_again(
    both: Both, waits: list[float], reply: Reply, stream: bool
) -> None:
    good = httpx.Response(200, content=b"".join(STREAM)) if stream else answered("Hello")
    account = both.account(candidate("one"), metered=True)
    engine = both.engine(Web({"one": [reply, reply, good]}))
    if stream:
        opened = both.stream(engine, account, retries=Retries())
        assert "".join(await both.pieces(opened)) == "Hello"
        receipt = opened.receipt
    else:
        receipt = (await both.chat(engine, account, retries=Retries())).receipt
    assert [(it.number, it.outcome) for it in account.attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]
    assert receipt.attempts == tuple(account.attempts)
    # The route reserves for the first attempt.
    assert account.reserved == [(2, "one"), (3, "one")]
    first, second = waits
    assert 0.35 <= first <= 0.5
    assert 0.7 <= second <= 1.0


async def test_after_the_last_retry_every_attempt_is_reported(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(Web({"one": [failing(500)]})), account, retries=Retries(most=4))
    assert len(caught.value.receipt.attempts) == len(account.attempts) == 5
    assert len(waits) == 4
    assert account.released == []


@pytest.mark.parametrize(
    "reply",
    [
        failing(401),
        failing(403),
        failing(404),
        failing(429, {"retry-after": "61"}),
        failing(500, {"x-should-retry": "false"}),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, text="<html>"),
    ],
)
async def test_a_failure_that_stays_is_not_repeated(both: Both, waits: list[float], reply: Reply) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(ProviderError):
        await both.chat(both.engine(Web({"one": [reply]})), account, retries=Retries())
    assert (len(account.attempts), waits) == (1, [])


async def test_a_bad_request_is_not_repeated(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(BadRequestError):
        await both.chat(both.engine(Web({"one": [failing(400)]})), account, retries=Retries())
    assert (len(account.attempts), waits) == (1, [])


@pytest.mark.parametrize(
    ("headers", "asked"), [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5)]
)
async def test_the_provider_names_the_wait(
    both: Both, waits: list[float], headers: dict[str, str], asked: float
) -> None:
    web = Web({"one": [failing(429, headers), answered()]})
    await both.chat(both.engine(web), both.account(candidate("one")), retries=Retries())
    assert waits == [pytest.approx(asked, abs=0.1)]


async def test_no_retry_passes_the_total_timeout(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(ProviderError) as caught:
        await both.chat(
            both.engine(Web({"one": [failing(429, {"retry-after": "5"})]})),
            account,
            retries=Retries(),
            timeouts=fast(total=4),
        )
    assert (caught.value.code, caught.value.retry_after, waits) == ("all_candidates_failed", 5, [])


async def test_the_next_candidate_comes_before_any_retry(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"), candidate("two"))
    web = Web({"one": [failing(429, {"retry-after": "2"})], "two": [answered()]})
    await both.chat(both.engine(web), account, retries=Retries())
    assert [it.provider for it in account.attempts] == ["one", "two"]
    assert waits == []


async def test_the_last_candidate_that_may_recover_is_repeated(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"), candidate("two"), candidate("three", key=None))
    web = Web({"one": [failing(429, {"retry-after": "2"}), answered()], "two": [failing(401)]})
    await both.chat(both.engine(web), account, retries=Retries())
    assert [it.provider for it in account.attempts] == ["one", "two", "one"]
    assert waits == [pytest.approx(2, abs=0.1)]


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (failing(429, {"retry-after": "1"}), [1.0]),
        (failing(503, {"retry-after-ms": "200"}), [0.2]),
        (httpx.RemoteProtocolError("disconnected"), []),
        (httpx.ReadError("reset"), []),
    ],
)
async def test_a_moments_wait_beats_the_next_candidate_once(
    both: Both, waits: list[float], reply: Reply, wait: list[float]
) -> None:
    account = both.account(candidate("one"), candidate("two"), metered=True)
    await both.chat(both.engine(Web({"one": [reply, answered()]})), account, retries=Retries())
    assert [it.provider for it in account.attempts] == ["one", "one"]
    assert account.reserved == [(2, "one")]
    assert waits == wait
    account = both.account(candidate("one"), candidate("two"))
    web = Web({"one": [reply], "two": [answered()]})
    await both.chat(both.engine(web), account, retries=Retries())
    assert [it.provider for it in account.attempts] == ["one", "one", "two"]
    account = both.account(candidate("one"), candidate("two"))
    await both.chat(both.engine(web), account)
    assert [it.provider for it in account.attempts] == ["one", "two"]


async def test_a_connection_that_was_open_for_long_is_no_stale_one(both: Both) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        time.sleep(0.1)
        raise httpx.RemoteProtocolError("disconnected")

    account = both.account(candidate("one"), candidate("two"))
    web = Web({"one": [late], "two": [answered()]})
    await both.chat(both.engine(web), account, retries=Retries(short_wait=0.05))
    assert [it.provider for it in account.attempts] == ["one", "two"]


async def test_nothing_is_repeated_after_the_first_content(both: Both, waits: list[float]) -> None:
    pieces: list[bytes | Exception] = [delta(), delta("Hel"), httpx.ReadError("reset")]
    web = Web({"one": [httpx.Response(200, stream=both.body(pieces))]})
    account = both.account(candidate("one"))
    with pytest.raises(StreamInterruptedError):
        await both.pieces(both.stream(both.engine(web), account, retries=Retries()))
    assert (len(account.attempts), waits) == (1, [])


async def test_a_quota_may_refuse_a_retry(both: Both, waits: list[float]) -> None:
    account = both.account(candidate("one"), metered=True, refusals={"one": QuotaExceededError("Full.")})
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(Web({"one": [failing(500)]})), account, retries=Retries())
    assert len(caught.value.receipt.attempts) == 1
    assert account.released == []


async def test_hanging_up_while_waiting_ends_the_request() -> None:
    both = Both(True)
    account = both.account(candidate("one"), metered=True)
    engine = both.engine(Web({"one": [failing(429, {"retry-after": "30"})]}))
    task = asyncio.ensure_future(both.chat(engine, account, retries=Retries()))
    while not account.attempts:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [it.outcome for it in account.attempts] == ["failed"]
    assert (account.reserved, account.released) == ([], [])


def test_ctrl_c_while_waiting_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    both = Both(False)
    account = both.account(candidate("one"))
    monkeypatch.setattr(time, "sleep", interrupt)
    call: Any = both.chat(both.engine(Web({"one": [failing(500)]})), account, retries=Retries())
    with pytest.raises(KeyboardInterrupt):
        call.send(None)
    assert [it.outcome for it in account.attempts] == ["failed"]


async def test_a_response_is_dropped_before_the_wait(both: Both, waits: list[float]) -> None:
    broken = httpx.Response(500, stream=both.body([b"{}"]))
    web = Web({"one": [broken, answered()]})
    await both.chat(both.engine(web), both.account(candidate("one")), retries=Retries())
    assert broken.is_closed


class Resting:
    """A route without candidates until the keys have rested."""

    def __init__(self, both: Both, *, waits: list[float], rest: float, code: str = "keys_rate_limited"):
        self.account = both.account(candidate("one"))
        self.account.failure = NoCandidateError("Resting.", code=code, retry_after=rest)
        resolve, self.asked = self.account.resolve, 0

        def awake(*arguments: Any) -> Any:
            self.asked += 1
            if waits:
                self.account.failure = None
            return resolve(*arguments)

        self.account.resolve = awake


async def test_a_request_waits_until_a_key_has_rested(both: Both, waits: list[float]) -> None:
    resting = Resting(both, waits=waits, rest=3.0)
    web = Web({"one": [answered("Hi")]})
    assert (await both.chat(both.engine(web), resting.account, retries=Retries())).text == "Hi"
    assert waits == [3.0]
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("rest", "code", "options"),
    [
        (61.0, "keys_rate_limited", {"retries": Retries()}),
        (3.0, "quota_exceeded", {"retries": Retries()}),
        (3.0, "keys_rate_limited", {}),
        (3.0, "keys_rate_limited", {"retries": Retries(), "timeouts": fast(total=2)}),
    ],
)
async def test_a_long_rest_is_reported_at_once(
    both: Both, waits: list[float], rest: float, code: str, options: Any
) -> None:
    resting = Resting(both, waits=waits, rest=rest, code=code)
    with pytest.raises(NoCandidateError) as caught:
        await both.chat(both.engine(Web({})), resting.account, **options)
    assert (caught.value.retry_after, resting.asked, waits) == (rest, 1, [])


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_the_openai_client_sets_the_retries_and_makes_none(
    both: Both, waits: list[float], most: int
) -> None:
    account = both.account(candidate("one"))
    make: Any = dropin.async_openai if both.asynchronous else dropin.openai
    engine = both.engine(Web({"one": [failing(500)]}))
    client = make(lambda team: account, engine, timeouts=Timeouts(), retries=Retries(), max_retries=most)
    assert client.max_retries == 0
    for own in (client, client.with_options(max_retries=2)):
        account.records.clear()
        with pytest.raises(openai.InternalServerError):
            await both.call(own.chat.completions.create, model="auto", **HELLO)
        assert [it.number for it in account.attempts] == list(range(1, most + 2))


def test_the_back_off_grows_up_to_a_bound() -> None:
    longest = [max(Retries().wait(number, None) or 0 for _ in range(200)) for number in range(1, 8)]
    assert longest == pytest.approx([0.5, 1, 2, 4, 8, 8, 8], rel=0.05)
    shortest = [min(Retries().wait(number, None) or 0 for _ in range(200)) for number in range(1, 8)]
    assert shortest == pytest.approx([0.375, 0.75, 1.5, 3, 6, 6, 6], rel=0.05)


@pytest.mark.parametrize(
    "options", [{"most": -1}, {"most": 11}, {"most": 1.5}, {"max_wait": -1}, {"short_wait": -0.1}]
)
def test_retries_have_bounds(options: Any) -> None:
    with pytest.raises(InvalidInputError):
        Retries(**options)
