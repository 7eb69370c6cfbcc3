"""Refused requests, reported by the client on a real project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from supa_llm import Admin, AsyncAdmin, AsyncSupaLLM, NoCandidateError, SupaLLM, SupaLLMError
from tests.support import Emulator, Stack, User, key_for, wait_until


def refusals(user: User) -> dict[str, int]:
    return {it["code"]: it["refusals"] for it in user.rpc("list_llm_refusals")}


def test_a_refused_request_is_counted_for_its_user_and_administrators(stack: Stack, user: User) -> None:
    with SupaLLM(user.client(), operator_keys={}) as llm:
        for _ in range(3):
            with pytest.raises(NoCandidateError) as error:
                llm.chat("Hello")
            assert error.value.code == "no_usable_key"
        wait_until(lambda: refusals(user) == {"no_usable_key": 1})
    assert refusals(user) == {"no_usable_key": 3}  # closing reports the others
    with SupaLLM(user.client()) as llm:
        (refusal,) = llm.list_refusals()
    assert (refusal.code, refusal.refusals, refusal.users) == ("no_usable_key", 3, 1)
    with Admin(stack.api_url, stack.secret_key) as admin:
        assert admin.list_refusals(user_id=UUID(user.id)) == [refusal]
        assert admin.list_refusals()[0].refusals >= 3


async def test_asyncio_counts_refusals_too(stack: Stack, user: User) -> None:
    async with AsyncSupaLLM(await user.async_client(), operator_keys={}) as llm:
        with pytest.raises(SupaLLMError) as error:
            await llm.chat("Hello", model="nobody-has-this")
        assert error.value.code == "unknown_model"
    assert refusals(user) == {"unknown_model": 1}
    async with AsyncAdmin(stack.api_url, stack.secret_key) as admin:
        (refusal,) = await admin.list_refusals(user_id=UUID(user.id))
    assert refusal.code == "unknown_model"


def test_answered_requests_are_no_refusals(user: User, providers: Emulator) -> None:
    with SupaLLM(user.client(), operator_keys={}) as llm:
        llm.set_key("groq", key_for("groq"))
        assert llm.chat("Hello").text
    assert refusals(user) == {}


def test_a_suspended_user_shows_up(stack: Stack, user: User) -> None:
    with Admin(stack.api_url, stack.secret_key) as admin:
        admin.suspend_user(UUID(user.id))
    with SupaLLM(user.client(), operator_keys={}) as llm, pytest.raises(SupaLLMError) as error:
        llm.chat("Hello")
    assert error.value.code == "account_suspended"
    assert refusals(user) == {"account_suspended": 1}


def test_a_report_that_fails_does_not_change_the_error(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the report failed")

    monkeypatch.setattr("supa_llm.client.refusal_reports.record_refusals", fail)
    with SupaLLM(user.client(), operator_keys={}) as llm, pytest.raises(NoCandidateError):
        llm.chat("Hello")
    assert refusals(user) == {}
