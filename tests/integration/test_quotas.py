"""Quotas through the client: enforced under concurrency and across fallbacks, with clear refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from supa_llm import (
    AsyncSupaLLM,
    InvalidInputError,
    NoCandidateError,
    NotFoundError,
    ProviderError,
    QuotaExceededError,
    SupaLLM,
)
from tests.support import Emulator, Stack, User, key_for, unique


@pytest.fixture
def llm(user: User, providers: Emulator) -> Iterator[SupaLLM]:
    """A user with keys for Groq and then OpenAI, whose models cost 1 and 10 dollars a million tokens."""
    with SupaLLM(user.client(), operator_keys={}) as llm:
        llm.set_key("groq", key_for("groq"))
        llm.set_key("openai", key_for("openai"))
        llm.set_settings(default_provider="groq")
        user.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 1, "output": 1})
        user.rpc("set_llm_price", p_provider="openai", p_model="*", p_rates={"input": 10, "output": 10})
        yield llm


def held(db: psycopg.Connection[Any], user: User) -> tuple[Any, ...]:
    """The number of the user's reservations, and the reserved amount in their counters."""
    row = db.execute(
        "select (select count(*) from llm_private.reservations where user_id = %(id)s),"
        " (select coalesce(sum(reserved), 0) from llm_private.quota_counters where owner = %(id)s)",
        {"id": user.id},
    ).fetchone()
    assert row is not None
    return tuple(row)


def attempt(llm: SupaLLM) -> str:
    try:
        return "passed" if llm.chat("Hello", max_tokens=10).text else "empty"
    except QuotaExceededError as error:
        return error.code


def test_a_quota_is_set_shown_changed_and_removed(llm: SupaLLM) -> None:
    made = llm.set_quota(20, "cost", "month", provider="openai", key_source="user")
    assert made.limit == 20
    assert made.used == 0
    assert (made.enforced, made.clock, made.set_by) == (True, "user", "user")
    assert made.resets_at is not None
    changed = llm.set_quota(
        Decimal("12.5"), "cost", "month", provider="openai", key_source="user", enforced=False
    )
    assert (changed.id, changed.limit, changed.enforced) == (made.id, Decimal("12.5"), False)
    assert [quota.id for quota in llm.list_quotas()] == [made.id]
    llm.remove_quota(made.id)
    assert llm.list_quotas() == []
    with pytest.raises(NotFoundError):
        llm.remove_quota(made.id)


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), Decimal("nan"), True, "20", None])
def test_an_invalid_limit_is_refused_at_once(llm: SupaLLM, limit: Any) -> None:
    with pytest.raises(InvalidInputError, match="limit of a quota"):
        llm.set_quota(limit, "cost", "month")


def test_an_invalid_field_of_a_quota_is_named(llm: SupaLLM) -> None:
    with pytest.raises(InvalidInputError, match="period") as info:
        llm.set_quota(1, "cost", "fortnight")  # type: ignore[arg-type]
    assert info.value.code == "invalid_quota"


def test_requests_stop_at_the_quota_and_say_when_it_resets(llm: SupaLLM) -> None:
    llm.set_quota(2, "requests", "day")
    assert [attempt(llm) for _ in range(3)] == ["passed", "passed", "quota_exceeded"]
    assert llm.flush()
    with pytest.raises(QuotaExceededError) as info:
        llm.chat("Hello")
    error = info.value
    assert "2 requests a day" in str(error)
    assert "resets at" in str(error)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 86_400
    assert {(line.provider, line.reason) for line in error.skipped if line.quota} == {
        ("groq", "quota_exceeded"),
        ("openai", "quota_exceeded"),
    }
    (quota,) = {line.quota["id"]: line.quota for line in error.skipped if line.quota}.values()
    assert (quota["used"], quota["limit"]) == (2, 2)


