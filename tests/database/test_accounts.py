"""Tokens of deleted or banned accounts, of ended sessions, of anonymous users, and of no account at all."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from tests.database.support import Caller, Connection, Http, Transaction, new_user, owner, refused, request_id
from tests.database.surface import RPCS, TABLES, USER, Victim
from tests.support import Stack, unique

NIL = "00000000-0000-0000-0000-000000000000"

#: The catalog is the same for every signed-in user, so reading it needs no account.
CATALOG = {"list_llm_providers"}


@pytest.fixture(scope="module")
def db(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture(scope="module")
def operators_rows(db: Connection) -> Iterator[None]:
    """Rows that belong to the operator, whose id is the nil UUID."""
    inserted = [
        (
            "llm_alerts",
            "insert into public.llm_alerts (user_id, kind, subject, detail)"
            " values (%s, 'price_missing', 'groq/an-operators-alert', '{}') returning id",
        ),
        (
            "llm_audit_log",
            "insert into public.llm_audit_log (user_id, action, actor)"
            " values (%s, 'settings_changed', 'user') returning id",
        ),
    ]
    ids = [(table, db.execute(insert, [NIL]).fetchone()) for table, insert in inserted]
    yield
    for table, row in ids:
        assert row
        db.execute(f"delete from public.{table} where id = %s", [row["id"]])


def nil_user(http: Http) -> Caller:
    return new_user(http).with_claims(sub=NIL)


def deleted_user(http: Http) -> Caller:
    user = new_user(http)
    user.holds_key("groq")
    user.records()
    http.delete_user(user)
    return user


def soft_deleted_user(http: Http) -> Caller:
    user = new_user(http)
    user.records()
    with http.stack.connect() as connection:
        connection.execute("update auth.users set deleted_at = now() where id = %s", [user.id])
    return user


def unknown_user(http: Http) -> Caller:
    return new_user(http).with_claims(sub=str(uuid.uuid4()))


def third_party_user(http: Http) -> Caller:
    return new_user(http).with_claims(sub="auth0|not-a-uuid")


NOBODY = (nil_user, deleted_user, soft_deleted_user, unknown_user, third_party_user)


@pytest.mark.usefixtures("operators_rows")
@pytest.mark.parametrize("nobody", NOBODY)
def test_a_token_without_an_account_is_refused_by_every_rpc(
    http: Http, nobody: Callable[[Http], Caller]
) -> None:
    caller = nobody(http)
    victim = Victim.made_up(NIL)
    admitted = {}
    for function in [name for name, rpc in RPCS.items() if rpc.roles >= USER and name not in CATALOG]:
        response = http.send(
            caller, "POST", f"rpc/{function}", content=json.dumps(dict(RPCS[function].attack(victim)))
        )
        expected = (403, "third_party_account") if nobody is third_party_user else (401, "not_signed_in")
        if (response.status_code, response.json()["details"]) != expected:
            admitted[function] = response.text
        assert "not-a-uuid" not in response.text
    assert admitted == {}


@pytest.mark.usefixtures("operators_rows")
@pytest.mark.parametrize("nobody", NOBODY)
def test_a_token_without_an_account_reads_no_rows(http: Http, nobody: Callable[[Http], Caller]) -> None:
    caller = nobody(http)
    for table, column in TABLES.items():
        if column is not None:
            response = http.send(caller, "GET", f"{table}?{column}=not.is.null")
            assert (response.status_code, response.json()) == (200, []), table


def test_a_user_still_reads_their_own_rows(http: Http) -> None:
    user = new_user(http)
    user.records()
    (event,) = http.send(user, "GET", "llm_usage_events").json()
    assert event["user_id"] == user.id


@pytest.mark.parametrize("limit", ["", "&limit=0"])
@pytest.mark.parametrize("preferences", [["count=planned"], ["count=planned", "return=minimal"]])
def test_no_user_learns_the_planners_estimate_of_other_users_rows(
    http: Http, db: Connection, preferences: list[str], limit: str
) -> None:
    user, other = new_user(http), new_user(http)
    other.records(model="a-model")
    db.execute("analyze public.llm_usage_events")
    headers = [("prefer", preference) for preference in preferences]
    for table, column in TABLES.items():
        if column is not None:
            response = http.send(user, "GET", f"{table}?{column}=eq.{other.id}{limit}", headers=headers)
            assert response.status_code == 400, (table, response.headers)
            assert response.json()["details"] == "invalid_argument"
            assert "content-range" not in response.headers


def test_exact_counts_are_of_the_users_own_rows(http: Http) -> None:
    user, other = new_user(http), new_user(http)
    other.records()
    user.records()
    user.records()
    for _ in range(8):  # beyond the executions after which PostgreSQL may keep one plan
        response = http.send(user, "GET", "llm_usage_events", headers=[("prefer", "count=exact")])
        assert response.headers["content-range"] == "0-1/2"


# Bans and sessions -----------------------------------------------------------------------------------


_OPERATOR = {"p_operator_providers": ["openai"]}

#: The calls that give out keys or the operator's budget: functions with arguments.
KEYS_OR_BUDGET: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a route with the user's keys": ("resolve_llm_route", {}),
    "a route with the operator's keys": ("resolve_llm_route", {"p_model": "openai/x", **_OPERATOR}),
    "a preview": ("explain_llm_route", _OPERATOR),
    "a reveal": ("reveal_llm_key", {"p_provider": "groq"}),
    "a key check": ("begin_llm_key_check", {"provider": "groq"}),
    "a reservation": (
        "reserve_llm_attempt",
        {"p_attempt": 1, "p_provider": "openai", "p_model": "x", "p_key_source": "operator"},
    ),
}


def gets_keys_or_budget(user: Caller) -> dict[str, Callable[[], object]]:
    """Return the calls of `KEYS_OR_BUDGET` as this user."""

    def call(function: str, arguments: Mapping[str, Any]) -> object:
        if function == "reserve_llm_attempt":
            arguments = {**arguments, "p_request_id": request_id()}
        act = user.once if function in ("reveal_llm_key", "begin_llm_key_check") else user.rpc
        return act(function, **arguments)

    return {name: partial(call, *it) for name, it in KEYS_OR_BUDGET.items()}


#: What gives out keys or the operator's budget: reading ciphertext, leasing a key, and reserving.
GIVING = re.compile(
    r"(from|join) llm_private\.key_secrets|insert into llm_private\.(leases|reservations|key_reveals)"
)


def reached(bodies: Mapping[str, str], function: str) -> set[str]:
    """Return the private functions that a function calls, and those that they call."""
    found: set[str] = set()
    new = {function}
    while new:
        found |= new
        called = {it for name in new for it in re.findall(r"llm_private\.(\w+)\s*\(", bodies.get(name, ""))}
        new = called - found
    return found


def test_every_function_that_gives_out_keys_or_budget_requires_a_live_session(db: Connection) -> None:
    """It then also needs a call in `gets_keys_or_budget`, which the tests below try without one."""
    rows = db.execute(
        "select proname, prosrc from pg_proc where pronamespace in"
        " ('llm_private'::regnamespace, 'public'::regnamespace)"
    ).fetchall()
    bodies = {row["proname"]: row["prosrc"] for row in rows}
    users = [name for name, rpc in RPCS.items() if rpc.roles >= USER]
    reaching = {name: reached(bodies, name) for name in users}
    giving = {
        name for name, found in reaching.items() if any(GIVING.search(bodies.get(it, "")) for it in found)
    }
    assert giving >= {"resolve_llm_route", "reserve_llm_attempt", "reveal_llm_key", "begin_llm_key_check"}
    assert {name for name in giving if "require_session" not in reaching[name]} == set()
    assert giving <= {function for function, _ in KEYS_OR_BUDGET.values()}


def holder(tx: Transaction) -> Caller:
    """A user with a key, through a runtime, which gets the operator's keys too."""
    user = new_user(tx)
    user.holds_key("groq")
    return user.through(tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"])


def test_a_banned_user_gets_neither_keys_nor_the_operators_budget(tx: Transaction) -> None:
    user = holder(tx)
    calls = gets_keys_or_budget(user)
    for call in calls.values():
        call()
    tx.sql("update auth.users set banned_until = now() + interval '1 hour' where id = %s", user.id)
    for call in calls.values():
        with refused("account_banned", 403):
            call()
    assert user.records(), "what already ran is still recorded"
    tx.sql("update auth.users set banned_until = now() - interval '1 second' where id = %s", user.id)
    for call in calls.values():
        call()


def test_a_suspended_user_gets_neither_keys_nor_the_operators_budget(tx: Transaction) -> None:
    user = holder(tx)
    calls = gets_keys_or_budget(user)
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True, p_reason="unpaid")
    for call in calls.values():
        with refused("account_suspended", 403) as error:
            call()
        assert "unpaid" not in error.value.raw
    assert user.records(), "what already ran is still recorded"
    assert user.rpc("get_llm_settings")
    assert user.rpc("list_llm_keys")
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=False)
    for call in calls.values():
        call()


