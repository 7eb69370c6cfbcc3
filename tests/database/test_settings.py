"""User settings: one row per user, partial changes, and no silent overwrites."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.database.support import Caller, Http, Refused, Transaction, new_user, refused
from tests.support import unique


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def change(user: Caller, **changes: Any) -> dict[str, Any]:
    settings = user.rpc("set_llm_settings", p_changes=changes)
    assert isinstance(settings, dict)
    return settings


def test_the_first_read_creates_the_default_settings(tx: Transaction, user: Caller) -> None:
    assert tx.value("select count(*) from public.user_llm_settings where user_id = %s", user.id) == 0
    first = user.rpc("get_llm_settings")
    assert user.rpc("get_llm_settings") == first
    assert first["user_id"] == user.id
    assert first["default_provider"] is None
    assert first["enable_fallbacks"] is True
    assert first["provider_preferences"] == first["task_overrides"] == {}
    assert first["allow_operator_keys"] is True
    assert (first["version"], first["total_requests"], first["last_used_at"]) == (1, 0, None)
    assert tx.value("select count(*) from public.user_llm_settings where user_id = %s", user.id) == 1


def test_the_first_call_can_be_a_change(user: Caller) -> None:
    assert change(user, default_provider="groq")["default_provider"] == "groq"


def test_concurrent_first_reads_create_the_settings_once(http: Http) -> None:
    user = new_user(http)
    with ThreadPoolExecutor(16) as pool:
        versions = [s["version"] for s in pool.map(lambda _: user.rpc("get_llm_settings"), range(32))]
    assert versions == [1] * 32


def test_a_token_of_a_deleted_account_is_refused(http: Http) -> None:
    user = new_user(http)
    user.rpc("get_llm_settings")
    http.delete_user(user)
    for function, arguments in (
        ("get_llm_settings", {}),
        ("set_llm_settings", {"p_changes": {}}),
        ("set_llm_key", {"provider": "groq", "key": "gsk_fake000000000000fake"}),
    ):
        with refused("not_signed_in", 401):
            user.rpc(function, **arguments)


def test_deleting_an_account_deletes_its_settings_and_keys(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    user.rpc("resolve_llm_route")
    user.once("reveal_llm_key", p_provider="groq")
    tx.sql("delete from auth.users where id = %s", user.id)
    for table, owner in (
        ("public.user_llm_settings", "user_id"),
        ("public.llm_keys", "owner_id"),
        ("llm_private.key_owners", "id"),
        ("llm_private.key_secrets", "owner_id"),
        ("llm_private.leases", "owner_id"),
        ("llm_private.key_reveals", "owner_id"),
    ):
        assert tx.value(f"select count(*) from {table} where {owner} = %s", user.id) == 0, table


def test_only_the_given_settings_change(user: Caller) -> None:
    change(user, default_provider="groq", enable_fallbacks=False)
    change(user, provider_preferences={"groq": {"priority": 1, "model": "a"}, "openai": {"enabled": False}})
    change(user, task_overrides={"speed": {"provider": "groq"}, "code": {"provider": "openai", "model": "m"}})
    settings = change(user, provider_preferences={"groq": {"priority": 2}}, task_overrides={"speed": None})
    assert settings["default_provider"] == "groq"
    assert settings["enable_fallbacks"] is False
    assert settings["provider_preferences"] == {
        "groq": {"priority": 2, "model": "a"},
        "openai": {"enabled": False},
    }
    assert settings["task_overrides"] == {"code": {"provider": "openai", "model": "m"}}


def test_null_resets_a_setting_to_its_default(tx: Transaction, user: Caller) -> None:
    change(user, default_provider="groq", allow_operator_keys=False)
    change(user, provider_preferences={"groq": {"priority": 1, "model": "a"}, "openai": {"enabled": False}})
    settings = change(user, provider_preferences={"groq": {"model": None, "priority": None}, "openai": None})
    assert settings["provider_preferences"] == {}
    settings = change(user, default_provider=None, allow_operator_keys=None)
    assert settings["default_provider"] is None
    assert settings["allow_operator_keys"] is True
    tx.admin.rpc("set_llm_operator_settings", p_changes={"operator_keys_by_default": False})
    assert user.rpc("get_llm_settings")["allow_operator_keys"] is False


def test_a_change_to_the_same_value_adds_no_version_or_audit_entry(user: Caller) -> None:
    version = change(user, default_provider="groq")["version"]
    assert change(user, default_provider="groq")["version"] == version
    assert change(user)["version"] == version
    assert len(user.rpc("get_llm_audit_log")) == 1


def test_the_audit_entry_of_a_change_names_its_runtime(tx: Transaction, user: Caller) -> None:
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))
    change(user.through(runtime["secret"]), default_provider="groq")
    (line,) = user.rpc("get_llm_audit_log")
    assert (line["action"], line["actor"], line["runtime_id"]) == (
        "settings_changed",
        "runtime",
        type(line["runtime_id"])(runtime["id"]),
    )
    assert line["detail"] == {"changes": {"default_provider": "groq"}, "version": 2}


def test_a_change_based_on_an_old_version_is_refused(user: Caller) -> None:
    seen = user.rpc("get_llm_settings")["version"]
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"}, p_expected_version=seen)
    with refused("settings_changed", 409) as error:
        user.rpc("set_llm_settings", p_changes={"default_provider": "openai"}, p_expected_version=seen)
    assert "version 2" in error.value.message
    assert user.rpc("get_llm_settings")["default_provider"] == "groq"
    user.rpc("set_llm_settings", p_changes={"default_provider": "openai"}, p_expected_version=seen + 1)


def test_exactly_one_of_several_concurrent_saves_of_a_version_succeeds(http: Http) -> None:
    user = new_user(http)
    seen = user.rpc("get_llm_settings")["version"]

    def save(provider: str) -> str:
        try:
            user.rpc("set_llm_settings", p_changes={"default_provider": provider}, p_expected_version=seen)
        except Refused as error:
            return error.code
        return provider

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(save, ["groq", "openai", "mistral", "google"] * 2))
    (winner,) = [outcome for outcome in outcomes if outcome != "settings_changed"]
    assert user.rpc("get_llm_settings")["default_provider"] == winner


def test_concurrent_changes_to_different_fields_are_all_kept(http: Http) -> None:
    user = new_user(http)
    tasks = [f"task-{number}" for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda task: change(user, task_overrides={task: {"provider": "groq"}}), tasks))
    settings = user.rpc("get_llm_settings")
    assert sorted(settings["task_overrides"]) == sorted(tasks)
    assert settings["version"] == 17


INVALID = "invalid_setting"
PROVIDERS = "openai, groq, mistral, anthropic, google"
MODEL = "a model name of 1 to 200 characters without spaces, or null"


def override(value: Any) -> dict[str, Any]:
    return {"task_overrides": {"speed": value}}


def fallback(value: Any) -> dict[str, Any]:
    return override({"provider": "groq", "fallbacks": [{"provider": "openai"}, value]})


def preference(value: Any) -> dict[str, Any]:
    return {"provider_preferences": {"groq": value}}


@pytest.mark.parametrize(
    ("changes", "code", "path", "allowed"),
    [
        ({"nonsense": 1}, "unknown_setting", "nonsense", "default_provider, enable_fallbacks"),
        ({"user_id": None}, "unknown_setting", "user_id", "default_provider, enable_fallbacks"),
        ({"version": 7}, "unknown_setting", "version", "default_provider, enable_fallbacks"),
        ({"default_provider": "nope"}, INVALID, "default_provider", PROVIDERS),
        ({"default_provider": 1}, INVALID, "default_provider", PROVIDERS),
        ({"default_provider": ["groq"]}, INVALID, "default_provider", PROVIDERS),
        ({"enable_fallbacks": "yes"}, INVALID, "enable_fallbacks", "true or false"),
        ({"enable_fallbacks": None}, INVALID, "enable_fallbacks", "true or false"),
        ({"allow_operator_keys": "true"}, INVALID, "allow_operator_keys", "true, false or null"),
        ({"provider_preferences": []}, INVALID, "provider_preferences", "a JSON object"),
        ({"provider_preferences": None}, INVALID, "provider_preferences", "a JSON object"),
        ({"provider_preferences": {"nope": {}}}, "unknown_setting", "provider_preferences.nope", PROVIDERS),
        (preference(1), INVALID, "provider_preferences.groq", "a JSON object"),
        (preference({"x": 1}), "unknown_setting", "provider_preferences.groq.x", "enabled, priority, model"),
        (preference({"enabled": "no"}), INVALID, "provider_preferences.groq.enabled", "true, false or null"),
        (preference({"priority": 1.5}), INVALID, "provider_preferences.groq.priority", "from 0 to 9999"),
        (preference({"priority": -1}), INVALID, "provider_preferences.groq.priority", "from 0 to 9999"),
        (preference({"priority": "1"}), INVALID, "provider_preferences.groq.priority", "from 0 to 9999"),
        (preference({"priority": 10000}), INVALID, "provider_preferences.groq.priority", "from 0 to 9999"),
        (preference({"priority": 1e300}), INVALID, "provider_preferences.groq.priority", "from 0 to 9999"),
        (preference({"model": "a b"}), INVALID, "provider_preferences.groq.model", MODEL),
        (preference({"model": ""}), INVALID, "provider_preferences.groq.model", MODEL),
        (preference({"model": 5}), INVALID, "provider_preferences.groq.model", MODEL),
        (preference({"model": "x" * 201}), INVALID, "provider_preferences.groq.model", MODEL),
        ({"task_overrides": "speed"}, INVALID, "task_overrides", "a JSON object"),
        ({"task_overrides": {"": {"provider": "groq"}}}, INVALID, "task_overrides", "1 to 64"),
        ({"task_overrides": {"x" * 65: {"provider": "groq"}}}, INVALID, "task_overrides", "1 to 64"),
        ({"task_overrides": {"a\nb": {"provider": "groq"}}}, INVALID, "task_overrides", "1 to 64"),
        (
            {"task_overrides": {f"t{n}": {"provider": "groq"} for n in range(201)}},
            INVALID,
            "task_overrides",
            "at most 200 tasks",
        ),
        (override([]), INVALID, "task_overrides.speed", "a JSON object"),
        (override({}), INVALID, "task_overrides.speed.provider", PROVIDERS),
        (override({"provider": None}), INVALID, "task_overrides.speed.provider", PROVIDERS),
        (override({"provider": "nope"}), INVALID, "task_overrides.speed.provider", PROVIDERS),
        (override({"provider": "groq", "x": 1}), "unknown_setting", "task_overrides.speed.x", "fallbacks"),
        (override({"provider": "groq", "model": 1}), INVALID, "task_overrides.speed.model", MODEL),
        (
            override({"provider": "groq", "fallbacks": {}}),
            INVALID,
            "task_overrides.speed.fallbacks",
            "a list of at most 20",
        ),
        (
            override({"provider": "groq", "fallbacks": [{"provider": "groq"}] * 21}),
            INVALID,
            "task_overrides.speed.fallbacks",
            "a list of at most 20",
        ),
        (fallback("openai"), INVALID, "task_overrides.speed.fallbacks[1]", "a JSON object"),
        (fallback({}), INVALID, "task_overrides.speed.fallbacks[1].provider", PROVIDERS),
        (fallback({"provider": "x"}), INVALID, "task_overrides.speed.fallbacks[1].provider", PROVIDERS),
        (
            fallback({"provider": "groq", "model": ""}),
            INVALID,
            "task_overrides.speed.fallbacks[1].model",
            MODEL,
        ),
        (
            fallback({"provider": "groq", "fallbacks": []}),
            "unknown_setting",
            "task_overrides.speed.fallbacks[1].fallbacks",
            "provider, model",
        ),
    ],
)
def test_the_error_names_the_path_and_the_allowed_values(
    user: Caller, changes: dict[str, Any], code: str, path: str, allowed: str
) -> None:
    before = user.rpc("get_llm_settings")
    with refused(code, 400) as error:
        change(user, **changes)
    assert error.value.message.split(" ")[0] == path
    assert allowed in error.value.hint
    assert user.rpc("get_llm_settings") == before


@pytest.mark.parametrize("changes", ["null", "[]", '"default_provider"', "1"])
def test_changes_must_be_an_object(http: Http, changes: str) -> None:
    user = new_user(http)
    response = http.send(user, "POST", "rpc/set_llm_settings", content=f'{{"p_changes": {changes}}}')
    assert response.status_code == 400
    assert response.json()["details"] == INVALID
    assert response.json()["message"].startswith("p_changes ")


@pytest.mark.parametrize(
    "changes",
    [
        {"default_provider": "sk-pasted0by0mistake1234"},
        {"sk-pasted0by0mistake1234": True},
        {"provider_preferences": {"sk-pasted0by0mistake1234": {"enabled": True}}},
        {"provider_preferences": {"groq": {"sk-pasted0by0mistake1234": 1}}},
        {"provider_preferences": {"groq": {"model": "sk-pasted0by0mistake1234 "}}},
        {"task_overrides": {"speed": {"provider": "sk-pasted0by0mistake1234"}}},
    ],
)
def test_a_key_pasted_into_the_wrong_field_is_not_echoed(user: Caller, changes: dict[str, Any]) -> None:
    """Error messages are written to the server's log."""
    with pytest.raises(Refused) as error:
        change(user, **changes)
    assert "pasted" not in error.value.raw


def test_the_settings_include_the_number_of_requests_and_the_last_use(user: Caller) -> None:
    user.records()
    user.records(attempt=2, model="other")
    settings = user.rpc("get_llm_settings")
    assert settings["total_requests"] == 1
    assert settings["last_used_at"] is not None
