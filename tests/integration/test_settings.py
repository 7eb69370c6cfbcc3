"""Settings, preferences and tasks through the client, on a real project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supa_llm import ConflictError, InvalidInputError, SupaLLM
from tests.support import Stack, User


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


def test_the_apps_own_client_is_unchanged(stack: Stack, user: User) -> None:
    sb = stack.client()
    with SupaLLM(sb) as llm:
        llm.for_user(user.access_token).get_settings()
    assert sb.options.headers["Authorization"] == f"Bearer {stack.publishable_key}"
    assert user.access_token not in repr(vars(sb.postgrest))
