"""Key checks: a runtime tests a key with its provider; checks are audited and rate-limited."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused
from tests.support import Stack, key_for, unique

KEY = key_for("groq", 4711)


@pytest.fixture
def user(tx: Transaction) -> Caller:
    """A user with a key for Groq."""
    user = new_user(tx)
    user.rpc("set_llm_key", provider="groq", key=KEY)
    return user


def status(user: Caller) -> str:
    (key,) = user.rpc("list_llm_keys")
    return str(key["status"])


def begin(user: Caller, **body: Any) -> dict[str, Any]:
    begun: dict[str, Any] = user.rpc("begin_llm_key_check", provider="groq", **body)
    return begun


def settle(user: Caller, result: str, **arguments: Any) -> Any:
    return user.rpc("record_llm_key_check", p_check_id=begin(user)["check_id"], p_result=result, **arguments)


def test_a_check_of_a_stored_key_returns_the_key_and_its_endpoint(user: Caller) -> None:
    begun = begin(user)
    assert begun["key"] == KEY
    assert begun["base_url"]
    assert (begun["wire_format"], begun["key_header"], begun["key_scheme"]) == (
        "openai", "authorization", "Bearer",
    )  # fmt: skip
    (entry,) = [entry for entry in user.rpc("get_llm_audit_log") if entry["action"] == "key_checked"]
    assert (entry["provider"], str(entry["key_id"])) == ("groq", begun["key_id"])


def test_a_check_of_an_unsaved_key_stores_nothing_of_it(user: Caller, tx: Transaction) -> None:
    unsaved = key_for("groq", 815)
    begun = begin(user, key=unsaved)
    assert (begun["key"], begun["key_id"]) == (None, None)
    assert user.rpc("record_llm_key_check", p_check_id=begun["check_id"], p_result="rejected") is None
    assert status(user) == "untested"
    stored = json.dumps([user.rpc("get_llm_audit_log"), user.rpc("list_llm_keys")], default=str)
    assert unsaved not in stored


@pytest.mark.parametrize(
    "key", ["sh0rt", "gsk_with a space in it", "gsk_" + "x" * 600, "sk-of-another-provider"]
)
def test_a_malformed_key_is_refused_without_being_echoed(user: Caller, key: str) -> None:
    with refused("key_malformed", 400) as error:
        begin(user, key=key)
    assert key not in str(vars(error.value))


def test_the_result_of_a_check_is_on_the_audit_log(user: Caller) -> None:
    begun = begin(user)
    user.rpc("record_llm_key_check", p_check_id=begun["check_id"], p_result="rejected")
    log = user.rpc("get_llm_audit_log")
    (entry,) = [entry for entry in log if entry["action"] == "key_check_result"]
    (checked,) = [entry for entry in log if entry["action"] == "key_checked"]
    assert (entry["provider"], str(entry["key_id"])) == ("groq", begun["key_id"])
    assert entry["detail"] == {**checked["detail"], "result": "rejected"}
    assert entry["detail"]["check"] == begun["check_id"]


def test_a_check_result_sets_the_status_of_the_key(user: Caller) -> None:
    assert settle(user, "works")["status"] == "working"
    assert settle(user, "rejected")["status"] == "rejected"
    assert settle(user, "unknown")["status"] == "rejected"
    # This check began after the key was rejected, so it replaces that status.
    assert settle(user, "works")["status"] == "working"
    limited = settle(user, "unknown", p_retry_after=60)
    assert (limited["status"], limited["rests_until"] is not None) == ("rate_limited", True)
    assert settle(user, "works")["rests_until"] is None


def test_a_rejected_key_raises_an_alert(user: Caller) -> None:
    settle(user, "rejected")
    assert [alert["kind"] for alert in user.rpc("list_llm_alerts")] == ["key_rejected"]


def test_a_check_accepts_only_one_result(user: Caller) -> None:
    check = begin(user)["check_id"]
    user.rpc("record_llm_key_check", p_check_id=check, p_result="works")
    with refused("not_found", 404):
        user.rpc("record_llm_key_check", p_check_id=check, p_result="rejected")
    assert status(user) == "working"


def test_a_late_check_result_is_refused(user: Caller, tx: Transaction) -> None:
    check = begin(user)["check_id"]
    tx.sql(
        "update llm_private.key_checks set begun_at = begun_at - interval '11 minutes' where id = %s", check
    )
    with refused("not_found", 404):
        user.rpc("record_llm_key_check", p_check_id=check, p_result="rejected")


def test_a_check_result_does_not_apply_to_a_replacement_key(user: Caller) -> None:
    check = begin(user)["check_id"]
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 5))
    assert user.rpc("record_llm_key_check", p_check_id=check, p_result="rejected") is None
    assert status(user) == "untested"


def test_only_the_caller_who_began_a_check_can_record_its_result(user: Caller, tx: Transaction) -> None:
    check = begin(user)["check_id"]
    with refused("not_found", 404):
        new_user(tx).rpc("record_llm_key_check", p_check_id=check, p_result="rejected")
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("server"))["secret"]
    with refused("not_found", 404):
        user.through(runtime).rpc("record_llm_key_check", p_check_id=check, p_result="rejected")
    begun = user.through(runtime).rpc("begin_llm_key_check", provider="groq")["check_id"]
    with refused("not_found", 404):
        user.rpc("record_llm_key_check", p_check_id=begun, p_result="works")


def test_runtime_only_keys_can_be_checked_only_by_a_runtime(user: Caller, tx: Transaction) -> None:
    admin = tx.admin
    admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    with refused("runtime_required", 403):
        begin(user)
    assert begin(user, key=KEY)["key"] is None
    runtime = admin.rpc("register_llm_runtime", p_name=unique("server"))["secret"]
    assert user.through(runtime).rpc("begin_llm_key_check", provider="groq")["key"] == KEY


def test_a_check_without_a_key_or_with_an_invalid_argument_is_refused(user: Caller) -> None:
    with refused("key_not_found", 404):
        user.rpc("begin_llm_key_check", provider="openai")
    with refused("unknown_provider", 404):
        user.rpc("begin_llm_key_check", provider="missing")
    with refused("invalid_argument", 400):
        user.rpc("begin_llm_key_check", provider="groq", keys=KEY)
    with refused("invalid_argument", 400):
        user.rpc("record_llm_key_check", p_check_id=begin(user)["check_id"], p_result="maybe")


def test_a_user_can_begin_ten_checks_in_ten_minutes(user: Caller, tx: Transaction) -> None:
    for _ in range(10):
        begin(user)
    with refused("too_many_key_checks", 429) as error:
        begin(user, key=KEY)
    assert "seconds" in error.value.hint
    assert begin(holder(tx))["key"]
    tx.sql("update llm_private.key_checks set begun_at = begun_at - interval '11 minutes'")
    assert begin(user)["key"] == KEY


def holder(tx: Transaction) -> Caller:
    other = new_user(tx)
    other.holds_key("groq")
    return other


def test_concurrent_checks_do_not_exceed_the_limit(stack: Stack) -> None:
    signed_up = stack.sign_up()

    def check(_: int) -> int:
        answer = stack.rpc("begin_llm_key_check", token=signed_up.access_token, provider="groq", key=KEY)
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(check, range(24))) == [200] * 10 + [429] * 14