def test_an_ended_session_gets_neither_keys_nor_the_operators_budget(tx: Transaction) -> None:
    user = holder(tx)
    other = user.in_new_session()
    calls = gets_keys_or_budget(user)
    for call in calls.values():
        call()
    session_id = (user.claims or {})["session_id"]
    tx.sql("delete from auth.sessions where id = %s", session_id)
    for call in calls.values():
        with refused("session_ended", 401):
            call()
    assert user.records(), "what already ran is still recorded"
    for call in gets_keys_or_budget(other).values():
        call()


def test_a_session_past_its_time_box_has_ended(tx: Transaction) -> None:
    user = holder(tx)
    tx.sql("update auth.sessions set not_after = now() - interval '1 second' where user_id = %s", user.id)
    with refused("session_ended", 401):
        user.rpc("resolve_llm_route")


def test_another_users_session_does_not_count(tx: Transaction) -> None:
    user, other = holder(tx), holder(tx)
    with refused("session_ended", 401):
        user.with_claims(session_id=(other.claims or {})["session_id"]).rpc("resolve_llm_route")


def test_a_token_without_a_session_of_supabase_auth_is_let_in(tx: Transaction) -> None:
    user = holder(tx)
    for session_id in (None, "sess_of_another_issuer", 7):
        assert user.with_claims(session_id=session_id).rpc("resolve_llm_route")["candidates"]


