"""A user who is deleted, and a user of another auth service."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from supa_llm import ForbiddenError, SupaLLM
from tests.support import Emulator, Stack, User, key_for, unique

#: The tables whose rows stay when their user is deleted.
KEPT = {"llm_private.audit_seals", "llm_alerts", "llm_audit_log", "llm_usage_events", "llm_usage_totals"}
#: The tables with rows of users.
TABLES = """
select c.oid::regclass::text from pg_class as c
inner join pg_attribute as a on a.attrelid = c.oid and a.attname = %s
where c.relkind in ('r', 'p') and not c.relispartition
and (c.relnamespace = 'llm_private'::regnamespace or c.relname like '%%llm%%')
"""


def rows_of(db: psycopg.Connection[Any], user: User) -> dict[str, int]:
    """How many rows each table has of a user."""
    found = {}
    for column in ("user_id", "owner", "owner_id"):
        for (table,) in db.execute(TABLES, [column]).fetchall():
            [(count,)] = db.execute(
                f"select count(*) from {table} where {column} = %s".encode(), [user.id]
            ).fetchall()
            if count:
                found[table] = count
    return found


@pytest.mark.parametrize("has_runtime", [True, False], ids=["a runtime", "no runtime"])
def test_a_user_who_is_deleted_during_a_stream(
    stack: Stack, providers: Emulator, user: User, db: psycopg.Connection[Any], has_runtime: bool
) -> None:
    secret = stack.admin("register_llm_runtime", p_name=unique("streams"))["secret"] if has_runtime else None
    with SupaLLM(user.client(), runtime_secret=secret, operator_keys={}) as llm:
        llm.set_key("groq", key_for("groq"))
        llm.set_quota(5, "cost", "month")
        llm.set_price("groq", "*", {"input": 1, "output": 2})
        llm.set_settings(default_provider="groq")
        llm.chat("Hello")
        llm.flush()
        before = rows_of(db, user)
        assert {"llm_keys", "llm_private.key_secrets", "llm_private.leases"} <= before.keys()
        with llm.stream("Hello", max_tokens=50) as stream:
            words = iter(stream)
            first = next(words)
            db.execute("delete from auth.users where id = %s", [user.id])
            assert first + "".join(words)
    stack.admin("run_llm_maintenance")
    left = rows_of(db, user)
    assert left.keys() <= KEPT
    # With a ticket, the usage that the deleted user's key paid is counted, too.
    assert left["llm_usage_events"] == (2 if has_runtime else 1)
    assert llm.dropped_usage == (0 if has_runtime else 1)
    orphans = "select count(*) from llm_private.key_secrets as s left join public.llm_keys as k"
    assert db.execute(
        f"{orphans} on k.owner_id = s.owner_id and k.id = s.key_id where k.id is null".encode()
    ).fetchone() == (0,)
    assert stack.admin("check_llm_usage")["differing"] == 0
    # An administrator can remove the rest, too.
    assert stack.admin("remove_llm_user_data", p_user_id=user.id)["done"]
    assert rows_of(db, user) == {}


def test_a_user_of_another_auth_service_gets_a_clear_error(stack: Stack, providers: Emulator) -> None:
    token = stack.sign(sub="auth0|64f1c0ffee", exp=int(time.time()) + 600)
    with SupaLLM(stack.client(), operator_keys={}) as app:
        llm = app.for_user(token)
        for call in (
            lambda: llm.chat("Hello"),
            lambda: "".join(llm.stream("Hello")),
            llm.get_settings,
            lambda: llm.set_key("groq", key_for("groq")),
            llm.list_keys,
            lambda: llm.explain_route("speed"),
        ):
            with pytest.raises(ForbiddenError) as caught:
                call()
            assert caught.value.code == "third_party_account"
            assert "third-party" in caught.value.hint
            assert "64f1c0ffee" not in str(caught.value)
