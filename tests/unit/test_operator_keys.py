"""The operator's keys: their environment variables, and that no value is ever shown."""

from __future__ import annotations

import warnings

import pytest

from supa_llm.client.operator_keys import OperatorKeys


def revealed(keys: OperatorKeys) -> dict[str, str]:
    return {provider: secret.reveal() for provider in keys.providers if (secret := keys.get(provider))}


def test_the_environment_names_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1 \n")
    monkeypatch.setenv("MY_HOST_API_KEY", "k2")
    monkeypatch.setenv("GROQ_API_KEY", "  ")
    monkeypatch.setenv("_API_KEY", "nameless")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "/somewhere")
    assert revealed(OperatorKeys()) == {"openai": "sk-1", "my-host": "k2", "my_host": "k2"}


def test_googles_key_has_two_names_and_geminis_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "second")
    assert OperatorKeys().get("google") == OperatorKeys({"google": "second"}).get("google")
    monkeypatch.setenv("GEMINI_API_KEY", "first")
    assert revealed(OperatorKeys())["google"] == "first"


def test_a_prefixed_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.setenv(name, "plain")
    monkeypatch.setenv("SUPA_LLM_OPENAI_API_KEY", "prefixed")
    monkeypatch.setenv("SUPA_LLM_GOOGLE_API_KEY", "prefixed")
    monkeypatch.setenv("SUPA_LLM_MY_HOST_API_KEY", "prefixed")
    monkeypatch.setenv("SUPA_LLM_MISTRAL_API_KEY", " ")
    monkeypatch.setenv("SUPA_LLM_API_KEY", "nameless")
    assert revealed(OperatorKeys()) == {
        **dict.fromkeys(("openai", "google", "my-host", "my_host"), "prefixed"),
        **dict.fromkeys(("gemini", "groq", "mistral"), "plain"),
    }


def test_a_warning_names_the_prefixed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPA_LLM_OPENAI_API_KEY", "sk 1")
    with pytest.warns(RuntimeWarning, match="SUPA_LLM_OPENAI_API_KEY"):
        OperatorKeys()


def test_explicit_keys_replace_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert OperatorKeys({}).providers == ()
    assert revealed(OperatorKeys({"groq": "gsk", "openai": ""})) == {"groq": "gsk"}


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = OperatorKeys()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-late")
    assert keys.get("openai") is None


@pytest.mark.parametrize("value", ["sk-1\nInjected: yes", "sk 1", "sk-\x7f", "sk-…"])
def test_an_invalid_key_is_ignored_and_only_its_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.warns(RuntimeWarning, match="OPENAI_API_KEY") as caught:
        assert OperatorKeys().providers == ()
    assert value not in str(caught[0].message)


def test_a_repr_shows_no_key() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keys = OperatorKeys({"openai": "sk-canary"})
    assert "canary" not in repr(keys) + repr(vars(keys))
