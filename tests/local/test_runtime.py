"""The stack's own runtime: registered once, with a secret that lasts as long as the stack's other secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supa_llm.local import LocalStack
from tests.support import ROOT, Stack, key_for


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A running stack of a new installation, for tests that run in order."""
    local = LocalStack(tmp_path_factory.mktemp("runtime") / "state", project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        yield local
    finally:
        local.destroy()


def runtimes(local: LocalStack) -> list[str]:
    return [row["name"] for row in Stack.from_env(local.env()).admin("list_llm_runtimes")]


def test_a_new_stack_gives_keys_only_with_the_secret_that_it_prints(local: LocalStack) -> None:
    stack = Stack.from_env(local.env())
    user = stack.sign_up()
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    secret = local.env()["SUPA_LLM_RUNTIME_SECRET"]

    alone = stack.rpc("resolve_llm_route", user.access_token)
    assert (alone.status_code, alone.json()["details"]) == (403, "runtime_required")
    stack.rpc("resolve_llm_route", user.access_token, runtime=secret)
    route = stack.rpc("resolve_llm_route", user.access_token, runtime=secret).json()
    assert route["candidates"][0]["key"] == key_for("groq")
    assert secret not in repr(local._known()[1])


def test_the_runtime_is_registered_once_and_keeps_its_secret(local: LocalStack) -> None:
    secret = local.env()["SUPA_LLM_RUNTIME_SECRET"]
    local.up()
    assert runtimes(local) == ["local stack"]
    local.reset()
    assert runtimes(local) == ["local stack"]
    assert local.env()["SUPA_LLM_RUNTIME_SECRET"] == secret
    stack = Stack.from_env(local.env())
    answer = stack.rpc("get_llm_settings", stack.sign_up().access_token, runtime=secret)
    assert answer.is_success, answer.text


def test_a_revoked_runtime_is_not_registered_again(local: LocalStack) -> None:
    stack = Stack.from_env(local.env())
    (runtime,) = stack.admin("list_llm_runtimes")
    stack.admin("revoke_llm_runtime", p_id=runtime["id"])
    local.up()
    (runtime,) = stack.admin("list_llm_runtimes")
    assert runtime["revoked_at"]
