"""Requests through the client: key source, fallback, recorded usage, and errors of an empty route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from supa_llm import (
    AsyncSupaLLM,
    BadRequestError,
    NoCandidateError,
    ProviderError,
    SupaLLM,
    TotalTimeoutError,
)
from tests.support import Emulator, Stack, User, key_for, unique


@pytest.fixture
def llm(user: User, providers: Emulator) -> Iterator[SupaLLM]:
    """A user with keys for Groq and then OpenAI."""
    with SupaLLM(user.client(), max_retries=0) as llm:
        llm.set_key("groq", key_for("groq"))
        llm.set_key("openai", key_for("openai"))
        llm.set_settings(default_provider="groq")
        yield llm


def statuses(llm: SupaLLM) -> dict[str, str]:
    known = llm.list_keys()
    return {key.provider: key.status for key in known}


def events(db: psycopg.Connection[Any], user: User) -> list[tuple[Any, ...]]:
    return db.execute(
        "select attempt, provider, outcome, error_class from public.llm_usage_events"
        " where user_id = %s order by request_id, attempt",
        [user.id],
    ).fetchall()


def test_an_answer_comes_with_a_receipt_and_is_recorded(llm: SupaLLM) -> None:
    answer = llm.chat("Hello", task="speed")
    assert answer.text
    paid = answer.receipt.answered_by
    assert paid is not None
    assert (paid.provider, paid.key_source) == ("groq", "user")
    assert paid.key_hint == llm.list_keys()[0].hint or paid.key_hint
    assert llm.flush()
    (line,) = llm.get_usage()
    assert (line.provider, line.model, line.task, line.requests) == ("groq", paid.model, "speed", 1)
    assert line.output_tokens == paid.usage.output_tokens
    assert llm.get_settings().total_requests in (0, 1)
    assert statuses(llm)["groq"] == "working"


def test_a_stream_comes_in_pieces_with_a_receipt_at_its_end(llm: SupaLLM) -> None:
    with llm.stream("Hello") as story:
        text = "".join(story)
    assert text == story.text
    assert story.receipt is not None
    assert story.receipt.answered_by is not None
    assert llm.flush()
    assert llm.get_usage()[0].requests == 1


def test_tools_and_a_schema_go_to_a_capable_provider(llm: SupaLLM) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = llm.chat([{"role": "user", "content": "Where?"}], schema=schema, max_tokens=50, temperature=0)
    assert set(answer.parsed) == {"city"}


def test_vectors(llm: SupaLLM) -> None:
    embeddings = llm.embed(["one", "two"])
    assert len(embeddings.vectors) == 2
    assert embeddings.receipt.attempts[0].provider == "openai"  # Groq has no embeddings


@pytest.mark.parametrize(
    ("fault", "error_class", "status"),
    [
        ({"type": "fail", "status": 401}, "auth", "rejected"),
        ({"type": "fail", "status": 429, "retry_after": 60}, "rate_limited", "rate_limited"),
        ({"type": "fail", "status": 500}, "server_error", "untested"),
        ({"type": "delay", "seconds": 5}, "timeout", "untested"),
    ],
)
def test_the_next_provider_answers_and_the_key_is_marked(
    llm: SupaLLM,
    user: User,
    db: psycopg.Connection[Any],
    providers: Emulator,
    fault: dict[str, Any],
    error_class: str,
    status: str,
) -> None:
    providers.script({**fault, "match": {"path": "/groq/*"}})
    answer = llm.chat("Hello", attempt_timeout=0.5)
    assert [(it.provider, it.outcome, it.error_class) for it in answer.receipt.attempts] == [
        ("groq", "failed", error_class),
        ("openai", "succeeded", None),
    ]
    assert llm.flush()
    assert events(db, user) == [(1, "groq", "failed", error_class), (2, "openai", "succeeded", None)]
    assert statuses(llm) == {"groq": status, "openai": "working"}
    if status != "untested":
        again = llm.chat("Hello")
        assert [it.provider for it in again.receipt.attempts] == ["openai"]


def test_an_invalid_request_is_sent_to_no_other_provider(llm: SupaLLM, providers: Emulator) -> None:
    providers.fail(400, "/groq/*")
    with pytest.raises(BadRequestError) as caught:
        llm.chat("Hello")
    assert len(caught.value.receipt.attempts) == 1
    assert len(providers.requests()) == 1


def test_when_every_provider_fails_the_receipt_lists_the_attempts(llm: SupaLLM, providers: Emulator) -> None:
    providers.fail(500, times=None)
    with pytest.raises(ProviderError) as caught:
        llm.chat("Hello")
    assert [it.error_class for it in caught.value.receipt.attempts] == ["server_error"] * 2
    assert caught.value.code == "all_candidates_failed"


def test_a_user_with_one_key_gets_an_answer_after_a_moment(user: User, providers: Emulator) -> None:
    with SupaLLM(user.client(), operator_keys={}) as llm:
        llm.set_key("groq", key_for("groq"))
        llm.set_quota(1_000_000, "tokens", "day")
        for status in (500, 429):
            providers.fail(status, retry_after=1)
            receipt = llm.chat("Hello", max_tokens=10).receipt
            assert [(it.number, it.status) for it in receipt.attempts] == [(1, status), (2, 200)]
            assert llm.flush()
        answered = receipt.answered_by
        assert answered is not None
        (quota,) = llm.list_quotas()
        used = (answered.usage.input_tokens or 0) + (answered.usage.output_tokens or 0)
        assert (quota.used, quota.reserved) == (Decimal(2 * used), Decimal(0))


def test_the_total_timeout_is_enforced(llm: SupaLLM, providers: Emulator) -> None:
    providers.script({"type": "delay", "seconds": 5, "times": None})
    with pytest.raises(TotalTimeoutError):
        llm.chat("Hello", timeout=0.5)


def test_with_every_key_rate_limited_the_error_says_when_to_retry(llm: SupaLLM, providers: Emulator) -> None:
    providers.fail(429, times=2, retry_after=60)
    with pytest.raises(ProviderError):
        llm.chat("Hello")
    assert llm.flush()
    with pytest.raises(NoCandidateError) as caught:
        llm.chat("Hello")
    assert caught.value.code == "keys_rate_limited"
    assert {out.reason for out in caught.value.skipped} >= {"model_rate_limited"}
    assert "seconds" in caught.value.hint
    assert caught.value.retry_after is not None
    assert 30 < caught.value.retry_after <= 60


def test_a_changed_setting_affects_the_next_request(llm: SupaLLM, user: User) -> None:
    assert llm.chat("Hello").receipt.attempts[0].provider == "groq"
    llm.for_user(user.access_token).set_settings(default_provider="openai")
    assert llm.chat("Hello").receipt.attempts[0].provider == "openai"
    llm.set_task("code", "groq", "another-model")
    attempt = llm.chat("Hello", task="code").receipt.attempts[0]
    assert (attempt.provider, attempt.model) == ("groq", "another-model")
    llm.remove_key("groq")
    assert llm.chat("Hello", task="code").receipt.attempts[0].provider == "openai"


def test_a_busy_user_resolves_a_route_once(llm: SupaLLM, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[str] = []
    run = llm._resources._database.run

    def watched(call: Any, token: Any) -> Any:
        resolved.append(call.name)
        return run(call, token)

    monkeypatch.setattr(llm._resources._database, "run", watched)
    for _ in range(50):
        llm.chat("Hello")
        llm.for_user(user.access_token)
    assert resolved.count("resolve_llm_route") == 1


def test_the_operators_key_serves_a_user_without_keys(
    stack: Stack, providers: Emulator, new_user: Callable[[], User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPA_LLM_OPENAI_API_KEY", key_for("openai", 99))
    user = new_user()
    secret = stack.admin("register_llm_runtime", p_name=unique("app"))["secret"]
    with SupaLLM(user.client(), runtime_secret=secret) as llm:
        llm.set_settings(allow_operator_keys=True)
        paid = llm.chat("Hello").receipt.answered_by
        assert paid is not None
        assert (paid.provider, paid.key_source) == ("openai", "operator")
        llm.set_settings(allow_operator_keys=False)
        with pytest.raises(NoCandidateError) as caught:
            llm.chat("Hello")
        assert "not allowed" in caught.value.hint


def test_the_openai_client_runs_with_the_signed_in_users_keys(
    llm: SupaLLM, user: User, new_user: Callable[[], User], db: psycopg.Connection[Any]
) -> None:
    openai = pytest.importorskip("openai")
    receipts: list[Any] = []
    client = llm.openai(task="speed", on_receipt=receipts.append)
    ask: Any = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    assert client.chat.completions.create(**ask).choices[0].message.content
    assert receipts[0].task == "speed"
    assert client.responses.create(model="openai/gpt-5-mini", input="Hello").output_text
    with client.responses.stream(model="auto", input="Hello") as stream:
        assert stream.get_final_response().output_text
    assert [it.attempts[0].provider for it in receipts] == ["groq", "openai", "groq"]
    assert client.models.retrieve("openai/gpt-5-mini").owned_by == "openai"
    assert client.models.retrieve("gpt-5-mini").owned_by == "openai"
    with pytest.raises(openai.NotFoundError, match="No key for Mistral"):
        client.models.retrieve("mistral/mistral-small-latest")
    llm.set_settings(default_provider=None)
    with pytest.raises(openai.NotFoundError, match="No provider is known"):
        client.models.retrieve("unheard-of")
    assert llm.flush()
    assert events(db, user) == [(1, it, "succeeded", None) for it in ("groq", "openai", "groq")]
    sb = llm._session._auth
    sb.sign_in_with_password(new_user().credentials)
    with pytest.raises(openai.AuthenticationError, match="key"):
        client.chat.completions.create(**ask)


async def test_the_asyncio_client_works_too(user: User, providers: Emulator, stack: Stack) -> None:
    async with AsyncSupaLLM(await user.async_client()) as llm:
        await llm.set_key("openai", key_for("openai"))
        answer = await llm.chat("Hello")
        async with llm.stream("Hello") as story:
            pieces = [piece async for piece in story]
        vectors = (await llm.embed("one")).vectors
        completion = await llm.async_openai().chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "Hello"}]
        )
        assert answer.text == "".join(pieces) == completion.choices[0].message.content
        assert len(vectors) == 1
        assert await llm.flush()
        assert sum(line.requests for line in await llm.get_usage()) == 4
        providers.fail(500, times=None)
        with pytest.raises(ProviderError):
            await llm.chat("Hello")
        await llm.remove_key("openai")
        with pytest.raises(NoCandidateError) as caught:
            await llm.chat("Hello")
        assert caught.value.skipped
