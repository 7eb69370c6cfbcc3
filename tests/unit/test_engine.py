"""The engine: attempts, fallbacks, recorded usage and the caller's errors."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from supa_llm.client.answers import chat_body
from supa_llm.database.usage import usage_event
from supa_llm.engine import AsyncEngine, Engine, ModelCall, Timeouts, uuid7
from supa_llm.errors import (
    BadRequestError,
    InvalidInputError,
    NoCandidateError,
    ProviderError,
    StreamInterruptedError,
    SupaLLMError,
    TotalTimeoutError,
)
from supa_llm.values.receipts import Usage
from supa_llm.values.secrets import Secret
from tests.unit.engine_support import (
    HELLO,
    STREAM,
    AsyncMemoryAccount,
    Both,
    MemoryAccount,
    Reply,
    Web,
    answered,
    candidate,
    delta,
    event,
    fast,
)


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")


def failing(status: int, headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": error}, headers=headers)


async def test_the_first_candidate_answers(both: Both) -> None:
    web, account = Web({"one": [answered("Hi")]}), both.account(candidate("one"), candidate("two"))
    answer = await both.chat(both.engine(web), account, task="speed", model="one/m")
    assert answer.text == "Hi"
    assert answer.finish_reason == "stop"
    assert account.asked == [("speed", "one/m", ("chat",))]
    ((request_id, task, attempt),) = account.records
    assert (request_id, task) == (answer.receipt.request_id, "speed")
    assert answer.receipt.attempts == (attempt,)
    assert answer.receipt.answered_by == attempt
    assert (attempt.number, attempt.outcome, attempt.status, attempt.streamed) == (1, "succeeded", 200, False)
    assert attempt.usage == Usage(3, None, 5, None)
    (request,) = web.requests
    assert str(request.url) == "https://one.test/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-secret-one"


FAULTS: list[tuple[Reply, str]] = [
    (httpx.ConnectError("refused"), "connection"),
    (httpx.RemoteProtocolError("disconnected"), "connection"),
    (httpx.ReadTimeout("slow"), "timeout"),
    (httpx.ConnectTimeout("slow"), "timeout"),
    (failing(401, message="bad key"), "auth"),
    (failing(403), "forbidden"),
    (failing(429), "rate_limited"),
    (failing(402), "out_of_credit"),
    (failing(429, code="insufficient_quota"), "out_of_credit"),
    (failing(400, code="context_length_exceeded"), "context_too_long"),
    (failing(413), "context_too_long"),
    (failing(400, code="unsupported_parameter"), "unsupported"),
    (failing(400, message="API key not valid. Please pass a valid API key."), "auth"),
    (failing(404, code="model_not_found"), "not_found"),
    (failing(408), "server_error"),
    (failing(500), "server_error"),
    (failing(529), "server_error"),
    (httpx.Response(302, headers={"location": "https://evil.test/"}), "invalid_response"),
    (httpx.Response(200, text="<html>"), "invalid_response"),
    (httpx.Response(200, json=[]), "invalid_response"),
    (httpx.Response(200, json={"choices": []}), "invalid_response"),
    (httpx.Response(200, json={"error": {"message": "busy"}}), "server_error"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("reply", "error_class"), FAULTS)
async def test_the_next_candidate_answers_when_one_fails(
    both: Both, reply: Reply, error_class: str, stream: bool
) -> None:
    good = httpx.Response(200, content=b"".join(STREAM)) if stream else answered("Hi")
    web, account = Web({"one": [reply], "two": [good]}), both.account(candidate("one"), candidate("two"))
    engine = both.engine(web, follow_redirects=True)
    if stream:
        opened = both.stream(engine, account, HELLO)
        assert "".join(await both.pieces(opened)) == "Hello"
        receipt = opened.receipt
    else:
        receipt = (await both.chat(engine, account)).receipt
    assert [(it.outcome, it.error_class) for it in account.attempts] == [
        ("failed", error_class),
        ("succeeded", None),
    ]
    assert receipt.attempts == tuple(account.attempts)
    assert [it.number for it in account.attempts] == [1, 2]
    assert account.forgotten == (error_class in ("auth", "rate_limited", "out_of_credit"))
    # Each key was sent to its own provider only.
    for request in web.requests:
        assert (
            request.headers["authorization"] == f"Bearer sk-secret-{request.url.host.removesuffix('.test')}"
        )
    assert [request.url.host for request in web.requests] == ["one.test", "two.test"]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_bad_request_is_tried_nowhere_else(both: Both, status: int) -> None:
    reply = failing(status, message="bad sk-secret-one", type="invalid_request_error", param="n", code="no")
    web, account = Web({"one": [reply]}), both.account(candidate("one"), candidate("two"))
    with pytest.raises(BadRequestError) as caught:
        await both.chat(both.engine(web), account)
    assert caught.value.status == status
    assert caught.value.body == {
        "message": "bad …",
        "type": "invalid_request_error",
        "param": "n",
        "code": "no",
    }
    assert [it.error_class for it in account.attempts] == ["bad_request"]
    assert account.forgotten == 0


TOO_LONG = failing(413, message="prompt is too long", code="rate_limit_exceeded")
UNSUPPORTED = failing(400, message="it does not support tools", param="tools")


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ([TOO_LONG, TOO_LONG], "context_too_long"),
        ([UNSUPPORTED, TOO_LONG], "unsupported_request"),
        ([TOO_LONG, UNSUPPORTED], "unsupported_request"),
        ([UNSUPPORTED], "unsupported_request"),
    ],
)
async def test_when_all_refuse_the_caller_gets_one_bad_request(
    both: Both, replies: list[Reply], code: str
) -> None:
    web = Web({str(number): [reply] for number, reply in enumerate(replies)})
    account = both.account(*map(candidate, web.replies), candidate("nobody", key=None))
    with pytest.raises(BadRequestError) as caught:
        await both.chat(both.engine(web), account)
    error = caught.value
    assert (error.code, error.status, error.http_status) == (code, 400, 400)
    assert error.receipt.attempts == tuple(account.attempts)
    assert len(account.attempts) == len(replies)
    assert error.hint
    assert (error.body or {})["message"] in str(error)


async def test_a_refusal_among_failures_is_reported_as_one_of_them(both: Both) -> None:
    web = Web({"one": [TOO_LONG], "two": [httpx.Response(500)]})
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(web), both.account(candidate("one"), candidate("two")))
    assert caught.value.code == "all_candidates_failed"


async def test_an_account_without_credit_needs_credit(both: Both) -> None:
    account = both.account(candidate("one"), candidate("two", key_source="operator"))
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(Web({"one": [failing(402)], "two": [failing(402)]})), account)
    assert "Add credit to your one account" in caught.value.hint
    assert "the app's two account has no credit left" in caught.value.hint
    assert caught.value.http_status == 429


async def test_when_all_fail_each_attempt_is_named_and_what_to_do(both: Both) -> None:
    web = Web(
        {
            "one": [failing(401, message="Incorrect API key provided: sk-sec***-one.")],
            "two": [failing(429, headers={"retry-after": "30"}, message="slow down")],
            "three": [httpx.ConnectError("no route")],
        }
    )
    account = both.account(candidate("one"), candidate("two", key_source="team"), candidate("three"))
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(web), account)
    error = caught.value
    assert type(error) is ProviderError
    assert (error.code, error.status, error.retry_after) == ("all_candidates_failed", 429, 30)
    assert error.receipt.attempts == tuple(account.attempts)
    assert error.receipt.answered_by is None
    text = str(error)
    assert "one/m rejected your key (…abcd) [401]: Incorrect API key provided: …" in text
    assert "two/m rate-limits the team's key (…abcd) [429]: slow down" in text
    assert "three/m could not be reached: no route" in text
    assert "Replace your one key" in error.hint
    assert "Try two again in 30 s" in error.hint
    assert [it.retry_after for it in account.attempts] == [None, 30, None]


async def test_operator_keys_come_from_the_policy(both: Both) -> None:
    web = Web({"two": [answered()]})
    theirs = {"key_source": "operator", "key": None, "key_id": None, "key_hint": None}
    account = both.account(
        candidate("one", **theirs), candidate("two", **theirs), operator_keys={"two": Secret("sk-operator")}
    )
    await both.chat(both.engine(web), account)
    assert [it.provider for it in account.attempts] == ["two"]
    assert web.requests[0].headers["authorization"] == "Bearer sk-operator"


async def test_keys_go_in_the_header_that_the_candidate_names(both: Both) -> None:
    web = Web({"one": [answered()]})
    await both.chat(both.engine(web), both.account(candidate("one", key_header="x-api-key", key_scheme="")))
    assert web.requests[0].headers["x-api-key"] == "sk-secret-one"
    assert "authorization" not in web.requests[0].headers


async def test_nothing_of_the_apps_http_client_reaches_a_provider(both: Both) -> None:
    web = Web({"one": [answered()]})
    engine = both.engine(web, headers={"x-app": "1"}, cookies={"c": "1"}, auth=("u", "p"))
    await both.chat(engine, both.account(candidate("one")))
    (request,) = web.requests
    assert {"x-app", "cookie"}.isdisjoint(request.headers)
    assert request.headers["authorization"] == "Bearer sk-secret-one"


async def test_without_a_candidate_the_routes_own_error_is_raised(both: Both) -> None:
    account = both.account(failure=NoCandidateError("Nobody.", hint="Add a key."))
    with pytest.raises(NoCandidateError, match="Add a key"):
        await both.chat(both.engine(Web({})), account)
    with pytest.raises(NoCandidateError, match="Add a key"):
        await both.pieces(both.stream(both.engine(Web({})), account, HELLO))
    assert account.records == []
    assert account.refused == ["no_candidate", "no_candidate"]


@pytest.mark.parametrize(
    ("changed", "reason", "code"),
    [
        ({"key": None}, "no_key", "no_candidate"),
        ({"wire_format": "telepathy"}, "unknown_wire_format", "no_candidate"),
        ({"wire_format": "anthropic"}, "unsupported_request", "unsupported_request"),
        ({"context_tokens": 4}, "context_too_long", "context_too_long"),
    ],
)
async def test_a_candidate_that_cannot_be_tried_is_skipped(
    both: Both, changed: dict[str, Any], reason: str, code: str
) -> None:
    body = {"messages": [{"role": "user", "content": "Hello " * 8}], "n": 2}
    account = both.account(candidate("one", **changed))
    with pytest.raises(NoCandidateError) as caught:
        await both.chat(both.engine(Web({})), account, body)
    assert [(it.provider, it.reason) for it in caught.value.skipped] == [("one", reason)]
    assert caught.value.code == code
    assert account.refused == [code]
    account = both.account(candidate("one", **changed), candidate("two"))
    await both.chat(both.engine(Web({"two": [answered()]})), account, body)
    assert [(it.number, it.provider) for it in account.attempts] == [(1, "two")]
    assert account.refused == []


async def test_streams_and_their_usage(both: Both) -> None:
    web, account = (
        Web({"one": [httpx.Response(200, stream=both.body(STREAM))]}),
        both.account(candidate("one")),
    )
    stream = both.stream(both.engine(web), account, HELLO, task="t")
    assert not stream.receipt
    with pytest.raises(InvalidInputError):
        _ = stream.answer
    assert await both.pieces(stream) == ["Hel", "lo"]
    assert stream.text == stream.answer.text == "Hello"
    assert stream.answer.finish_reason == "stop"
    assert stream.candidate.provider == "one"
    assert stream.receipt.request_id == stream.request_id
    (attempt,) = account.attempts
    assert (attempt.outcome, attempt.streamed, attempt.usage) == ("succeeded", True, Usage(3, None, 5, None))
    assert json.loads(web.requests[0].content)["stream_options"] == {"include_usage": True}
    assert account.asked == [("t", None, ("chat", "streaming"))]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("said", "tier"), [("flex", "flex"), ("default", None)])
async def test_what_is_recorded_of_usage(both: Both, streamed: bool, said: str, tier: str | None) -> None:
    details = {"cached_tokens": 64, "cache_write_tokens": 32, "audio_tokens": 16}
    usage = {"prompt_tokens": 128, "completion_tokens": 8, "prompt_tokens_details": details}
    choice = {"index": 0, "finish_reason": "stop", "delta" if streamed else "message": {"content": "Hi"}}
    told = {"id": "c", "choices": [choice], "service_tier": said, "usage": usage}
    reply = (
        httpx.Response(200, stream=both.body([event(told)])) if streamed else httpx.Response(200, json=told)
    )
    account = both.account(candidate("one"))
    engine = both.engine(Web({"one": [reply]}))
    if streamed:
        await both.pieces(both.stream(engine, account, HELLO))
    else:
        await both.chat(engine, account)
    ((request_id, task, attempt),) = account.records
    sent = usage_event(request_id, task, attempt)
    assert (sent["input_tokens"], sent["cached_input_tokens"], sent["output_tokens"]) == (128, 64, 8)
    assert (sent["cache_write_tokens"], sent["other_tokens"]) == (32, {"input_audio": 16})
    assert sent.get("service_tier") == tier
    nothing = usage_event(request_id, task, replace(attempt, usage=Usage()))
    assert not {"cache_write_tokens", "other_tokens"} & set(nothing)


@pytest.mark.parametrize("wanted", [False, True])
async def test_only_a_caller_who_requested_usage_gets_its_chunk(both: Both, wanted: bool) -> None:
    web, account = (
        Web({"one": [httpx.Response(200, stream=both.body(STREAM))]}),
        both.account(candidate("one")),
    )
    body = {**HELLO, "stream_options": {"include_usage": wanted}}
    chunks = both.stream(both.engine(web), account, body).chunks()
    seen = [made async for made in chunks] if both.asynchronous else list(chunks)
    assert [made["usage"] for made in seen if made.get("usage")] == ([USAGE] if wanted else [])
    assert all("usage" in made for made in seen) == wanted


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}

BEFORE: list[Sequence[bytes | Exception]] = [
    [],
    [delta()],
    [delta(), event({"error": {"message": "full", "type": "server_error"}})],
    [delta(), b"data: {broken\n\n"],
    [delta(), httpx.ReadError("gone")],
    [delta(), b"data: [DONE]\n\n"],
]


@pytest.mark.parametrize("pieces", BEFORE)
async def test_a_stream_that_breaks_before_its_first_content_falls_back(
    both: Both, pieces: Sequence[bytes | Exception]
) -> None:
    web = Web(
        {
            "one": [httpx.Response(200, stream=both.body(pieces))],
            "two": [httpx.Response(200, stream=both.body(STREAM))],
        }
    )
    account = both.account(candidate("one"), candidate("two"))
    assert await both.pieces(both.stream(both.engine(web), account, HELLO)) == ["Hel", "lo"]
    assert [it.outcome for it in account.attempts] == ["failed", "succeeded"]


@pytest.mark.parametrize("tail", [[], *([it[1]] for it in BEFORE[2:5])])
async def test_a_stream_that_breaks_after_its_first_content_does_not(
    both: Both, tail: Sequence[bytes | Exception]
) -> None:
    web = Web({"one": [httpx.Response(200, stream=both.body([*STREAM[:2], *tail]))]})
    account = both.account(candidate("one"), candidate("two"))
    stream = both.stream(both.engine(web), account, HELLO)
    with pytest.raises(StreamInterruptedError) as caught:
        await both.pieces(stream)
    assert stream.text == "Hel"
    assert [it.outcome for it in account.attempts] == ["failed"]
    assert caught.value.receipt.attempts == tuple(account.attempts)
    assert len(web.requests) == 1


@pytest.mark.parametrize("tail", [[], [httpx.ReadError("gone")], [b"data: {broken\n\n"]])
async def test_a_complete_answer_is_one_however_its_stream_ends(
    both: Both, tail: Sequence[bytes | Exception]
) -> None:
    web = Web({"one": [httpx.Response(200, stream=both.body([*STREAM[:4], *tail]))]})
    account = both.account(candidate("one"))
    assert await both.pieces(both.stream(both.engine(web), account, HELLO)) == ["Hel", "lo"]
    assert [(it.outcome, it.usage) for it in account.attempts] == [("succeeded", Usage())]


async def test_hanging_up_is_recorded_with_the_tokens_that_are_known(both: Both) -> None:
    start = {
        "type": "message_start",
        "message": {"id": "m", "model": "c", "usage": {"input_tokens": 7, "output_tokens": 1}},
    }
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}
    pieces: list[bytes | Exception] = [event(start), event(text), httpx.ReadError("never read")]
    web = Web({"one": [httpx.Response(200, stream=both.body(pieces))]})
    account = both.account(candidate("one", wire_format="anthropic"))
    assert await both.pieces(both.stream(both.engine(web), account, HELLO), limit=1) == ["Hel"]
    assert [(it.outcome, it.usage.input_tokens) for it in account.attempts] == [("cancelled", 7)]


async def test_a_stream_that_is_never_entered_asks_nobody(both: Both) -> None:
    account = both.account(candidate("one"))
    stream = both.stream(both.engine(Web({})), account, HELLO)
    await stream.aclose() if both.asynchronous else stream.close()
    assert (account.asked, account.records) == ([], [])


async def test_embeddings(both: Both) -> None:
    reply = httpx.Response(
        200, json={"data": [{"index": 0, "embedding": "AACAPwAAAEA="}], "usage": {"prompt_tokens": 2}}
    )
    account = both.account(candidate("one"))
    embeddings = await both.embed(both.engine(Web({"one": [reply]})), account, {"input": "x"})
    assert embeddings.vectors == [[1.0, 2.0]]
    assert account.asked == [(None, None, ("embeddings",))]
    assert [it.usage for it in account.attempts] == [Usage(input_tokens=2)]


async def test_the_needs_are_read_from_the_request(both: Both) -> None:
    account = both.account(candidate("one"))
    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    body = chat_body(
        [{"role": "user", "content": [image]}],
        tools=[{"type": "function", "function": {"name": "f"}}],
        schema={"type": "object"},
    )
    await both.chat(both.engine(Web({"one": [answered("{}")]})), account, body)
    assert account.asked == [(None, None, ("chat", "tools", "json_schema", "vision"))]


async def test_no_time_is_left_for_the_next_candidate(both: Both) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        assert max(filter(None, request.extensions["timeout"].values())) <= 0.05
        raise httpx.ReadTimeout("slow")

    account = both.account(candidate("one"), candidate("two"))
    engine = both.engine(Web({"one": [slow], "two": [slow]}))
    with pytest.raises(ProviderError) as caught:
        await both.chat(engine, account, timeouts=fast(total=3, attempt=0.05))
    assert not isinstance(caught.value, TotalTimeoutError)
    assert [it.error_class for it in account.attempts] == ["timeout", "timeout"]


def test_the_total_time_runs_out_for_threads() -> None:
    now = [100.0]

    def slow(request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"]["read"] <= 2
        now[0] += request.extensions["timeout"]["read"]
        raise httpx.ReadTimeout("slow")

    account = MemoryAccount((candidate("one"), candidate("two"), candidate("three")))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supa_llm.engine.flow.time.monotonic", lambda: now[0])
        engine = Engine(httpx.Client(transport=httpx.MockTransport(slow)))
        with pytest.raises(TotalTimeoutError) as caught:
            engine.answer(account, ModelCall("chat", HELLO, timeouts=Timeouts(total=3, attempt=2)))
    assert caught.value.code == "total_timeout"
    assert [(it.error_class, it.latency_ms) for it in account.attempts] == [
        ("timeout", 2000),
        ("timeout", 1000),
    ]


async def test_the_total_time_runs_out_for_an_event_loop() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        raise AssertionError

    account = AsyncMemoryAccount((candidate("one"), candidate("two")))
    engine = AsyncEngine(httpx.AsyncClient(transport=httpx.MockTransport(slow)))
    with pytest.raises(TotalTimeoutError):
        await engine.answer(account, ModelCall("chat", HELLO, timeouts=fast(total=0.1)))
    assert [it.error_class for it in account.attempts] == ["timeout"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_a_task_cancels_its_request(streamed: bool) -> None:
    begun = asyncio.Event()

    async def hanging(request: httpx.Request) -> httpx.Response:
        begun.set()
        await asyncio.sleep(60)
        raise AssertionError

    account = AsyncMemoryAccount((candidate("one"), candidate("two")))
    engine = AsyncEngine(httpx.AsyncClient(transport=httpx.MockTransport(hanging)))

    async def run() -> None:
        if streamed:
            async with Both(True).stream(engine, account):
                pass
        else:
            await engine.answer(account, ModelCall("chat", HELLO))

    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [it.outcome for it in account.attempts] == ["cancelled"]


def test_ctrl_c_is_recorded() -> None:
    def interrupted(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    account = MemoryAccount((candidate("one"), candidate("two")))
    engine = Engine(httpx.Client(transport=httpx.MockTransport(interrupted)))
    with pytest.raises(KeyboardInterrupt):
        engine.answer(account, ModelCall("chat", HELLO))
    assert [it.outcome for it in account.attempts] == ["cancelled"]


def everything_said(error: BaseException) -> str:
    """Everything that a log, a debugger or a crash reporter shows of an error, without this test's frames."""
    said = []
    pending: list[BaseException | None] = [error]
    while pending:
        if (shown := pending.pop()) is None:
            continue
        said += [str(shown), repr(shown), repr(vars(shown))]
        for frame, _ in traceback.walk_tb(shown.__traceback__):
            assert "httpx" not in frame.f_code.co_filename
            if "/tests/" not in frame.f_code.co_filename:
                said.append(repr(frame.f_locals))
        pending += [shown.__cause__, shown.__context__]
    return "\n".join(said)