def test_the_quota_of_one_provider_sends_requests_to_the_next(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(1, "requests", "day", provider="groq")
    answers = [llm.chat("Hello", max_tokens=10) for _ in range(3)]
    assert [answer.answered_by.provider for answer in answers] == ["groq", "openai", "openai"]
    assert llm.flush()
    assert held(db, user) == (0, 0)
    explained = llm.explain_route()
    assert [candidate.provider for candidate in explained.candidates] == ["openai"]
    assert ("groq", "quota_exceeded") in [(line.provider, line.reason) for line in explained.skipped]


def test_each_candidate_is_limited_by_its_own_quotas(
    llm: SupaLLM, user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(1, "requests", "day", provider="openai")
    providers.fail(500, "/groq/*", times=None)
    assert llm.chat("Hello", max_tokens=10).answered_by.provider == "openai"
    assert llm.flush()
    with pytest.raises(ProviderError) as info:
        llm.chat("Hello", max_tokens=10)
    assert [attempt.provider for attempt in info.value.receipt.attempts] == ["groq"] * 3
    assert llm.flush()
    assert held(db, user) == (0, 0)
    (quota,) = llm.list_quotas()
    assert (quota.used, quota.reserved) == (Decimal(1), Decimal(0))


def test_cost_is_counted_at_the_users_price_and_the_rest_is_released(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(1, "cost", "month")
    answer = llm.chat("Hello", max_tokens=10)
    assert llm.flush()
    usage = answer.answered_by.usage
    (quota,) = llm.list_quotas()
    assert quota.used == Decimal((usage.input_tokens or 0) + (usage.output_tokens or 0)) / 1_000_000
    assert held(db, user) == (0, 0)


def test_a_request_without_an_output_limit_gets_the_reserved_one(
    llm: SupaLLM, providers: Emulator, stack: Stack
) -> None:
    llm.chat("Hello")
    llm.set_quota(1_000_000, "tokens", "day")
    llm.chat("Hello")
    bodies = [request["body"] for request in providers.requests()]
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 8192]


def test_a_request_is_refused_at_the_price_of_its_service_tier(llm: SupaLLM, user: User) -> None:
    rates = {"input": 1000, "output": 1000}
    user.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates=rates, p_service_tier="priority")
    llm.set_quota(0.1, "cost", "month")
    llm.set_settings(enable_fallbacks=False)
    assert llm.chat("Hello", max_tokens=10, service_tier="default").text
    with pytest.raises(QuotaExceededError):
        llm.chat("Hello", max_tokens=10, service_tier="priority")


def test_an_unpriced_model_is_refused_by_an_enforced_quota_of_cost(llm: SupaLLM) -> None:
    llm.set_quota(1, "cost", "month")
    llm.set_key("mistral", key_for("mistral"))
    # Although fallbacks are on, and Groq's model has a price.
    with pytest.raises(NoCandidateError) as info:
        llm.chat("Hello", model="mistral/never-heard-of")
    assert info.value.code == "model_unpriced"
    assert "mistral/never-heard-of" in str(info.value)
    assert {line.reason for line in info.value.skipped if line.provider == "groq"} == {
        "requested_model_unpriced"
    }
    llm.set_quota(1, "cost", "month", unpriced="allow")
    assert llm.chat("Hello", model="mistral/never-heard-of", max_tokens=10).text


def test_an_alert_only_quota_refuses_nothing(llm: SupaLLM) -> None:
    llm.set_quota(2, "requests", "day", enforced=False)
    assert [attempt(llm) for _ in range(3)] == ["passed"] * 3
    assert llm.flush()
    assert {alert.kind for alert in llm.list_alerts()} == {"quota_warning", "quota_reached"}
    assert llm.dismiss_alerts() == 2
    assert llm.list_alerts() == []


def test_ten_of_64_concurrent_requests_fit_a_quota_of_ten(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(10, "requests", "day")
    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(lambda _: attempt(llm), range(64)))
    assert sorted(outcomes) == ["passed"] * 10 + ["quota_exceeded"] * 54
    assert llm.flush()
    assert held(db, user) == (0, 0)
    (quota,) = llm.list_quotas()
    assert (quota.used, quota.reserved) == (Decimal(10), Decimal(0))


async def test_ten_of_64_concurrent_tasks_fit_a_quota_of_ten(
    user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    async with AsyncSupaLLM(await user.async_client(), operator_keys={}) as llm:
        await llm.set_key("groq", key_for("groq"))
        await llm.set_quota(10, "requests", "day")

        async def one() -> str:
            try:
                return "passed" if (await llm.chat("Hello", max_tokens=10)).text else "empty"
            except QuotaExceededError as error:
                return error.code

        outcomes = await asyncio.gather(*(one() for _ in range(64)))
        assert sorted(outcomes) == ["passed"] * 10 + ["quota_exceeded"] * 54
        assert await llm.flush()
    assert held(db, user) == (0, 0)


def test_a_distant_quota_is_reserved_ahead_and_the_rest_is_released(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(10_000, "requests", "day")
    llm.set_quota(1_000_000, "tokens", "day")
    assert [attempt(llm) for _ in range(30)] == ["passed"] * 30
    assert llm.flush()
    # One request for itself, then ten, then nineteen of a hundred.
    requests = "select sum(requests) from llm_private.reservations where user_id = %s and amount = 1"
    assert db.execute(requests, [user.id]).fetchone() == (81,)
    assert {quota.unit: quota.used for quota in llm.list_quotas()}["requests"] == 30
    llm.close()
    assert held(db, user) == (0, 0)


def test_several_processes_exceed_no_quota_that_they_reserve_ahead(
    user: User, providers: Emulator, db: psycopg.Connection[Any]
) -> None:
    with SupaLLM(user.client(), operator_keys={}) as first:
        first.set_key("groq", key_for("groq"))
        made = first.set_quota(120, "requests", "day")
        processes = [SupaLLM(user.client(), operator_keys={}) for _ in range(3)]
        with ThreadPoolExecutor(64) as pool:
            outcomes = list(pool.map(lambda number: attempt(processes[number % 3]), range(300)))
        for process in processes:
            process.close()
        passed = outcomes.count("passed")
        assert 100 <= passed <= 120
        assert outcomes.count("quota_exceeded") == 300 - passed
        (quota,) = first.list_quotas()
        assert (quota.id, quota.used, quota.reserved) == (made.id, Decimal(passed), Decimal(0))
        # What the processes released is there for the next one.
        assert [attempt(first) for _ in range(121 - passed)][-1] == "quota_exceeded"
    assert held(db, user) == (0, 0)


def test_a_stream_that_is_left_early_counts_as_reserved(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(100_000, "tokens", "day")
    with llm.stream("Hello", max_tokens=10) as stream:
        next(iter(stream))
    assert llm.flush()
    (quota,) = llm.list_quotas()
    assert quota.used is not None
    assert quota.used > 0
    assert held(db, user) == (0, 0)


def test_models_are_listed_without_a_reservation(
    llm: SupaLLM, user: User, db: psycopg.Connection[Any]
) -> None:
    llm.set_quota(1, "requests", "day")
    names = [model.id for model in llm.openai().models.list()]
    assert names[0] == "auto"
    assert any(name.startswith("groq/") for name in names)
    assert held(db, user) == (0, 0)


@pytest.fixture
def offered(stack: Stack, user: User, providers: Emulator) -> Iterator[SupaLLM]:
    """A user without keys, on a runtime whose operator offers an OpenAI key for 3 requests a day."""
    runtime = stack.admin("register_llm_runtime", p_name=unique("quota tests"))
    stack.admin("set_llm_user_group", p_user_id=user.id, p_group=f"group of {user.id}")
    made = stack.admin(
        "set_llm_quota",
        p_quota={
            "limit": 3,
            "unit": "requests",
            "period": "day",
            "key_source": "operator",
            "group": f"group of {user.id}",
        },
    )
    with SupaLLM(
        user.client(), runtime_secret=runtime["secret"], operator_keys={"openai": key_for("openai", 99)}
    ) as llm:
        yield llm
    stack.admin("remove_llm_quota", p_id=made["id"])
    stack.admin("revoke_llm_runtime", p_id=runtime["id"])


def test_the_operators_keys_serve_up_to_the_quota(offered: SupaLLM) -> None:
    assert [attempt(offered) for _ in range(4)] == ["passed"] * 3 + ["quota_exceeded"]
    assert offered.flush()
    (quota,) = offered.list_quotas()
    assert (quota.set_by, quota.key_source) == ("operator", "operator")
    assert quota.used == 3


def test_a_user_lowers_the_operators_quota_or_declines_the_keys(offered: SupaLLM) -> None:
    offered.set_quota(1, "requests", "day", key_source="operator")
    answer = offered.chat("Hello", max_tokens=10)
    assert answer.answered_by.key_source == "operator"
    with pytest.raises(QuotaExceededError, match="Your own quota of 1 request a day"):
        offered.chat("Hello", max_tokens=10)
    offered.set_settings(allow_operator_keys=False)
    with pytest.raises(NoCandidateError) as info:
        offered.chat("Hello", max_tokens=10)
    assert info.value.code == "no_usable_key"


def test_a_user_cannot_raise_the_operators_quota(offered: SupaLLM) -> None:
    offered.set_quota(100, "requests", "day", key_source="operator")
    assert [attempt(offered) for _ in range(4)] == ["passed"] * 3 + ["quota_exceeded"]


def test_the_operators_quota_does_not_limit_an_own_key(offered: SupaLLM) -> None:
    offered.set_key("groq", key_for("groq"))
    assert {offered.chat("Hello", max_tokens=10).answered_by.key_source for _ in range(5)} == {"user"}


def test_without_a_runtime_the_operators_keys_are_not_used(
    stack: Stack, user: User, providers: Emulator
) -> None:
    with SupaLLM(user.client(), operator_keys={"openai": key_for("openai", 99)}) as alone:
        with pytest.raises(NoCandidateError) as info:
            alone.chat("Hello", max_tokens=10)
        assert info.value.code == "no_usable_key"
        assert "Only a registered runtime can use the operator's key for OpenAI" in str(info.value)
