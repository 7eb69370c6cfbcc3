"""Provider keys: encrypted storage, masked display, audited reveals, and status after attempts."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.database.malformed import malformed_bodies
from tests.database.support import (
    Caller,
    Http,
    Refused,
    Transaction,
    new_user,
    refused,
    request_id,
    runtime_user,
)
from tests.support import asks_again, key_for, unique

KEY = key_for("groq", 7)
#: Groq's default model, and its model for the task speed.
MODEL, FAST_MODEL = "openai/gpt-oss-120b", "llama-3.1-8b-instant"


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def status(user: Caller, provider: str = "groq") -> str:
    (key,) = [key for key in user.rpc("list_llm_keys") if key["provider"] == provider]
    return str(key["status"])


def audit(user: Caller) -> list[str]:
    return [line["action"] for line in user.rpc("get_llm_audit_log")]


# Set, replace, remove ---------------------------------------------------------------------------


def test_a_stored_key_is_shown_only_as_a_masked_hint(user: Caller) -> None:
    stored = user.rpc("set_llm_key", provider="groq", key=KEY)
    assert user.rpc("list_llm_keys") == [stored]
    assert set(stored) == {
        "id",
        "provider",
        "hint",
        "status",
        "rests_until",
        "rate_limited_models",
        "created_at",
        "last_used_at",
    }
    assert stored["hint"] == "gsk…0007"
    assert stored["status"] == "untested"
    assert stored["last_used_at"] is None
    shown = json.dumps([stored, user.rpc("get_llm_settings"), user.rpc("explain_llm_route")], default=str)
    assert KEY not in shown


@pytest.mark.parametrize("key", ["12345678", "1234567890123456789"])
def test_the_hint_of_a_short_key_shows_two_characters(tx: Transaction, user: Caller, key: str) -> None:
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "key_pattern": "."})
    assert user.rpc("set_llm_key", provider="groq", key=key)["hint"] == f"…{key[-2:]}"


def test_a_replacement_key_has_a_new_id_and_is_untested(user: Caller) -> None:
    old = user.holds_key("groq", 1)
    user.records(key_id=old["id"])
    new = user.holds_key("groq", 2)
    assert new["id"] != old["id"]
    assert status(user) == "untested"
    assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq", 2)
    assert user.rpc("get_llm_audit_log")[1]["detail"]["replaced"] == old["id"]


def test_concurrent_replacements_leave_one_readable_key(http: Http) -> None:
    user = new_user(http)
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda number: user.holds_key("groq", number), range(16)))
    (left,) = user.rpc("list_llm_keys")
    assert left["id"] in [key["id"] for key in stored]
    assert left["hint"][-4:] == user.rpc("reveal_llm_key", p_provider="groq")["key"][-4:]


def test_a_removed_key_is_deleted_and_cannot_be_used(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    user.rpc("remove_llm_key", p_provider="groq")
    assert user.rpc("list_llm_keys") == []
    assert tx.value("select count(*) from llm_private.key_secrets where owner_id = %s", user.id) == 0
    with refused("key_not_found", 404):
        user.rpc("reveal_llm_key", p_provider="groq")
    with refused("key_not_found", 404):
        user.rpc("remove_llm_key", p_provider="groq")
    with refused("no_usable_key", 422):
        user.rpc("resolve_llm_route")


def test_setting_revealing_and_removing_a_key_are_audited(tx: Transaction, user: Caller) -> None:
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))
    key = user.holds_key("groq")
    user.rpc("reveal_llm_key", p_provider="groq")
    user.through(runtime["secret"]).rpc("reveal_llm_key", p_provider="groq")
    user.rpc("remove_llm_key", p_provider="groq")
    lines = user.rpc("get_llm_audit_log")
    assert audit(user) == ["key_revoked", "key_revealed", "key_revealed", "key_set"]
    assert {line["provider"] for line in lines} == {"groq"}
    assert {str(line["key_id"]) for line in lines} == {key["id"]}
    assert {line["detail"]["hint"] for line in lines} == {key["hint"]}
    assert [line["actor"] for line in lines] == ["user", "runtime", "user", "user"]
    assert [str(line["runtime_id"]) for line in lines if line["actor"] == "runtime"] == [runtime["id"]]


# Malformed keys ---------------------------------------------------------------------------------


MALFORMED = malformed_bodies("fake0fake0fake0fake0")


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_key_is_refused_without_being_echoed_or_stored(http: Http, content: str | bytes) -> None:
    user = new_user(http)
    response = http.send(user, "POST", "rpc/set_llm_key", content=content)
    assert response.status_code in (400, 404, 413), response.text
    assert "fake0" not in response.text
    assert user.rpc("list_llm_keys") == []
    assert audit(user) == []


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("gsk_0 000000000000000", "it contains a space or a line break"),
        ("gsk_ä000000000000000", "it contains an invalid character"),
        ("gsk_7", "it is shorter than 8 characters"),
        ("x" * 513, "it is longer than 512 characters"),
        ("sk-0000000000000000", "it does not look like a Groq key"),
    ],
)
def test_the_error_names_the_rule_that_a_key_breaks(user: Caller, key: str, wrong: str) -> None:
    with refused("key_malformed", 400) as error:
        user.rpc("set_llm_key", provider="groq", key=key)
    assert wrong in error.value.message
    assert error.value.hint


def test_keys_of_a_disabled_provider_are_kept(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "enabled": False})
    assert status(user) == "untested"


# Reveal -------------------------------------------------------------------------------------------


def test_a_user_can_reveal_their_key(user: Caller) -> None:
    user.holds_key("groq", 7)
    assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == KEY


def test_the_operator_can_disable_revealing_keys(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    assert user.rpc("get_llm_settings")["reveal_allowed"] is True
    tx.admin.rpc(
        "set_llm_operator_settings", p_changes={"keys_readable_by": "runtime", "reveal_enabled": False}
    )
    assert user.rpc("get_llm_settings")["reveal_allowed"] is False
    with refused("reveal_disabled", 403):
        user.rpc("reveal_llm_key", p_provider="groq")
    assert "key_revealed" not in audit(user)


@pytest.mark.parametrize(
    ("amr", "error"),
    [
        ([("password", -30)], None),
        ([("password", -1200)], "recent_sign_in_required"),
        ([("password", -1200), ("totp", -5)], None),
        ([("password", -1200), ("token_refresh", -5)], "recent_sign_in_required"),
        # The token itself is new, but so is the token of a session that was refreshed.
        ([], "sign_in_unknown"),
        ("password", "sign_in_unknown"),
        (["pwd"], "sign_in_unknown"),
        (None, "sign_in_unknown"),
    ],
)
def test_the_operator_can_require_a_recent_sign_in_to_reveal_a_key(
    tx: Transaction, user: Caller, runtime: str, amr: Any, error: str | None
) -> None:
    user.holds_key("groq")
    tx.admin.rpc(
        "set_llm_operator_settings",
        p_changes={"keys_readable_by": "runtime", "reveal_sign_in_within": "10 minutes"},
    )
    now = int(time.time())
    if isinstance(amr, list):
        amr = [
            {"method": entry[0], "timestamp": now + entry[1]} if isinstance(entry, tuple) else entry
            for entry in amr
        ]
    signed_in = user.with_claims(iat=now, amr=amr)
    for caller in (signed_in, signed_in.through(runtime)):
        if error is None:
            assert caller.rpc("reveal_llm_key", p_provider="groq")
        else:
            with refused(error, 403):
                caller.rpc("reveal_llm_key", p_provider="groq")
    assert audit(user).count("key_revealed") == (2 if error is None else 0)
    # A check of a stored key is no way around it.
    with refused("runtime_required", 403):
        signed_in.rpc("begin_llm_key_check", provider="groq")


@pytest.mark.parametrize(
    ("aal", "error"),
    [
        ("aal2", None),
        ("aal1", "second_factor_required"),
        ("", "second_factor_required"),
        (None, "second_factor_unknown"),
        (2, "second_factor_unknown"),
        (["aal2"], "second_factor_unknown"),
        ({"aal2": "aal2"}, "second_factor_unknown"),
    ],
)
def test_the_operator_can_require_a_second_factor_to_reveal_a_key(
    tx: Transaction, user: Caller, runtime: str, aal: Any, error: str | None
) -> None:
    user.holds_key("groq")
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    assert user.with_claims(aal="aal1").rpc("reveal_llm_key", p_provider="groq")
    tx.admin.rpc("set_llm_operator_settings", p_changes={"require_second_factor": True})
    # Only the claim of Supabase Auth counts, not what users can put into their token.
    signed_in = user.with_claims(aal=aal, user_metadata={"aal": "aal2"}, app_metadata={"aal": "aal2"})
    for caller in (signed_in, signed_in.through(runtime)):
        if error is None:
            assert caller.rpc("reveal_llm_key", p_provider="groq")
        else:
            with refused(error, 403):
                caller.rpc("reveal_llm_key", p_provider="groq")
    assert audit(user).count("key_revealed") == (3 if error is None else 1)
    assert signed_in.rpc("list_llm_keys"), "everything else needs no second factor"


def test_a_second_factor_does_not_replace_a_recent_sign_in(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    tx.admin.rpc(
        "set_llm_operator_settings",
        p_changes={
            "keys_readable_by": "runtime",
            "require_second_factor": True,
            "reveal_sign_in_within": "10 minutes",
        },
    )
    amr = [{"method": "totp", "timestamp": int(time.time()) - 1200}]
    with refused("recent_sign_in_required", 403):
        reveal(user.with_claims(aal="aal2", amr=amr))


def reveal(caller: Caller) -> Any:
    return caller.rpc("reveal_llm_key", p_provider="groq")


def test_users_reveal_their_keys_in_a_project_that_gives_keys_only_to_runtimes(
    tx: Transaction, user: Caller
) -> None:
    key = user.holds_key("groq", 7)
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    assert user.rpc("get_llm_settings")["reveal_allowed"] is True
    assert reveal(user)["key"] == KEY
    assert reveal(user)["key"] == KEY
    alerts = user.rpc("list_llm_alerts")
    assert [(alert["kind"], alert["detail"]) for alert in alerts] == [
        ("key_revealed", {"provider": "groq", "hint": key["hint"]})
    ] * 2
    assert KEY not in str(alerts)


def test_a_user_reveals_keys_at_most_five_times_an_hour(tx: Transaction, user: Caller, runtime: str) -> None:
    user.holds_key("groq", 7)
    user.holds_key("openai")
    another_session = user.in_new_session()
    for caller in (user, user, another_session, user.through(runtime)):
        assert reveal(caller)["key"] == KEY
    assert user.rpc("reveal_llm_key", p_provider="openai")
    for caller in (user, another_session, user.through(runtime)):
        with refused("too_many_reveals", 429) as error:
            reveal(caller)
    assert re.search(r"in (59|60) minutes", error.value.hint)
    assert audit(user).count("key_revealed") == 5
    someone = new_user(tx)
    someone.holds_key("groq")
    assert reveal(someone)
    # The limit is of any hour: when the first reveal is an hour old, one more is possible.
    tx.sql(
        "update public.llm_audit_log set id = llm_private.first_uuid_v7(now() - interval '61 minutes')"
        " where user_id = %s and id = (select min(id::text)::uuid from public.llm_audit_log"
        " where user_id = %s and action = 'key_revealed')",
        user.id,
        user.id,
    )
    assert reveal(user)
    with refused("too_many_reveals", 429):
        reveal(user)


def test_reveals_whose_second_call_is_rolled_back_count(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq", 7)
    for _ in range(5):
        assert asks_again(user.once("reveal_llm_key", p_provider="groq"))
        tx.commit_grants()
        with tx.connection.transaction(force_rollback=True):
            assert user.once("reveal_llm_key", p_provider="groq") == {"key": KEY}
        tx.sql("update llm_private.key_reveals set expires_at = now()")
    with refused("too_many_reveals", 429):
        user.once("reveal_llm_key", p_provider="groq")


def test_concurrent_reveals_do_not_exceed_the_limit(http: Http) -> None:
    user = new_user(http)
    user.holds_key("groq")
    # Each from a session of its own, so that none uses the grant of another.
    sessions = [user.in_new_session() for _ in range(16)]

    def first_call(session: Caller) -> str:
        try:
            return "again" if asks_again(session.once("reveal_llm_key", p_provider="groq")) else "key"
        except Refused as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(first_call, sessions)) == ["again"] * 5 + ["too_many_reveals"] * 11
    assert audit(user).count("key_revealed") == 5


# Encryption ---------------------------------------------------------------------------------------


def test_ciphertext_does_not_contain_the_key_and_differs_each_time(tx: Transaction, user: Caller) -> None:
    """CVE-2026-14663: encryption that did nothing went unnoticed because its output could be read back."""
    seen = []
    for _ in range(2):
        user.holds_key("groq", 7)
        (stored,) = tx.sql("select ciphertext from llm_private.key_secrets where owner_id = %s", user.id)
        assert KEY.encode() not in stored["ciphertext"]
        assert KEY[-8:].encode() not in stored["ciphertext"]
        seen.append(stored["ciphertext"])
    assert seen[0] != seen[1]
    packets = tx.value("select extensions.pgp_key_id(%s::bytea)", seen[0])
    assert packets == "SYMKEY"


def test_a_key_cannot_be_read_with_another_master_key(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    entry = tx.value("select vault.create_secret('another key', 'another master key')")
    tx.sql("update llm_private.master_keys set vault_secret_id = %s", entry)
    for function, arguments in (("reveal_llm_key", {"p_provider": "groq"}), ("resolve_llm_route", {})):
        with refused("master_key_missing", 500) as error:
            user.rpc(function, **arguments)
        assert KEY not in error.value.raw
    # The record is there before the key is read.
    assert sorted(audit(user)) == ["key_revealed", "key_set", "lease"]


@pytest.mark.parametrize("damage", ["''", "'\\x00'", "substr(ciphertext, 1, 60)", "ciphertext || '\\x00'"])
def test_damaged_ciphertext_is_refused(tx: Transaction, user: Caller, damage: str) -> None:
    user.holds_key("groq")
    tx.sql(f"update llm_private.key_secrets set ciphertext = {damage} where owner_id = %s", user.id)
    with refused("key_unreadable", 500):
        user.rpc("reveal_llm_key", p_provider="groq")


@pytest.mark.parametrize("thief", ["another user", "another key of the same user"])
def test_ciphertext_copied_to_another_row_is_refused(tx: Transaction, user: Caller, thief: str) -> None:
    key = user.holds_key("groq", 7)
    other = user if "same" in thief else new_user(tx)
    copy = other.holds_key("openai")
    tx.sql(
        "update llm_private.key_secrets set ciphertext = ("
        " select ciphertext from llm_private.key_secrets where key_id = %s) where key_id = %s",
        key["id"],
        copy["id"],
    )
    with refused("key_unreadable", 500) as error:
        other.rpc("reveal_llm_key", p_provider="openai")
    assert KEY not in error.value.raw
    with refused("key_unreadable", 500):
        other.rpc("resolve_llm_route", p_model="openai/x")


# Key status ---------------------------------------------------------------------------------------


def failed(error_class: str, **more: Any) -> dict[str, Any]:
    return {"request_id": request_id(), "outcome": "failed", "error_class": error_class, **more}


def test_a_successful_attempt_marks_a_key_as_working(user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(key_id=key["id"])
    (seen,) = user.rpc("list_llm_keys")
    assert seen["status"] == "working"
    assert seen["last_used_at"] is not None


def test_an_auth_failure_marks_a_key_as_rejected_until_it_is_replaced(user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(**failed("auth", key_id=key["id"]))
    assert status(user) == "rejected"
    with refused("no_usable_key", 422) as error:
        user.rpc("resolve_llm_route")
    assert "rejected your key gsk…0000. Replace it" in error.value.hint
    user.records(key_id=key["id"])
    assert status(user) == "rejected", "a success of an earlier request does not clear the rejection"
    user.holds_key("groq")
    assert status(user) == "untested"


def test_a_success_does_not_end_a_rate_limit(user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(**failed("rate_limited", key_id=key["id"], retry_after=600))
    user.records(key_id=key["id"])
    assert status(user) == "rate_limited"


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(90, 90), (0.5, 0.5), (None, 5), (10**9, 86400), (-5, 0)]
)
def test_a_model_is_rate_limited_for_as_long_as_the_provider_requests(
    tx: Transaction, user: Caller, retry_after: float | None, seconds: float
) -> None:
    key = user.holds_key("groq")
    user.records(**failed("rate_limited", key_id=key["id"], retry_after=retry_after))
    assert status(user) == ("rate_limited" if seconds else "untested")
    left = """
      select extract(epoch from llm_private.key_rests_until(k) - now())::float
      from public.llm_keys as k where k.id = %s
    """
    assert tx.value(left, key["id"]) == (pytest.approx(seconds) if seconds else None)


def test_a_key_serves_again_after_its_rate_limit(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(key_id=key["id"])
    user.records(**failed("rate_limited", key_id=key["id"], model=MODEL, retry_after=60))
    with refused("keys_rate_limited", 429) as error:
        user.rpc("resolve_llm_route")
    assert f"{MODEL} is rate-limited at Groq for another 60 seconds" in error.value.hint
    over = "jsonb_build_object(%s::text, now() - interval '1 second')"
    tx.sql(f"update public.llm_keys set rate_limited_models = {over}", MODEL)
    assert status(user) == "working"
    assert user.rpc("resolve_llm_route")["candidates"]


def test_a_shorter_rate_limit_does_not_shorten_a_longer_one(user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(**failed("rate_limited", key_id=key["id"], retry_after=600))
    (before,) = user.rpc("list_llm_keys")
    user.records(**failed("rate_limited", key_id=key["id"], retry_after=1))
    (after,) = user.rpc("list_llm_keys")
    assert after["rests_until"] == before["rests_until"]


def test_a_rate_limit_of_a_model_leaves_the_keys_other_models(user: Caller) -> None:
    key = user.holds_key("groq")
    user.records(**failed("rate_limited", key_id=key["id"], model=MODEL, retry_after=60))
    (shown,) = user.rpc("list_llm_keys")
    assert (shown["status"], shown["rate_limited_models"]) == ("rate_limited", [MODEL])
    with refused("keys_rate_limited", 429) as error:
        user.rpc("resolve_llm_route")
    assert MODEL in error.value.hint
    (candidate,) = user.rpc("resolve_llm_route", p_task="speed")["candidates"]
    assert candidate["model"] == FAST_MODEL
    explained = user.rpc("explain_llm_route")
    (line,) = [line for line in explained["skipped"] if line["reason"] == "model_rate_limited"]
    assert line["until"] == shown["rests_until"]


def test_a_key_has_at_most_twenty_resting_models(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")
    for number in range(24):
        model = f"m{number}"
        user.records(**failed("rate_limited", key_id=key["id"], model=model, retry_after=100 + number))
    (shown,) = user.rpc("list_llm_keys")
    assert set(shown["rate_limited_models"]) == {f"m{number}" for number in range(4, 24)}
    old = "jsonb_build_object('old', now() - interval '1 second')"
    tx.sql(f"update public.llm_keys set rate_limited_models = {old}")
    user.records(**failed("rate_limited", key_id=key["id"], model="new", retry_after=60))
    names = "select array(select jsonb_object_keys(rate_limited_models)) from public.llm_keys where id = %s"
    assert tx.value(names, key["id"]) == ["new"]


def test_a_route_ends_with_the_first_rate_limit(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")
    user.holds_key("mistral")
    user.records(**failed("rate_limited", key_id=key["id"], model=MODEL, retry_after=20))
    route = user.rpc("resolve_llm_route")
    assert [it["provider"] for it in route["candidates"]] == ["mistral"]
    left = tx.value("select extract(epoch from %s::timestamptz - now())::float", route["expires_at"])
    assert left == pytest.approx(20, abs=1)


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 900), (60, 900), (7200, 7200), (10**9, 86400)])
def test_a_key_out_of_credit_rests_as_a_whole(
    tx: Transaction, user: Caller, retry_after: float | None, seconds: float
) -> None:
    key = user.holds_key("groq")
    for _ in range(2):
        user.records(**failed("out_of_credit", key_id=key["id"], model=MODEL, retry_after=retry_after))
    assert status(user) == "out_of_credit"
    left = "select extract(epoch from out_of_credit_until - now())::float from public.llm_keys where id = %s"
    assert tx.value(left, key["id"]) == pytest.approx(seconds)
    with refused("no_usable_key", 422) as error:
        user.rpc("resolve_llm_route", p_task="speed")
    assert "has no credit left. Add credit" in error.value.hint
    (alert,) = [it for it in user.rpc("list_llm_alerts") if it["kind"] != "price_missing"]
    assert (alert["kind"], alert["detail"]) == ("out_of_credit", {"provider": "groq", "hint": key["hint"]})
    tx.sql("update public.llm_keys set out_of_credit_until = now() - interval '1 second'")
    assert user.rpc("resolve_llm_route", p_task="speed")["candidates"]


@pytest.mark.parametrize(
    "error_class",
    [
        "bad_request",
        "context_too_long",
        "unsupported",
        "forbidden",
        "not_found",
        "server_error",
        "timeout",
        "connection",
        "invalid_response",
    ],
)
def test_a_failure_unrelated_to_the_key_does_not_change_its_status(user: Caller, error_class: str) -> None:
    key = user.holds_key("groq")
    user.records(**failed(error_class, key_id=key["id"]))
    assert status(user) == "untested"


def test_an_attempt_with_a_replaced_key_does_not_mark_the_new_key(user: Caller) -> None:
    old = user.holds_key("groq", 1)
    user.holds_key("groq", 2)
    assert user.records(**failed("auth", key_id=old["id"]))
    assert status(user) == "untested"


def test_a_user_cannot_mark_another_users_key(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")
    other = runtime_user(tx)
    for source in ("user", "operator"):
        assert other.records(**failed("auth", key_id=key["id"], key_source=source))
    assert status(user) == "untested"


def test_an_attempt_with_an_operator_key_does_not_mark_a_users_key(tx: Transaction) -> None:
    user = runtime_user(tx)
    key = user.holds_key("groq")
    user.records(**failed("auth", key_id=key["id"], key_source="operator"))
    assert status(user) == "untested"


def test_recording_an_attempt_again_does_not_mark_the_key_again(tx: Transaction, user: Caller) -> None:
    key = user.holds_key("groq")
    first = failed("auth", key_id=key["id"])
    assert user.records(**first)
    tx.sql("update public.llm_keys set status = 'working' where id = %s", key["id"])
    assert not user.records(**first)
    assert status(user) == "working"


@pytest.mark.parametrize(
    ("error_class", "kind"), [("auth", "key_rejected"), ("out_of_credit", "out_of_credit")]
)
def test_the_operator_learns_that_their_key_serves_nobody(
    tx: Transaction, user: Caller, error_class: str, kind: str
) -> None:
    caller = user.through(tx.admin.rpc("register_llm_runtime", p_name="app")["secret"])
    for _ in range(2):
        caller.records(**failed(error_class, key_source="operator"))
    alerts = [it for it in tx.admin.rpc("list_llm_alerts") if it["kind"] != "price_missing"]
    assert [(it["kind"], it["detail"]) for it in alerts] == [(kind, {"provider": "groq"})]