SECRET = "sk-proj-s3cr3tvaluethatmustnotleak"
LEAKY: list[Reply] = [
    failing(401, message=f"Incorrect API key provided: {SECRET}"),
    failing(400, message=f"bad {SECRET}", param=f"x {SECRET}"),
    failing(429, message=f"{SECRET} is limited"),
    httpx.Response(500, text=f"Authorization: Bearer {SECRET}"),
    httpx.ConnectError(f"cannot connect with {SECRET}"),
    httpx.ReadTimeout(SECRET),
    httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'"),
    httpx.Response(200, json={"error": {"message": SECRET}}),
    httpx.Response(200, content=STREAM[1] + event({"error": {"message": SECRET}})),
    httpx.Response(302, headers={"location": f"https://evil.test/{SECRET}"}),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("reply", LEAKY)
async def test_no_error_shows_a_secret(both: Both, reply: Reply, streamed: bool) -> None:
    if isinstance(reply, httpx.RequestError):
        request = httpx.Request("POST", "https://one.test", headers={"x-api-key": SECRET})
        reply.request = request
    web = Web({"one": [reply]})
    account = both.account(candidate("one", key=Secret(SECRET)))
    engine = both.engine(web)
    with pytest.raises(SupaLLMError) as caught:
        await (both.pieces(both.stream(engine, account, HELLO)) if streamed else both.chat(engine, account))
    assert "s3cr3t" not in everything_said(caught.value)
    assert "s3cr3t" not in repr(account.records)


@pytest.mark.parametrize("key", ["kéy-s3cr3t", "k\ney-s3cr3t"])
async def test_a_key_that_no_header_can_carry_is_a_rejected_key(both: Both, key: str) -> None:
    def wire_of_h11(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError("Illegal header value")

    account = both.account(candidate("one", key=Secret(key)))
    with pytest.raises(ProviderError) as caught:
        await both.chat(both.engine(Web({"one": [wire_of_h11]})), account)
    assert [it.error_class for it in account.attempts] == ["auth"]
    assert "s3cr3t" not in everything_said(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "Hello"},
        {"messages": []},
        {"messages": ["Hello"]},
        {"messages": [{"content": "Hello"}]},
        {"messages": HELLO["messages"], "response_format": "json"},
        {"messages": HELLO["messages"], "temperature": float("nan")},
        {"messages": HELLO["messages"], "user": object()},
        {"messages": [{"role": "assistant", "content": "x", "tool_calls": 3}]},
    ],
)
async def test_what_is_no_request_is_refused_before_anybody_is_asked(
    both: Both, body: dict[str, Any]
) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(InvalidInputError):
        await both.chat(both.engine(Web({})), account, body)
    assert account.records == []


