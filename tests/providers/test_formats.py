"""Each provider's own format against an emulator: chats, tools, JSON, streams, embeddings and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supa_llm.client.answers import chat_body
from supa_llm.engine import AsyncEngine, Engine
from supa_llm.engine.estimate import estimate
from supa_llm.errors import BadRequestError, ProviderError, StreamInterruptedError
from tests.providers.conftest import CATALOG, Providers
from tests.unit.engine_support import Both, fast

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["name", "count"],
    "additionalProperties": False,
}

each_provider = pytest.mark.parametrize("provider", CATALOG)


@pytest.fixture
def engine(both: Both) -> Any:
    return AsyncEngine() if both.asynchronous else Engine()


@each_provider
async def test_a_chat(both: Both, engine: Any, to: Providers, provider: str) -> None:
    to.emulator.script({"type": "reply", "text": "Paris."})
    account = both.account(to(provider))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    body = chat_body(messages, max_tokens=50, temperature=0.5)
    answer = await both.chat(engine, account, body)
    assert answer.text == "Paris."
    assert answer.finish_reason == "stop"
    (attempt,) = account.attempts
    assert (attempt.outcome, attempt.service_tier) == ("succeeded", None)
    assert 0 < attempt.usage.input_tokens <= estimate("chat", body).input_tokens
    assert 0 < attempt.usage.output_tokens <= estimate("chat", body).output_tokens
    assert [it["status"] for it in to.emulator.requests()] == [200]


@each_provider
async def test_a_stream(both: Both, engine: Any, to: Providers, provider: str) -> None:
    to.emulator.script({"type": "reply", "text": "One two three."})
    account = both.account(to(provider))
    stream = both.stream(engine, account, chat_body("Count to three, please"))
    pieces = await both.pieces(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.answer.text == "One two three."
    (attempt,) = account.attempts
    assert (attempt.outcome, attempt.streamed) == ("succeeded", True)
    assert attempt.usage.input_tokens
    assert attempt.usage.output_tokens
    (served,) = to.emulator.requests()
    assert served["completed"]


@each_provider
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_tool_is_called_and_answered(
    both: Both, engine: Any, to: Providers, provider: str, streamed: bool
) -> None:
    account = both.account(to(provider))
    body = chat_body("What is the weather in Paris?", tools=[WEATHER])
    if streamed:
        stream = both.stream(engine, account, body)
        await both.pieces(stream)
        answer = stream.answer
    else:
        answer = await both.chat(engine, account, body)
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.tool_calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "mock-city"})
    body["messages"] += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    to.emulator.script({"type": "reply", "text": "It is warm."})
    assert (await both.chat(engine, account, body)).text == "It is warm."
    assert "21 degrees" in json.dumps(to.emulator.requests()[-1]["body"])


@each_provider
async def test_a_json_answer(both: Both, engine: Any, to: Providers, provider: str) -> None:
    if provider == "anthropic":  # the emulator supports only the older parameter for schemas
        to.emulator.script({"type": "reply", "text": '{"name": "mock-name", "count": 1}'})
    answer = await both.chat(engine, both.account(to(provider)), chat_body("A thing", schema=SCHEMA))
    assert answer.parsed == {"name": "mock-name", "count": 1}
    assert '"count"' in json.dumps(to.emulator.requests()[-1]["body"])


@pytest.mark.parametrize("provider", ["openai"])
async def test_embeddings(both: Both, engine: Any, to: Providers, provider: str) -> None:
    account = both.account(to(provider))
    embeddings = await both.embed(engine, account, {"input": ["one text", "another text"]})
    assert [len(vector) for vector in embeddings.vectors] == [1536, 1536]
    assert account.attempts[0].usage.input_tokens


@each_provider
@pytest.mark.parametrize(
    ("status", "error_class"),
    [(401, "auth"), (404, "not_found"), (429, "rate_limited"), (500, "server_error")],
)
async def test_a_failing_provider_gives_way_to_the_next(
    both: Both, engine: Any, to: Providers, provider: str, status: int, error_class: str
) -> None:
    following = "groq" if provider != "groq" else "openai"
    base = to(provider).base_url.removeprefix(to.emulator.url)
    to.emulator.fail(status, path=base + "/*", **({"retry_after": 7} if status == 429 else {}))
    account = both.account(to(provider), to(following))
    answer = await both.chat(engine, account, chat_body("Hello"))
    assert answer.receipt.answered_by is not None
    assert answer.receipt.answered_by.provider == following
    assert [it.error_class for it in account.attempts] == [error_class, None]
    if status == 429:
        assert account.attempts[0].retry_after == 7


@each_provider
async def test_a_bad_request_stops(both: Both, engine: Any, to: Providers, provider: str) -> None:
    to.emulator.fail(400, message="the role of a message is invalid")
    with pytest.raises(BadRequestError, match="the role of a message is invalid"):
        await both.chat(engine, both.account(to(provider), to("groq")), chat_body("Hello"))
    assert len(to.emulator.requests()) == 1


@each_provider
async def test_a_prompt_that_is_too_long_for_one_is_sent_to_the_next(
    both: Both, engine: Any, to: Providers, provider: str
) -> None:
    to.emulator.fail(400, message="the prompt is too long")
    account = both.account(to(provider), to("groq"))
    await both.chat(engine, account, chat_body("Hello"))
    assert [it.error_class for it in account.attempts] == ["context_too_long", None]


@each_provider
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
async def test_a_stream_that_breaks_off(
    both: Both, engine: Any, to: Providers, provider: str, kind: str
) -> None:
    to.emulator.script(
        {"type": "reply", "text": "One two three four five six."},
        {"type": "stream_fault", "kind": kind, "after_chunks": 5},
    )
    account = both.account(to(provider), to("groq"))
    with pytest.raises(StreamInterruptedError):
        await both.pieces(both.stream(engine, account, chat_body("Hello")))
    assert [it.outcome for it in account.attempts] == ["failed"]
    # Before the first content, the next candidate answers.
    to.emulator.script({"type": "stream_fault", "kind": kind, "after_chunks": 0})
    account = both.account(to(provider), to("groq"))
    assert await both.pieces(both.stream(engine, account, chat_body("Hello")))
    assert [it.outcome for it in account.attempts] == ["failed", "succeeded"]


async def test_a_provider_that_is_slow_to_answer(both: Both, engine: Any, to: Providers) -> None:
    to.emulator.script({"type": "delay", "seconds": 3, "match": {"provider": "openai"}})
    account = both.account(to("openai"), to("groq"))
    await both.chat(engine, account, chat_body("Hello"), timeouts=fast(attempt=0.3))
    assert [it.error_class for it in account.attempts] == ["timeout", None]
    assert 250 < account.attempts[0].latency_ms < 1_500


async def test_a_stream_that_is_slow_to_begin(both: Both, engine: Any, to: Providers) -> None:
    to.emulator.script({"type": "slow_first_token", "seconds": 3, "match": {"provider": "openai"}})
    account = both.account(to("openai"), to("groq"))
    await both.pieces(both.stream(engine, account, chat_body("Hello"), timeouts=fast(attempt=0.3, idle=0.3)))
    assert [it.error_class for it in account.attempts] == ["timeout", None]


async def test_a_stream_that_falls_silent(both: Both, engine: Any, to: Providers) -> None:
    to.emulator.script({"type": "stream_fault", "kind": "stall", "after_chunks": 3, "stall_seconds": 3})
    account = both.account(to("openai"), to("groq"))
    with pytest.raises(StreamInterruptedError, match="did not answer in time"):
        await both.pieces(
            both.stream(engine, account, chat_body("Hello"), timeouts=fast(attempt=0.3, idle=0.3))
        )
    assert [it.error_class for it in account.attempts] == ["timeout"]


async def test_a_canceled_stream_is_recorded(both: Both, engine: Any, to: Providers) -> None:
    to.emulator.script({"type": "reply", "text": "One two three four five six."})
    account = both.account(to("anthropic"))
    assert len(await both.pieces(both.stream(engine, account, chat_body("Hello there")), limit=2)) == 2
    (attempt,) = account.attempts
    assert attempt.outcome == "cancelled"
    assert attempt.usage.input_tokens


async def test_an_unreachable_provider_is_reported(both: Both, engine: Any, to: Providers) -> None:
    from tests.unit.engine_support import candidate

    account = both.account(candidate("openai", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ProviderError, match="could not be reached"):
        await both.chat(engine, account, chat_body("Hello"))


async def test_no_proxy_gets_a_key_for_this_machine(
    both: Both, to: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens there
    engine = AsyncEngine() if both.asynchronous else Engine()
    answer = await both.chat(engine, both.account(to("openai")), chat_body("Hello"))
    assert answer.text
