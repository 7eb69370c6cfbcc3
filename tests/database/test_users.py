"""Users as administrators see them: found, inspected, explained, suspended, and their data removed."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.metering import sets
from tests.database.support import Caller, Transaction, new_user, refused, request_id
from tests.database.surface import TABLES
from tests.support import key_for, unique

OPERATOR = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def named(tx: Transaction, user: Caller, email: str) -> str:
    tx.sql("update auth.users set email = %s where id = %s", email, user.id)
    return email


def ids(found: Any) -> list[str]:
    return [str(it["id"]) for it in found]


# Finding --------------------------------------------------------------------------------------------


def test_a_user_is_found_by_id_and_by_a_part_of_their_address(tx: Transaction, user: Caller) -> None:
    email = named(tx, user, f"ann.{uuid.uuid4().hex}@example.com")
    for text in (user.id, user.id.upper(), email, email[4:20], email.upper()):
        assert ids(tx.admin.rpc("list_llm_users", p_search=text)) == [user.id]
    assert tx.admin.rpc("list_llm_users", p_search=f"{email}x") == []
    assert tx.admin.rpc("list_llm_users", p_search="%") == []
    tx.sql("update auth.users set deleted_at = now() where id = %s", user.id)
    assert tx.admin.rpc("list_llm_users", p_search=email) == []


def test_the_members_of_a_group_are_listed_page_by_page(tx: Transaction) -> None:
    group = unique("group")
    members = sorted(new_user(tx).id for _ in range(3))
    for member in members:
        tx.admin.rpc("set_llm_user_group", p_user_id=member, p_group=group)
    first = tx.admin.rpc("list_llm_users", p_group=group, p_limit=2)
    assert ids(first) == members[:2]
    assert {it["group_name"] for it in first} == {group}
    assert ids(tx.admin.rpc("list_llm_users", p_group=group, p_after=members[1])) == members[2:]
    assert tx.admin.rpc("list_llm_users", p_group=group[:-1]) == []


def test_suspended_users_are_listed(tx: Transaction, user: Caller) -> None:
    both = [user.id, new_user(tx).id]
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True)
    assert ids(tx.admin.rpc("list_llm_users", p_ids=both, p_suspended=True)) == [user.id]
    assert sorted(ids(tx.admin.rpc("list_llm_users", p_ids=both))) == sorted(both)


# Inspecting -----------------------------------------------------------------------------------------


def test_a_user_has_settings_key_states_and_last_errors_but_no_key(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq", 7)
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    user.rpc("set_llm_price", p_provider="groq", p_model="m", p_rates={"input": 1})
    user.records()
    user.records(outcome="failed", error_class="server_error", model="broken")
    found = tx.admin.rpc("get_llm_user", p_user_id=user.id)
    assert found["settings"]["default_provider"] == "groq"
    assert [(it["provider"], it["status"]) for it in found["keys"]] == [("groq", "untested")]
    assert [it["model"] for it in found["prices"]] == ["m"]
    assert [(it["model"], it["error_class"]) for it in found["errors"]] == [("broken", "server_error")]
    assert key_for("groq", 7) not in json.dumps(found, default=str)


def test_a_user_who_never_used_supa_llm_has_no_settings(tx: Transaction, user: Caller) -> None:
    found = tx.admin.rpc("get_llm_user", p_user_id=user.id)
    assert (found["settings"], found["keys"], found["errors"]) == (None, [], [])
    with refused("unknown_user", 404):
        tx.admin.rpc("get_llm_user", p_user_id=str(uuid.uuid4()))


def test_a_route_is_explained_as_the_user_gets_it_through_a_runtime(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    request = {"p_task": "speed", "p_operator_providers": ["openai"]}
    served = user.through(runtime)
    sets(tx.admin, 0, unit="requests", user_id=user.id, key_source="operator", enforced=True)

    def explained() -> Any:
        return tx.admin.rpc("explain_llm_user_route", p_user_id=user.id, **request)

    assert explained() == served.rpc("explain_llm_route", **request)
    assert explained()["candidates"]
    assert "quota_exceeded" in {it["reason"] for it in explained()["skipped"]}
    user.rpc("set_llm_settings", p_changes={"allow_operator_keys": False, "enable_fallbacks": False})
    assert explained() == served.rpc("explain_llm_route", **request)


def test_no_route_is_explained_for_a_user_who_gets_none(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True)
    with refused("account_suspended", 403):
        tx.admin.rpc("explain_llm_user_route", p_user_id=user.id)
    tx.sql("update auth.users set banned_until = now() + interval '1 hour' where id = %s", user.id)
    with refused("account_banned", 403):
        tx.admin.rpc("explain_llm_user_route", p_user_id=user.id)
    with refused("unknown_user", 404):
        tx.admin.rpc("explain_llm_user_route", p_user_id=str(uuid.uuid4()))


# Suspending -----------------------------------------------------------------------------------------


def test_suspending_twice_keeps_the_first_time_and_logs_once(tx: Transaction, user: Caller) -> None:
    for reason in ("first", "second"):
        tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True, p_reason=reason)
    assert tx.admin.rpc("get_llm_user", p_user_id=user.id)["suspended_reason"] == "first"
    for _ in range(2):
        tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=False)
    log = [it for it in tx.admin.rpc("get_llm_audit_log") if it["detail"].get("user_id") == user.id]
    assert [it["action"] for it in log] == ["user_resumed", "user_suspended"]


# Removing -------------------------------------------------------------------------------------------


def fill(tx: Transaction, user: Caller) -> None:
    """Give a user rows in every table."""
    key = user.holds_key("groq")
    user.rpc("set_llm_settings", p_changes={"enable_fallbacks": False})
    user.rpc("set_llm_price", p_provider="groq", p_model="m", p_rates={"input": 1})
    user.once("resolve_llm_route")
    user.once("begin_llm_key_check", provider="groq")
    sets(user, 100, unit="requests")
    sets(tx.admin, 100, unit="tokens", user_id=user.id)
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="trial")
    at = datetime.now(UTC) - timedelta(hours=30)
    for hours in (0, 30):
        user.records(
            request_id=request_id(at=(datetime.now(UTC) - timedelta(hours=hours)).timestamp()), model="m"
        )
    user.records(outcome="failed", error_class="auth", key_id=key["id"])
    tx.sql(
        "insert into public.llm_usage_adjustments (user_id, request_id, attempt, recorder, recalculation_id,"
        " cost, price_id) values (%s, llm_private.first_uuid_v7(%s), 1, %s, 1, 1, 1)",
        user.id, at, user.id,
    )  # fmt: skip


def rows(tx: Transaction, user: Caller) -> dict[str, int]:
    """Return how many rows name a user, by table, except for those that stay."""
    found = tx.sql(
        "select table_schema || '.' || table_name as name, column_name as owner"
        " from information_schema.columns"
        " where column_name in ('user_id', 'owner', 'owner_id') and table_schema in ('public', 'llm_private')"
        " and table_name not like 'llm_audit_log_%%' and table_name not like 'llm_usage_events_%%'"
        " and table_name in (select tablename from pg_tables)"
    )
    counted = {}
    for table in found:
        if table["name"] != "llm_private.suspended_users":
            query = f"select count(*) from {table['name']} where {table['owner']} = %s"
            counted[f"{table['name']}.{table['owner']}"] = tx.value(query, user.id)
    return counted


def test_all_data_of_a_user_is_removed_and_nobody_elses(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    for it in (user, other):
        fill(tx, it)
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True)
    kept = rows(tx, other)
    before = rows(tx, user)
    assert {name.split(".")[1] for name, count in before.items() if count} >= {
        name for name, owner in TABLES.items() if owner
    }
    done = tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)
    assert done["done"]
    assert done["removed"]["usage_events"] == 3
    assert done["removed"]["keys"] == 1
    assert {name: count for name, count in rows(tx, user).items() if count} == {}
    assert rows(tx, other) == kept
    assert tx.admin.rpc("list_llm_users", p_ids=[user.id])[0]["suspended_at"]
    again = tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)
    assert (again["done"], sum(again["removed"].values())) == (True, 0)
    user.rpc("get_llm_settings")


def test_data_is_removed_in_batches(tx: Transaction, user: Caller) -> None:
    for _ in range(5):
        user.records()
    user.rpc("set_llm_settings", p_changes={"enable_fallbacks": False})
    batches = [tx.admin.rpc("remove_llm_user_data", p_user_id=user.id, p_batch=2) for _ in range(4)]
    assert [it["done"] for it in batches] == [False, False, False, True]
    assert [it["removed"]["usage_events"] for it in batches] == [2, 2, 1, 0]
    for batch in (0, None):
        with refused("invalid_argument", 400):
            tx.admin.rpc("remove_llm_user_data", p_user_id=user.id, p_batch=batch)


def test_reports_of_the_project_match_the_events_after_a_removal(tx: Transaction, user: Caller) -> None:
    at = datetime.now(UTC) - timedelta(hours=30)
    other = new_user(tx)
    for it in (user, other):
        it.records(request_id=request_id(at=at.timestamp()), model="m")
    while not tx.admin.rpc("run_llm_maintenance")["done"]:
        pass
    days = {"p_since": f"{at:%Y-%m-%d}", "p_until": f"{at:%Y-%m-%d}"}

    def requests() -> int:
        return sum(line["requests"] for line in tx.admin.rpc("get_llm_usage", **days))

    before = requests()
    tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)
    assert requests() == before - 1
    while not tx.admin.rpc("run_llm_maintenance")["done"]:
        pass
    assert requests() == before - 1
    assert tx.admin.rpc("check_llm_usage", **days)["differing"] == 0


def test_the_data_of_a_deleted_account_is_removed_and_never_the_operators(
    tx: Transaction, user: Caller
) -> None:
    user.records()
    tx.sql("delete from auth.users where id = %s", user.id)
    assert tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)["removed"]["usage_events"] == 1
    for nobody in (OPERATOR, None):
        with refused("invalid_argument", 400):
            tx.admin.rpc("remove_llm_user_data", p_user_id=nobody)