NO_COUNTS: list[Any] = [
    0, -1, True, False, "100", 1.5, float("inf"), float("nan"), [5], {}, 10**8, 1e300,
]  # fmt: skip
#: Limits that providers read in their own ways, or that make a request cost more than its limit says.
UNCLEAR: list[dict[str, Any]] = [
    *({name: value} for name in ("max_tokens", "max_completion_tokens", "n") for value in NO_COUNTS),
    {"max_tokens": 5, "max_completion_tokens": 6},
    {"service_tier": 1}, {"service_tier": ""}, {"service_tier": "x" * 33}, {"service_tier": "a b"},
    {"stream": "false"}, {"stream": 1}, {"stream": 0},
    {"models": ["m", "expensive"]}, {"fallbacks": ["expensive"]}, {"best_of": 5},
]  # fmt: skip


@pytest.mark.parametrize("body", UNCLEAR, ids=str)
async def test_an_unclear_limit_is_refused_before_anything_is_reserved_or_sent(
    both: Both, body: dict[str, Any]
) -> None:
    account = both.account(candidate("one"))
    with pytest.raises(InvalidInputError, match=next(iter(body))):
        await both.chat(both.engine(Web({})), account, {**HELLO, **body})
    assert account.demands == []


@pytest.mark.parametrize(
    ("asked", "form", "reported", "recorded"),
    [
        ("priority", {}, None, "priority"),
        ("priority", {}, "default", None),
        ("auto", {}, "flex", "flex"),
        ("auto", {}, None, None),
        ("flex", {"parameter_names": {"service_tier": None}}, None, None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_recorded_tier_is_the_reported_one_or_else_the_one_sent(
    both: Both, asked: str, form: Any, reported: str | None, recorded: str | None, streamed: bool
) -> None:
    told = {} if reported is None else {"service_tier": reported}
    account, body = both.account(candidate("one", **form)), {**HELLO, "service_tier": asked}
    if streamed:
        first = event({"id": "c", "choices": [], **told})
        web = Web({"one": [httpx.Response(200, stream=both.body([first, *STREAM]))]})
        await both.pieces(both.stream(both.engine(web), account, body))
    else:
        whole = {**answered().json(), **told}
        await both.chat(both.engine(Web({"one": [httpx.Response(200, json=whole)]})), account, body)
    assert [attempt.service_tier for attempt in account.attempts] == [recorded]


@pytest.mark.parametrize("form", ["anthropic", "google"])
async def test_a_tier_that_is_not_sent_is_not_recorded(both: Both, form: str) -> None:
    account = both.account(candidate("one", wire_format=form))
    with pytest.raises(ProviderError):
        await both.chat(
            both.engine(Web({"one": [httpx.Response(500)]})), account, {**HELLO, "service_tier": "flex"}
        )
    assert [attempt.service_tier for attempt in account.attempts] == [None]


def test_timeouts_are_positive() -> None:
    with pytest.raises(InvalidInputError, match="attempt"):
        Timeouts(attempt=0)


def test_request_ids_are_version_7_and_in_order() -> None:
    ids = [uuid7() for _ in range(100)]
    assert {(it.version, it.variant) for it in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 100
    milliseconds = [it.int >> 80 for it in ids]
    assert milliseconds == sorted(milliseconds)


async def test_a_closed_http_client_is_a_fault_without_its_exception(both: Both) -> None:
    account = both.account(candidate("one"))
    engine = both.engine(Web({"one": [answered("Hi")]}))
    if isinstance(engine, AsyncEngine):
        await engine.client.aclose()
    else:
        engine.client.close()
    with pytest.raises(ProviderError) as caught:
        await both.chat(engine, account)
    assert caught.value.__context__ is None
    assert [it.error_class for it in caught.value.receipt.attempts] == ["connection"]


def test_a_stream_says_who_answered_once_it_has_ended() -> None:
    both = Both(False)
    with both.engine(Web({"one": [httpx.Response(200, content=b"".join(STREAM))]})) as engine:
        stream = both.stream(engine, MemoryAccount((candidate("one"),)))
        with pytest.raises(InvalidInputError):
            stream.answered_by  # noqa: B018
        list(stream)
        assert stream.answered_by.provider == "one"


async def test_a_request_that_is_nested_too_deeply_is_refused(both: Both) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    account = both.account(candidate("one"))
    with pytest.raises(InvalidInputError, match="not a valid OpenAI-format request"):
        await both.chat(both.engine(Web({"one": [answered()]})), account, {**HELLO, "metadata": nested})


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"max_tokens": 30}, 30),
        ({"max_tokens": 10, "n": 2}, 20),
        ({"max_tokens": 40}, None),
        ({"max_tokens": 20, "n": 2}, None),
        ({}, None),
    ],
)
async def test_an_output_limit_that_a_server_ignores_is_noticed(
    both: Both, body: dict[str, Any], ignored: int | None
) -> None:
    whole = {**answered().json(), "usage": {"prompt_tokens": 3, "completion_tokens": 50}}
    account = both.account(candidate("one"))
    web = Web({"one": [httpx.Response(200, json=whole)]})
    answer = await both.chat(both.engine(web), account, {**HELLO, **body})
    ((request_id, task, attempt),) = account.records
    assert attempt.ignored_limit == ignored
    assert answer.receipt.attempts == (attempt,)
    assert usage_event(request_id, task, attempt).get("ignored_limit") == ignored


async def test_a_server_that_refuses_a_hint_is_asked_again_without_it(both: Both) -> None:
    base_url = f"https://one.test/{uuid7()}"
    refusal = failing(400, message="Unrecognized request argument supplied: stream_options")
    web = Web({"one": [refusal, httpx.Response(200, content=b"".join(STREAM))]})
    account = both.account(candidate("one", base_url=base_url), candidate("two"), metered=True)
    assert await both.pieces(both.stream(both.engine(web), account)) == ["Hel", "lo"]
    assert [(it.number, it.error_class) for it in account.attempts] == [(1, "unsupported"), (2, None)]
    assert account.reserved == [(2, "one")]
    assert ["stream_options" in json.loads(it.content) for it in web.requests] == [True, False]
    await both.pieces(both.stream(both.engine(web), account))
    assert len(web.requests) == 3
