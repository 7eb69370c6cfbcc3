"""Settings, preferences, keys, usage and audit through the client, on a real project."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from supa_llm import ConflictError, InvalidInputError, NoCandidateError, NotFoundError, SupaLLM
from tests.support import Stack, User, key_for


@pytest.fixture
def llm(user: User) -> Iterator[SupaLLM]:
    with SupaLLM(user.client()) as llm:
        yield llm


def test_the_first_call_creates_the_settings(llm: SupaLLM, user: User) -> None:
    settings = llm.get_settings()
    assert str(settings.user_id) == user.id
    assert (settings.enable_fallbacks, settings.default_provider, settings.version) == (True, None, 1)


def test_only_given_settings_change_and_none_resets(llm: SupaLLM) -> None:
    llm.set_settings(default_provider="groq", enable_fallbacks=False)
    assert llm.set_settings(allow_operator_keys=False).default_provider == "groq"
    settings = llm.set_settings(default_provider=None)
    assert (settings.default_provider, settings.enable_fallbacks) == (None, False)


def test_a_stale_change_is_refused(llm: SupaLLM) -> None:
    version = llm.get_settings().version
    llm.set_settings(enable_fallbacks=False, expected_version=version)
    with pytest.raises(ConflictError) as caught:
        llm.set_settings(enable_fallbacks=True, expected_version=version)
    assert caught.value.code == "settings_changed"
    assert caught.value.hint


def test_an_invalid_value_is_named(llm: SupaLLM) -> None:
    with pytest.raises(InvalidInputError, match="default_provider"):
        llm.set_settings(default_provider="nobody")


def test_preferences_are_merged_by_field(llm: SupaLLM) -> None:
    llm.set_preference("groq", priority=1, model="some-model")
    settings = llm.set_preference("groq", enabled=False)
    assert settings.provider_preferences["groq"] == {"enabled": False, "priority": 1, "model": "some-model"}
    assert "model" not in llm.set_preference("groq", model=None).provider_preferences["groq"]
    assert llm.set_settings(provider_preferences={"groq": None}).provider_preferences == {}


def test_a_task_has_a_provider_a_model_and_fallbacks(llm: SupaLLM) -> None:
    settings = llm.set_task("code", "anthropic", "claude-x", fallbacks=["openai/gpt-x", "groq"])
    assert settings.task_overrides["code"] == {
        "provider": "anthropic",
        "model": "claude-x",
        "fallbacks": [{"provider": "openai", "model": "gpt-x"}, {"provider": "groq"}],
    }
    assert llm.remove_task("code").task_overrides == {}


def test_a_change_is_visible_at_once_through_every_client(llm: SupaLLM, user: User) -> None:
    view = llm.for_user(user.access_token)
    assert view.get_settings().default_provider is llm.get_settings().default_provider is None
    view.set_settings(default_provider="mistral")
    assert llm.get_settings().default_provider == "mistral"
    llm.set_settings(default_provider="openai")
    assert view.get_settings().default_provider == "openai"


def test_settings_are_cached_for_their_ttl(user: User) -> None:
    with SupaLLM(user.client(), settings_ttl=60) as kept, SupaLLM(user.client(), settings_ttl=0) as read:
        assert kept.get_settings().default_provider is None
        user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
        assert kept.get_settings().default_provider is None
        assert read.get_settings().default_provider == "groq"


def test_a_key_is_stored_listed_by_its_hint_revealed_and_removed(llm: SupaLLM) -> None:
    key = key_for("openai")
    stored = llm.set_key("openai", key)
    assert (stored.provider, stored.status) == ("openai", "untested")
    assert key not in repr(llm.list_keys())
    (known,) = llm.list_keys()
    assert known.hint == stored.hint
    assert llm.reveal_key("openai") == key
    llm.remove_key("openai")
    assert llm.list_keys() == []
    with pytest.raises(NotFoundError):
        llm.remove_key("openai")
    actions = [entry.action for entry in llm.get_audit_log()]
    assert actions[:3] == ["key_revoked", "key_revealed", "key_set"]
    assert [entry.action for entry in llm.get_audit_log(limit=1)] == actions[:1]
    assert [entry.action for entry in llm.get_audit_log(before=llm.get_audit_log(limit=1)[0].id)] == actions[
        1:
    ]


@pytest.mark.parametrize(
    "key", ["", "no-key", "sk-" + "a" * 9000, "sk-test-\x00" + "0" * 32, "sk-test-\ud800" + "0" * 32]
)
def test_a_malformed_key_is_refused_and_not_repeated(llm: SupaLLM, key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        llm.set_key("openai", key)
    assert caught.value.hint
    assert not key or key not in str(caught.value)


def test_the_catalog_and_an_empty_usage_report(llm: SupaLLM) -> None:
    assert {"openai", "groq", "mistral", "anthropic", "google"} <= {
        provider.id for provider in llm.list_providers()
    }
    assert llm.get_usage(since=date(2026, 1, 1)) == []


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


def test_the_apps_own_client_is_unchanged(stack: Stack, user: User) -> None:
    sb = stack.client()
    with SupaLLM(sb) as llm:
        llm.for_user(user.access_token).get_settings()
    assert sb.options.headers["Authorization"] == f"Bearer {stack.publishable_key}"
    assert user.access_token not in repr(vars(sb.postgrest))
