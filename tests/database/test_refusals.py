"""Refused requests: counted by code, for their own user, within narrow limits."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from supa_llm.database.refusals import CODES
from tests.database.support import Caller, Transaction, new_user, refused, runtime_user


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def listed(caller: Caller, **arguments: Any) -> dict[str, int]:
    return {row["code"]: row["refusals"] for row in caller.rpc("list_llm_refusals", **arguments)}


def test_refusals_add_up_by_code(user: Caller) -> None:
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 2, "quota_exceeded": 1})
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 3})
    user.rpc("record_llm_refusals", p_refusals={})
    assert listed(user) == {"no_usable_key": 5, "quota_exceeded": 1}
    assert {row["users"] for row in user.rpc("list_llm_refusals")} == {1}


def test_the_client_and_the_database_count_the_same_codes(tx: Transaction) -> None:
    (row,) = tx.sql("select llm_private.refusal_codes() as codes")
    assert set(row["codes"]) == CODES


@pytest.mark.parametrize(
    "refusals",
    [
        None,
        Jsonb([]),
        Jsonb("no_usable_key"),
        {"a text of the user": 1},
        {"no_usable_key": "1"},
        {"no_usable_key": 0},
        {"no_usable_key": -1},
        {"no_usable_key": 1.5},
        {"no_usable_key": 1_000_000},
        {"no_usable_key": None},
        {"no_usable_key": {"free": "text"}},
    ],
)
def test_nothing_but_counts_of_known_codes_is_stored(user: Caller, refusals: Any) -> None:
    with refused("invalid_argument", 400):
        user.rpc("record_llm_refusals", p_refusals=refusals)
    assert listed(user) == {}


def test_a_user_has_one_row_per_code_and_day_that_never_overflows(tx: Transaction, user: Caller) -> None:
    for _ in range(3):
        user.rpc("record_llm_refusals", p_refusals=dict.fromkeys(CODES, 999_999))
    assert set(listed(user).values()) == {999_999}
    rows = tx.sql("select 1 from llm_private.refusals where user_id = %s", user.id)
    assert len(rows) == len(CODES)


def test_users_see_their_own_refusals_and_administrators_all(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    before = listed(tx.admin).get("unknown_model", 0)
    user.rpc("record_llm_refusals", p_refusals={"unknown_model": 1})
    other.rpc("record_llm_refusals", p_refusals={"unknown_model": 10})
    assert listed(user, p_user_id=other.id) == {"unknown_model": 1}
    assert listed(tx.admin, p_user_id=other.id) == {"unknown_model": 10}
    assert listed(tx.admin)["unknown_model"] == before + 11
    assert listed(user, p_since="2000-01-01", p_until="2000-01-02") == {}


def test_suspended_users_report_refusals_too(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=True)
    user.rpc("record_llm_refusals", p_refusals={"account_suspended": 1})
    assert listed(user) == {"account_suspended": 1}


def test_refusals_end_with_their_time_and_with_the_users_data(tx: Transaction, user: Caller) -> None:
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 1})
    tx.sql("update llm_private.refusals set day = day - 30 where user_id = %s", user.id)
    tx.admin.rpc("run_llm_maintenance")
    assert listed(user) == {"no_usable_key": 1}
    tx.sql("update llm_private.refusals set day = day - 1 where user_id = %s", user.id)
    tx.admin.rpc("run_llm_maintenance")
    assert listed(user) == {}
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 1})
    removed = tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)
    assert removed["removed"]["refusals"] == 1


def test_a_runtime_reports_for_the_user_of_the_token_only(tx: Transaction) -> None:
    user = runtime_user(tx)
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 1})
    assert listed(user) == {"no_usable_key": 1}
    with refused("not_signed_in", 401):
        user.with_claims(sub=None).rpc("record_llm_refusals", p_refusals={"no_usable_key": 1})
