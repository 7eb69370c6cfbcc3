"""Runtimes: secrets that are shown once and grant nothing without a user, and calls that require one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from tests.database.ledger import new_team
from tests.database.support import Caller, Transaction, new_user, refused, request_id
from tests.support import unique


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def register(tx: Transaction, name: str | None = None) -> dict[str, str]:
    registered = tx.admin.rpc("register_llm_runtime", p_name=name or unique("app"))
    assert isinstance(registered, dict)
    return registered


def test_a_secret_is_shown_once_and_only_its_hash_is_stored(tx: Transaction) -> None:
    first, second = register(tx), register(tx)
    assert first["secret"] != second["secret"]
    assert first["secret"].startswith("slr_")
    assert len(first["secret"]) >= 44
    stored = json.dumps(tx.sql("select * from llm_private.runtimes"), default=str)
    listed = json.dumps(tx.admin.rpc("list_llm_runtimes"), default=str)
    assert first["id"] in listed
    assert first["secret"] not in stored + listed
    assert tx.value("select secret_hash from llm_private.runtimes where id = %s", first["id"]) == tx.value(
        "select sha256(%s)", first["secret"].encode()
    )


@pytest.mark.parametrize("name", ["", "x" * 101, None])
def test_a_missing_empty_or_too_long_runtime_name_is_refused(tx: Transaction, name: str | None) -> None:
    with refused("invalid_argument", 400):
        tx.admin.rpc("register_llm_runtime", p_name=name)


CALLS: Mapping[str, dict[str, Any]] = {
    "resolve_llm_route": {},
    "reveal_llm_key": {"p_provider": "groq"},
    "set_llm_key": {"provider": "groq", "key": "gsk_fake000000000000fake"},
    "remove_llm_key": {"p_provider": "groq"},
    "set_llm_settings": {"p_changes": {"enable_fallbacks": False}},
}


@pytest.mark.parametrize("function", CALLS)
def test_an_unknown_or_revoked_secret_is_refused_rather_than_ignored(
    tx: Transaction, user: Caller, function: str
) -> None:
    user.holds_key("groq")
    revoked = register(tx)
    tx.admin.rpc("revoke_llm_runtime", p_id=revoked["id"])
    for secret in ("slr_unknown", "", revoked["secret"], revoked["secret"][:-1], revoked["secret"] + " "):
        with refused("runtime_unknown", 403) as error:
            user.through(secret).rpc(function, **CALLS[function])
        assert not secret or secret not in error.value.raw


def test_recording_through_an_unknown_runtime_is_refused(user: Caller) -> None:
    with refused("runtime_unknown", 403):
        user.through("slr_unknown").records()


def test_a_secret_without_a_user_grants_no_access(tx: Transaction) -> None:
    secret = register(tx)["secret"]
    for function, arguments in CALLS.items():
        for caller in (tx.anon.through(secret), tx.admin.through(secret)):
            with refused("42501"):
                caller.rpc(function, **arguments)
        anonymous = new_user(tx).through(secret).with_claims(sub=None)
        with refused("not_signed_in", 401):
            anonymous.rpc(function, **arguments)


def test_revoking_again_changes_nothing_and_a_missing_runtime_is_refused(tx: Transaction) -> None:
    runtime = register(tx)
    tx.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    before = tx.admin.rpc("list_llm_runtimes")
    tx.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    assert tx.admin.rpc("list_llm_runtimes") == before
    with refused("not_found", 404):
        tx.admin.rpc("revoke_llm_runtime", p_id=str(uuid.uuid4()))


def test_last_seen_is_updated_at_most_once_a_minute(tx: Transaction, user: Caller) -> None:
    runtime = register(tx)
    served = user.through(runtime["secret"])

    def seen() -> object:
        return tx.value("select last_seen_at from llm_private.runtimes where id = %s", runtime["id"])

    assert seen() is None
    served.records()
    assert seen() is not None
    tx.sql("update llm_private.runtimes set last_seen_at = now() - interval '50 seconds'")
    before = seen()
    served.records()
    assert seen() == before
    tx.sql("update llm_private.runtimes set last_seen_at = now() - interval '70 seconds'")
    served.records()
    assert seen() != before


def test_the_database_owner_registers_a_runtime_in_sql(tx: Transaction, user: Caller) -> None:
    secret = tx.value("select public.register_llm_runtime('a server of this test') ->> 'secret'")
    assert user.through(secret).records(key_source="operator")


def test_runtime_only_keys_cannot_be_read_with_a_token_alone(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    secret = register(tx)["secret"]
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    with refused("runtime_required", 403) as error:
        user.rpc("resolve_llm_route")
    assert "keys_readable_by" in error.value.hint
    assert [line["action"] for line in user.rpc("get_llm_audit_log")] == ["key_set"]
    assert user.through(secret).rpc("resolve_llm_route")["candidates"][0]["key"]
    # Calls that show no key still work, so the panel works without a server.
    user.rpc("explain_llm_route")
    user.rpc("list_llm_keys")
    user.holds_key("openai")


def test_only_a_runtime_can_record_the_use_of_a_team_key(tx: Transaction, user: Caller) -> None:
    with refused("runtime_required", 403):
        user.records(key_source="team", team_id=new_team(tx.connection))
    assert user.through(register(tx)["secret"]).records(key_source="team", team_id=new_team(tx.connection))


def test_a_user_cannot_record_an_attempt_in_place_of_its_runtime(tx: Transaction, user: Caller) -> None:
    """Both can record the same attempt: each event is stored under its recorder."""
    runtime = register(tx)
    event = request_id()
    assert user.records(request_id=event, input_tokens=1)
    assert user.through(runtime["secret"]).records(request_id=event, input_tokens=1000)
    assert not user.records(request_id=event, input_tokens=2)
    assert not user.through(runtime["secret"]).records(request_id=event, input_tokens=2)
    events = tx.sql(
        "select recorder::text, input_tokens from public.llm_usage_events where request_id = %s", event
    )
    assert {row["recorder"]: row["input_tokens"] for row in events} == {user.id: 1, runtime["id"]: 1000}


# Names and rotation -----------------------------------------------------------------------------------


def test_a_name_belongs_to_one_runtime_until_it_is_revoked(tx: Transaction) -> None:
    name = unique("app")
    first = register(tx, name)
    with refused("runtime_exists", 409) as error:
        register(tx, name)
    assert "rotate" in error.value.hint
    tx.admin.rpc("revoke_llm_runtime", p_id=first["id"])
    assert register(tx, name)["id"] != first["id"]


def test_both_secrets_are_valid_until_the_overlap_ends(tx: Transaction, user: Caller) -> None:
    runtime = register(tx)
    rotated = tx.admin.rpc("rotate_llm_runtime", p_id=runtime["id"], p_overlap_seconds=3600)
    assert (rotated["id"], rotated["name"]) == (runtime["id"], runtime["name"])
    assert rotated["secret"] != runtime["secret"]
    (listed,) = [it for it in tx.admin.rpc("list_llm_runtimes") if str(it["id"]) == runtime["id"]]
    assert listed["previous_until"] is not None
    for secret in (runtime["secret"], rotated["secret"]):
        assert user.through(secret).records(key_source="operator")
    # The runtime is the same, so tickets and leases stay valid.
    recorders = tx.sql(
        "select distinct recorder::text as id from public.llm_usage_events where user_id = %s", user.id
    )
    assert [it["id"] for it in recorders] == [runtime["id"]]
    tx.sql("update llm_private.runtimes set previous_until = now() where id = %s", runtime["id"])
    with refused("runtime_unknown", 403):
        user.through(runtime["secret"]).records()
    assert user.through(rotated["secret"]).records()


def test_after_a_leak_the_previous_secret_is_refused_at_once(tx: Transaction, user: Caller) -> None:
    runtime = register(tx)
    rotated = tx.admin.rpc("rotate_llm_runtime", p_id=runtime["id"], p_overlap_seconds=0)
    with refused("runtime_unknown", 403):
        user.through(runtime["secret"]).rpc("resolve_llm_route")
    # A second rotation ends the secret before the last one.
    third = tx.admin.rpc("rotate_llm_runtime", p_id=runtime["id"])
    tx.admin.rpc("rotate_llm_runtime", p_id=runtime["id"])
    with refused("runtime_unknown", 403):
        user.through(rotated["secret"]).records()
    assert user.through(third["secret"]).records()


def test_a_revoked_runtime_has_no_valid_secret_and_is_not_rotated(tx: Transaction, user: Caller) -> None:
    runtime = register(tx)
    rotated = tx.admin.rpc("rotate_llm_runtime", p_id=runtime["id"])
    tx.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    for secret in (runtime["secret"], rotated["secret"]):
        with refused("runtime_unknown", 403):
            user.through(secret).rpc("resolve_llm_route")
    for missing in (runtime["id"], str(uuid.uuid4())):
        with refused("not_found", 404):
            tx.admin.rpc("rotate_llm_runtime", p_id=missing)
    for overlap in (-1, 2_592_001, None):
        with refused("invalid_argument", 400):
            tx.admin.rpc("rotate_llm_runtime", p_id=register(tx)["id"], p_overlap_seconds=overlap)
