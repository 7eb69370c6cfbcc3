"""The catalog and routes through the client, on a real project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supa_llm import NoCandidateError, SupaLLM
from tests.support import User, key_for


@pytest.fixture
def llm(user: User) -> Iterator[SupaLLM]:
    with SupaLLM(user.client()) as llm:
        yield llm


def test_the_catalog_lists_the_known_providers(llm: SupaLLM) -> None:
    assert {"openai", "groq", "mistral", "anthropic", "google"} <= {
        provider.id for provider in llm.list_providers()
    }


def test_the_best_provider_and_the_route_with_reasons(llm: SupaLLM) -> None:
    llm.set_key("openai", key_for("openai"))
    llm.set_key("groq", key_for("groq"))
    llm.set_task("code", "openai", "gpt-x")
    best = llm.best_provider("code")
    assert (best.provider, best.model, best.reason, best.key) == ("openai", "gpt-x", "task_override", None)
    route = llm.explain_route("code")
    assert [candidate.provider for candidate in route.candidates] == ["openai", "groq"]
    assert {(out.provider, out.reason) for out in route.skipped} >= {("mistral", "no_key")}
    llm.set_preference("openai", enabled=False)
    assert llm.best_provider("code").provider == "groq"


def test_without_a_key_the_error_says_what_to_do(llm: SupaLLM) -> None:
    with pytest.raises(NoCandidateError) as best:
        llm.best_provider()
    with pytest.raises(NoCandidateError) as chat:
        llm.chat("Hello")
    for error in (best.value, chat.value):
        assert error.code == "no_usable_key"
        assert "OpenAI" in error.hint
        assert {out.reason for out in error.skipped} == {"no_key"}
