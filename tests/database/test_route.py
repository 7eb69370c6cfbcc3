"""Routes: the candidates that may serve a request, their order and reasons, and the leases of their keys."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.support import Caller, Http, Transaction, new_user, refused, runtime_user
from tests.support import key_for, unique

OPERATOR = ["openai", "groq", "mistral", "anthropic", "google"]


@pytest.fixture
def user(tx: Transaction) -> Caller:
    """A user with keys for three providers."""
    user = runtime_user(tx)
    for provider in ("openai", "groq", "mistral"):
        user.holds_key(provider)
    return user


def settle(user: Caller, **changes: Any) -> None:
    user.rpc("set_llm_settings", p_changes=changes)


def resolve(user: Caller, **request: Any) -> list[str]:
    """Return the candidates of a route as source:provider=reason."""
    named = {f"p_{name}": value for name, value in request.items()}
    route = user.rpc("resolve_llm_route", **named)
    explained = user.rpc("explain_llm_route", **named)
    assert [{k: v for k, v in c.items() if k != "key"} for c in route["candidates"]] == explained[
        "candidates"
    ]
    return [f"{c['key_source']}:{c['provider']}={c['reason']}" for c in route["candidates"]]


def models(user: Caller, **request: Any) -> list[str]:
    named = {f"p_{name}": value for name, value in request.items()}
    return [f"{c['provider']}/{c['model']}" for c in user.rpc("explain_llm_route", **named)["candidates"]]


def skipped(user: Caller, **request: Any) -> dict[str, str]:
    """Return the skipped candidates of the providers in OPERATOR: source:provider → reason."""
    named = {f"p_{name}": value for name, value in request.items()}
    lines = user.rpc("explain_llm_route", **named)["skipped"]
    return {
        f"{line['key_source']}:{line['provider']}": line["reason"]
        for line in lines
        if line["provider"] in OPERATOR
    }


# Order --------------------------------------------------------------------------------------------


def test_the_catalog_sets_the_default_order(user: Caller) -> None:
    assert resolve(user) == [
        "user:openai=preference_order",
        "user:groq=preference_order",
        "user:mistral=preference_order",
    ]


def test_the_order_of_a_task_goes_before_the_catalogs(user: Caller) -> None:
    assert resolve(user, task="speed") == [
        "user:groq=preference_order",
        "user:mistral=preference_order",
        "user:openai=preference_order",
    ]


def test_an_unknown_task_uses_the_order_of_the_catalog(user: Caller) -> None:
    assert resolve(user, task="writing haiku") == resolve(user)


def test_a_candidate_tells_whether_it_serves_responses(tx: Transaction, user: Caller) -> None:
    def serving() -> dict[str, bool]:
        route = user.rpc("explain_llm_route")
        return {it["provider"]: it["responses"] for it in route["candidates"]}

    assert serving() == {"openai": True, "groq": False, "mistral": False}
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "capabilities": ["chat", "responses"]})
    assert serving() == {"openai": True, "groq": True, "mistral": False}


def test_a_users_priorities_go_before_the_order_of_the_task(user: Caller) -> None:
    settle(user, provider_preferences={"openai": {"priority": 1}, "mistral": {"priority": 0}})
    assert resolve(user, task="speed") == [
        "user:mistral=preference_order",
        "user:openai=preference_order",
        "user:groq=preference_order",
    ]


def test_the_default_provider_goes_before_priorities(user: Caller) -> None:
    settle(user, default_provider="mistral", provider_preferences={"openai": {"priority": 0}})
    assert resolve(user)[:2] == ["user:mistral=default_provider", "user:openai=preference_order"]


def test_a_task_override_goes_before_the_default_provider(user: Caller) -> None:
    settle(user, default_provider="mistral", task_overrides={"code": {"provider": "groq", "model": "m"}})
    assert resolve(user, task="code")[:2] == ["user:groq=task_override", "user:mistral=default_provider"]
    assert models(user, task="code")[0] == "groq/m"
    assert resolve(user, task="speed")[0] == "user:mistral=default_provider"


def test_the_requested_model_goes_before_the_task_override(user: Caller) -> None:
    settle(user, task_overrides={"code": {"provider": "groq"}})
    assert resolve(user, task="code", model="openai/gpt-x")[:2] == [
        "user:openai=requested",
        "user:groq=task_override",
    ]
    assert models(user, task="code", model="openai/gpt-x")[0] == "openai/gpt-x"


def test_an_override_with_fallbacks_excludes_all_other_providers(user: Caller) -> None:
    override = {"provider": "groq", "fallbacks": [{"provider": "mistral", "model": "m"}]}
    settle(user, task_overrides={"code": override})
    request = {"task": "code", "operator_providers": ["openai"]}
    assert resolve(user, **request) == ["user:groq=task_override", "user:mistral=task_fallback"]
    assert models(user, **request)[1] == "mistral/m"
    assert skipped(user, **request) == {
        "user:openai": "not_in_task_fallbacks",
        "user:anthropic": "not_in_task_fallbacks",
        "user:google": "not_in_task_fallbacks",
        "operator:openai": "not_in_task_fallbacks",
    }


def test_an_override_with_no_fallbacks_excludes_all_other_providers(user: Caller) -> None:
    settle(user, task_overrides={"code": {"provider": "groq", "fallbacks": []}})
    assert resolve(user, task="code") == ["user:groq=task_override"]


def test_operator_keys_follow_the_users_keys_in_the_same_order(user: Caller) -> None:
    settle(user, default_provider="mistral")
    assert resolve(user, operator_providers=["groq", "mistral"]) == [
        "user:mistral=default_provider",
        "user:openai=preference_order",
        "user:groq=preference_order",
        "operator:mistral=default_provider",
        "operator:groq=preference_order",
    ]


def test_the_operators_openai_key_is_last_unless_the_user_ranks_openai(user: Caller) -> None:
    assert resolve(user, operator_providers=["openai", "google"])[-2:] == [
        "operator:google=preference_order",
        "operator:openai=operator_openai",
    ]
    settle(user, provider_preferences={"openai": {"priority": 5}})
    assert resolve(user, operator_providers=["openai", "google"])[-2:] == [
        "operator:openai=preference_order",
        "operator:google=preference_order",
    ]


def test_an_operator_provider_outside_the_catalog_is_ignored(user: Caller) -> None:
    assert resolve(user, operator_providers=["nope", "", "OpenAI"]) == resolve(user)


# Models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("groq/llama-x", "groq/llama-x"),
        ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("groq", "groq/openai/gpt-oss-120b"),
        ("groq/", "groq/openai/gpt-oss-120b"),
        ("gpt-x", "openai/gpt-x"),
        ("codestral-x", "mistral/codestral-x"),
        ("meta-llama/x", "groq/meta-llama/x"),
    ],
)
def test_a_model_can_be_requested_with_or_without_its_provider(user: Caller, model: str, first: str) -> None:
    assert models(user, model=model)[0] == first
    assert resolve(user, model=model)[0].endswith("=requested")


def test_an_unknown_model_goes_to_the_default_provider_or_is_refused(user: Caller) -> None:
    for function in ("resolve_llm_route", "explain_llm_route"):
        with refused("unknown_model", 400) as error:
            user.rpc(function, p_model="brand-new")
        assert "provider/model" in error.value.hint
    settle(user, default_provider="mistral")
    assert models(user, model="brand-new")[0] == "mistral/brand-new"


#: Names of gemini-2.5-pro that other clients use.
ALIASES = ["models/gemini-2.5-pro", "google/gemini-2.5-pro", "models/models/gemini-2.5-pro"]


@pytest.mark.parametrize("alias", ALIASES)
def test_a_candidate_has_the_models_only_name(tx: Transaction, user: Caller, alias: str) -> None:
    user.holds_key("google")
    first = "google/gemini-2.5-pro"
    assert models(user, model=f"google/{alias}")[0] == first
    settle(user, task_overrides={"a": {"provider": "google", "model": alias}})
    assert models(user, task="a")[0] == first
    settle(user, default_provider="google", provider_preferences={"google": {"model": alias}})
    assert models(user, task="b")[0] == first
    for catalog in ({"default_model": alias}, {"task_models": {"speed": "m", "b": alias}}):
        with refused("invalid_provider", 400):
            tx.admin.rpc("set_llm_provider", p_provider={"id": "google", **catalog})


def test_a_bare_model_with_a_prefix_finds_its_provider(user: Caller) -> None:
    user.holds_key("google")
    assert models(user, model="models/gemini-2.5-pro")[0] == "google/gemini-2.5-pro"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("google/models/", "google/models/"),
        ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("groq/groq/compound", "groq/groq/compound"),
        ("openai/openai/gpt-5", "openai/gpt-5"),
        ("openai/models/gpt-5", "openai/models/gpt-5"),
        ("openai/gpt-5", "openai/gpt-5"),
        ("groq/Llama-X", "groq/Llama-X"),
    ],
)
def test_only_the_providers_own_prefixes_are_removed(user: Caller, model: str, name: str) -> None:
    user.holds_key("google")
    assert models(user, model=model)[0] == name


def test_the_override_then_the_users_model_then_the_tasks_model_is_used(user: Caller) -> None:
    assert models(user)[0] == "openai/gpt-5-mini"
    assert "openai/gpt-5-nano" in models(user, task="speed")
    settle(user, provider_preferences={"openai": {"model": "mine"}})
    assert "openai/mine" in models(user, task="speed")
    settle(user, task_overrides={"speed": {"provider": "openai", "model": "fast"}})
    assert models(user, task="speed")[0] == "openai/fast"
    assert models(user, task="code")[0] == "openai/mine"


def test_embeddings_use_the_embedding_model_of_each_provider(user: Caller) -> None:
    settle(user, provider_preferences={"openai": {"model": "mine"}})
    assert models(user, needs=["embeddings"]) == ["openai/text-embedding-3-small", "mistral/mistral-embed"]


# Skipped candidates -------------------------------------------------------------------------------


def test_each_skipped_provider_has_its_reason(tx: Transaction, user: Caller) -> None:
    settle(user, provider_preferences={"openai": {"enabled": False}}, allow_operator_keys=False)
    tx.admin.rpc("set_llm_provider", p_provider={"id": "google", "enabled": False})
    key = {key["provider"]: key["id"] for key in user.rpc("list_llm_keys")}
    failed = {"outcome": "failed", "error_class": "auth"}
    user.records(provider="groq", key_id=key["groq"], **failed)
    limited = {"outcome": "failed", "error_class": "rate_limited", "retry_after": 60}
    model = "mistral-medium-latest"
    user.records(provider="mistral", model=model, key_id=key["mistral"], **limited)
    assert skipped(user, operator_providers=OPERATOR) == {
        "user:openai": "provider_disabled",
        "user:groq": "key_rejected",
        "user:mistral": "model_rate_limited",
        "user:anthropic": "no_key",
        "user:google": "provider_off",
        "operator:openai": "provider_disabled",
        "operator:groq": "operator_keys_declined",
        "operator:mistral": "operator_keys_declined",
        "operator:anthropic": "operator_keys_declined",
        "operator:google": "provider_off",
    }
    explained = user.rpc("explain_llm_route", p_operator_providers=OPERATOR)
    assert all(line["message"] for line in explained["skipped"])
    assert [line["provider"] for line in explained["skipped"] if line["until"]] == ["mistral"]
    with refused("keys_rate_limited", 429) as error:
        resolve(user, operator_providers=OPERATOR)
    assert error.value.hint == explained["advice"]
    for part in ("rejected your key", "rate-limited", "you have not allowed its use"):
        assert part in error.value.hint


def test_providers_without_a_needed_capability_are_skipped(user: Caller) -> None:
    assert resolve(user, needs=["vision"]) == [
        "user:openai=preference_order",
        "user:mistral=preference_order",
    ]
    assert skipped(user, needs=["vision"])["user:groq"] == "lacks_capability"
    assert resolve(user, needs=["vision", "tools", "chat", "streaming", "json_schema"])


def test_providers_without_an_embedding_model_are_skipped_for_embeddings(
    tx: Transaction, user: Caller
) -> None:
    tx.admin.rpc("set_llm_provider", p_provider={"id": "mistral", "task_models": {}})
    assert skipped(user, needs=["embeddings"])["user:mistral"] == "no_model"
    assert models(user, needs=["embeddings"], model="mistral/e")[0] == "mistral/e"


def test_a_provider_disabled_by_the_user_is_not_used_even_if_requested(user: Caller) -> None:
    settle(user, provider_preferences={"openai": {"enabled": False}})
    assert "user:openai=requested" not in resolve(user, model="openai/gpt-x", operator_providers=["openai"])
    settle(user, task_overrides={"code": {"provider": "openai"}}, default_provider="openai")
    assert resolve(user, task="code", operator_providers=["openai"]) == [
        "user:mistral=preference_order",
        "user:groq=preference_order",
    ]


def test_a_route_without_fallbacks_has_only_its_first_candidate(user: Caller) -> None:
    settle(user, enable_fallbacks=False)
    assert resolve(user, operator_providers=OPERATOR) == ["user:openai=preference_order"]
    assert set(skipped(user, operator_providers=["groq"]).values()) == {"fallbacks_off", "no_key"}
    settle(user, default_provider="mistral")
    assert resolve(user) == ["user:mistral=default_provider"]
    assert resolve(user, model="groq/x") == ["user:groq=requested"]


def test_without_fallbacks_the_default_provider_is_not_replaced(user: Caller) -> None:
    settle(user, enable_fallbacks=False, default_provider="anthropic")
    with refused("no_usable_key", 422):
        resolve(user)
    assert resolve(user, operator_providers=["anthropic"]) == ["operator:anthropic=default_provider"]


def test_an_empty_route_advises_the_user_what_to_do(tx: Transaction) -> None:
    user = runtime_user(tx)
    with refused("no_usable_key", 422) as error:
        user.rpc("resolve_llm_route")
    names = ", ".join(provider["name"] for provider in user.rpc("list_llm_providers"))
    assert error.value.hint == f"Add a key for one of: {names}."
    assert user.rpc("explain_llm_route")["advice"] == error.value.hint
    assert runtime_user(tx).rpc("explain_llm_route", p_operator_providers=["groq"])["advice"] == ""


# Operator keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_default", "consent", "used"),
    [
        (True, None, True),
        (True, False, False),
        (True, True, True),
        (False, None, False),
        (False, False, False),
        (False, True, True),
    ],
)
def test_operator_keys_serve_only_users_who_allow_their_use(
    tx: Transaction, by_default: bool, consent: bool | None, used: bool
) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"operator_keys_by_default": by_default})
    user = runtime_user(tx)
    settle(user, allow_operator_keys=consent)
    if used:
        assert resolve(user, operator_providers=["groq"]) == ["operator:groq=preference_order"]
    else:
        with refused("no_usable_key", 422) as error:
            resolve(user, operator_providers=["groq"])
        assert "The operator has a key for Groq" in error.value.hint


def test_an_operator_candidate_has_no_key(user: Caller) -> None:
    route = user.rpc("resolve_llm_route", p_operator_providers=["openai"])
    for candidate in route["candidates"]:
        own = candidate["key_source"] == "user"
        assert (candidate["key"] is not None) == (candidate["key_id"] is not None) == own
        assert candidate["key"] == (key_for(candidate["provider"]) if own else None)


def test_a_user_without_settings_gets_the_route_of_default_settings(tx: Transaction) -> None:
    user = runtime_user(tx)
    before = resolve(user, operator_providers=OPERATOR)
    user.rpc("get_llm_settings")
    assert resolve(user, operator_providers=OPERATOR) == before


# Request arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["resolve_llm_route", "explain_llm_route"])
@pytest.mark.parametrize(
    "request_",
    [
        {"p_task": ""},
        {"p_task": "x" * 65},
        {"p_task": "a\nb"},
        {"p_model": ""},
        {"p_model": "x" * 201},
        {"p_model": "a b"},
        {"p_model": "gpt\n"},
        {"p_needs": ["telepathy"]},
        {"p_operator_providers": ["x"] * 101},
    ],
)
def test_the_error_names_the_invalid_argument(user: Caller, function: str, request_: dict[str, Any]) -> None:
    with refused("invalid_argument", 400) as error:
        user.rpc(function, **request_)
    assert next(iter(request_)) in error.value.message


def test_null_arguments_are_the_same_as_omitted_ones(user: Caller) -> None:
    nothing = {"p_task": None, "p_model": None, "p_needs": None, "p_operator_providers": None}
    assert user.rpc("explain_llm_route", **nothing) == user.rpc("explain_llm_route")
    assert user.rpc("resolve_llm_route", **nothing) == user.rpc("resolve_llm_route")


# Leases -------------------------------------------------------------------------------------------


def leases(tx: Transaction, user: Caller) -> list[dict[str, Any]]:
    return tx.sql("select * from llm_private.leases where user_id = %s order by 1, 2, 3", user.id)


def test_resolving_again_within_a_lease_writes_nothing(http: Http) -> None:
    """It writes no row and takes no transaction id: the hot path is read-only."""
    user = new_user(http)
    user.holds_key("groq")
    user.holds_key("openai")
    first = user.rpc("resolve_llm_route", p_task="speed")
    with http.stack.connect() as connection:

        def written() -> Any:
            return connection.execute("select pg_current_wal_insert_lsn()").fetchone()

        # No other test runs on this stack, but the server itself may write a WAL record now and then.
        quiet = []
        for _ in range(5):
            before = written()
            assert user.rpc("resolve_llm_route", p_task="speed") == first
            assert user.rpc("resolve_llm_route", p_task="code")["expires_at"] == first["expires_at"]
            quiet.append(written() == before)
        assert any(quiet)


def test_each_lease_of_a_key_is_audited(user: Caller) -> None:
    user = user.through(None)
    route = user.rpc("resolve_llm_route", p_model="groq/x")
    lines = [line for line in user.rpc("get_llm_audit_log") if line["action"] == "lease"]
    released = {str(line["key_id"]): line for line in lines}
    assert released.keys() == {candidate["key_id"] for candidate in route["candidates"]}
    for candidate in route["candidates"]:
        line = released[candidate["key_id"]]
        assert (line["actor"], line["provider"]) == ("user", candidate["provider"])
        assert line["detail"]["hint"] == candidate["key_hint"]
        assert datetime.fromisoformat(line["detail"]["until"]) == datetime.fromisoformat(route["expires_at"])


def test_the_operator_sets_how_long_a_lease_lasts(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"lease_seconds": 60})
    until = datetime.fromisoformat(user.rpc("resolve_llm_route")["expires_at"])
    assert until == tx.value("select now()") + timedelta(seconds=60)
    assert until > datetime.now(UTC)


def test_an_expired_lease_is_renewed(tx: Transaction, user: Caller) -> None:
    user.rpc("resolve_llm_route")
    tx.sql("update llm_private.leases set expires_at = now() - interval '1 second'")
    before = len(user.rpc("get_llm_audit_log", p_limit=500))
    user.rpc("resolve_llm_route")
    assert len(user.rpc("get_llm_audit_log", p_limit=500)) == before + 3
    assert len(leases(tx, user)) == 3
    assert all(lease["expires_at"] > tx.value("select now()") for lease in leases(tx, user))


def test_each_session_and_each_runtime_has_its_own_lease(tx: Transaction, user: Caller) -> None:
    user = user.through(None)
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))
    callers = [
        user,
        user.in_new_session(),
        user.through(runtime["secret"]),
        user.with_claims(session_id=None),
    ]
    for caller in callers * 2:
        caller.rpc("resolve_llm_route", p_model="groq/x")
    assert len({lease["holder"] for lease in leases(tx, user)}) == 4
    lines = [line for line in user.rpc("get_llm_audit_log", p_limit=500) if line["action"] == "lease"]
    assert len(lines) == 4 * 3
    by_runtime = [line for line in lines if line["actor"] == "runtime"]
    assert {str(line["runtime_id"]) for line in by_runtime} == {runtime["id"]}
    assert len(by_runtime) == 3


def test_an_invalid_session_id_in_a_token_does_not_break_the_route(user: Caller) -> None:
    for session in ("not-a-uuid", "", "x" * 1000, 7):
        assert user.with_claims(session_id=session).rpc("resolve_llm_route")["candidates"]


def test_a_key_stored_during_a_lease_is_leased_too(tx: Transaction, user: Caller) -> None:
    user.rpc("resolve_llm_route")
    user.holds_key("anthropic")
    user.holds_key("groq", 2)
    user.rpc("resolve_llm_route")
    stored = {key["id"] for key in user.rpc("list_llm_keys")}
    assert {str(lease["key_id"]) for lease in leases(tx, user)} == stored


def test_concurrent_key_replacement_causes_no_error_and_no_unaudited_lease(http: Http) -> None:
    user = new_user(http)
    user.holds_key("groq")

    def resolve_for_a_while(_: int) -> list[str]:
        released = []
        for _ in range(25):
            session = user.in_new_session()
            released += [c["key_id"] for c in session.rpc("resolve_llm_route")["candidates"]]
        return released

    with ThreadPoolExecutor(5) as pool:
        resolved = [pool.submit(resolve_for_a_while, number) for number in range(4)]
        number = 0
        while not all(future.done() for future in resolved):
            number += 1
            user.holds_key("groq", number)
            time.sleep(0.02)  # so that some keys are not replaced between a caller's two calls
    released = Counter(key for future in resolved for key in future.result())
    assert len(released) > 1
    with http.stack.connect() as connection:
        lines = connection.execute(
            "select key_id::text from public.llm_audit_log where user_id = %s and action = 'lease'", [user.id]
        ).fetchall()
    assert released <= Counter(key for (key,) in lines)


def test_a_route_with_only_operator_keys_takes_no_lease(tx: Transaction) -> None:
    user = runtime_user(tx)
    assert user.rpc("resolve_llm_route", p_operator_providers=["groq"])["expires_at"]
    assert leases(tx, user) == []
    assert user.rpc("get_llm_audit_log") == []


def test_explaining_a_route_leases_no_key(tx: Transaction, user: Caller) -> None:
    before = user.rpc("get_llm_audit_log", p_limit=500)
    explained = user.rpc("explain_llm_route")
    assert all("key" not in candidate for candidate in explained["candidates"])
    assert leases(tx, user) == []
    assert user.rpc("get_llm_audit_log", p_limit=500) == before


def test_embeddings_with_a_requested_model_use_no_other_model(user: Caller) -> None:
    for provider in ("openai", "mistral"):
        user.holds_key(provider)
    request = {
        "p_needs": ["embeddings"],
        "p_model": "openai/text-embedding-3-small",
        "p_operator_providers": ["mistral"],
    }
    route = user.rpc("explain_llm_route", **request)
    assert [it["provider"] for it in route["candidates"]] == ["openai"]
    assert {"other_model"} == {it["reason"] for it in route["skipped"] if it["provider"] == "mistral"}
    user.rpc("remove_llm_key", p_provider="openai")
    with refused("no_usable_key", 422):
        user.rpc("resolve_llm_route", **request)


def test_previewing_a_change_returns_the_route_after_it_and_saves_nothing(user: Caller) -> None:
    changes = {
        "default_provider": "mistral",
        "provider_preferences": {"groq": {"enabled": False}},
        "task_overrides": {"speed": {"provider": "openai", "fallbacks": []}},
    }
    settings, audit = user.rpc("get_llm_settings"), user.rpc("get_llm_audit_log")
    previewed = [user.rpc("explain_llm_route", p_task=task, p_changes=changes) for task in (None, "speed")]
    assert user.rpc("get_llm_settings") == settings
    assert user.rpc("get_llm_audit_log") == audit
    settle(user, **changes)
    assert [user.rpc("explain_llm_route", p_task=task) for task in (None, "speed")] == previewed
    assert previewed[0]["candidates"][0]["provider"] == "mistral"


def test_previewing_an_invalid_change_is_refused(user: Caller) -> None:
    with refused("invalid_setting", 400):
        user.rpc("explain_llm_route", p_changes={"default_provider": "missing"})


def test_a_route_reads_the_keys_of_its_user_alone(tx: Transaction, user: Caller) -> None:
    """However many others have keys, because the route is resolved again and again."""
    tx.sql(
        """
        with others as (
          insert into auth.users (id, aud, role, email)
          select gen_random_uuid(), 'authenticated', 'authenticated', 'other' || n || '@example.com'
          from generate_series(1, 2000) as n
          returning id
        ),

        owners as (
          insert into llm_private.key_owners (id, user_id, master_key_id, wrapped_key)
          select o.id, o.id, (select min(m.id) from llm_private.master_keys as m), ''
          from others as o
          returning id
        )

        insert into public.llm_keys (owner_id, provider, hint)
        select o.id, p.id, 'x' from owners as o cross join public.llm_providers as p
        where p.id in ('openai', 'groq', 'mistral')
        """
    )
    tx.sql("analyze public.llm_keys, llm_private.key_owners")
    read = (
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables"
        " where relid = 'public.llm_keys'::regclass"
    )
    user.rpc("resolve_llm_route", p_task="speed")
    before = tx.value(read)
    user.rpc("resolve_llm_route", p_task="speed")
    assert tx.value(read) - before <= 10