def test_a_user_who_signs_out_everywhere_gets_no_key(http: Http, stack: Stack) -> None:
    """With the token and the sign-out of Supabase Auth itself."""
    signed_up = stack.sign_up()
    headers = {"apikey": stack.publishable_key, "authorization": f"Bearer {signed_up.access_token}"}
    headers["x-llm-runtime"] = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]

    def resolve() -> tuple[int, str | None]:
        response = http.client.post(
            "rpc/resolve_llm_route", json={"p_operator_providers": ["openai"]}, headers=headers
        )
        return response.status_code, response.json().get("details")

    assert resolve() == (200, None)
    ended = http.client.post(f"{stack.api_url}/auth/v1/logout?scope=global", headers=headers)
    assert ended.is_success, ended.text
    assert resolve() == (401, "session_ended")


# Anonymous users ---------------------------------------------------------------------------------------


def anonymous(tx: Transaction) -> Caller:
    user = new_user(tx)
    tx.sql("update auth.users set is_anonymous = true, email = null where id = %s", user.id)
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    return user.with_claims(is_anonymous=True).through(runtime)


def test_the_operators_keys_do_not_serve_anonymous_users_unless_allowed(tx: Transaction) -> None:
    user = anonymous(tx)
    request = {"p_operator_providers": ["openai"]}
    explained = user.rpc("explain_llm_route", **request)
    (line,) = [it for it in explained["skipped"] if it["key_source"] == "operator"]
    assert line["reason"] == "operator_keys_not_for_anonymous"
    assert "Sign in" in line["message"]
    assert line["message"] in explained["advice"]
    with refused("no_usable_key", 422):
        user.rpc("resolve_llm_route", **request)

    key = user.holds_key("groq")
    (candidate,) = user.rpc("resolve_llm_route", **request)["candidates"]
    assert candidate["key_id"] == key["id"]

    tx.admin.rpc("set_llm_operator_settings", p_changes={"operator_keys_for_anonymous": True})
    candidates = user.rpc("resolve_llm_route", **request)["candidates"]
    assert [it["key_source"] for it in candidates] == ["user", "operator"]


def test_an_anonymous_user_who_adds_an_email_is_served_with_the_operators_keys(tx: Transaction) -> None:
    user = anonymous(tx)
    tx.sql("update auth.users set is_anonymous = false where id = %s", user.id)
    # The token still says that the user is anonymous.
    assert user.rpc("resolve_llm_route", p_operator_providers=["openai"])["candidates"]


def test_one_shared_quota_limits_all_anonymous_users_together(tx: Transaction) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"operator_keys_for_anonymous": True})
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    quota = {"group": "anonymous", "shared": True, "key_source": "operator", "unit": "requests"}
    earlier = anonymous(tx).through(runtime)
    spend(earlier)
    tx.admin.rpc("set_llm_quota", p_quota={**quota, "period": "day", "limit": 3})
    for user in (anonymous(tx).through(runtime), anonymous(tx).through(runtime)):
        spend(user)
    for user in (earlier, anonymous(tx).through(runtime)):
        with refused("quota_exceeded", 429):
            spend(user)
    spend(new_user(tx).through(runtime))


def test_a_group_that_the_operator_sets_replaces_the_one_of_anonymous_users(tx: Transaction) -> None:
    user = anonymous(tx)
    tx.admin.rpc(
        "set_llm_quota", p_quota={"group": "anonymous", "unit": "requests", "period": "day", "limit": 1}
    )
    assert len(user.rpc("list_llm_quotas")) == 1
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="testers")
    assert user.rpc("list_llm_quotas") == []


def spend(user: Caller) -> None:
    """Run one request with the operator's key."""
    request = request_id()
    route = user.rpc("resolve_llm_route", p_operator_providers=["openai"], p_request_id=request)
    (candidate,) = route["candidates"]
    user.records(request_id=request, provider="openai", model=candidate["model"], key_source="operator")
