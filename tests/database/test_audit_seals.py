"""Seals of the audit log: a verification names what the database's owner changed, removed or inserted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supa_llm import Admin, AuditVerification, InvalidInputError
from tests.database.support import (
    Caller,
    Connection,
    Http,
    Transaction,
    new_user,
    owner,
    refused,
    request_id,
)
from tests.support import Stack, wait_until

FIRST = "00000000-0000-0000-0000-000000000000"
OPERATOR = FIRST
HOUR = timedelta(hours=1)


def ago(span: timedelta) -> str:
    """An id that was made this long ago."""
    return request_id((datetime.now(UTC) - span).timestamp())


def insert(connection: Connection, user: str, entry: str, at: str | None = None) -> str:
    """Insert an entry as the database's owner; ``at`` is the time of the id unless given."""
    connection.execute(
        "insert into public.llm_audit_log (user_id, id, at, action, actor, detail) values"
        " (%s, %s, coalesce(%s, llm_private.uuid_v7_time(%s)), 'key_set', 'user', %s)",
        [user, entry, at, entry, json.dumps({"hint": "gsk…0001"})],
    )
    return entry


def note_point(tx: Transaction) -> None:
    """Make a seal point of this moment. A test's entries share one transaction, so they are newer than it."""
    tx.sql("delete from llm_private.audit_seal_points")
    tx.sql("insert into llm_private.audit_seal_points values (3, clock_timestamp())")


def verify(caller: Caller, **arguments: Any) -> dict[str, Any]:
    """Verify a log page after page. Return the sums and the first problem."""
    page = caller.rpc("verify_llm_audit_log", **arguments)
    found: dict[str, Any] = dict(page)
    while page["next"] or page["next_user_id"]:
        following = {**arguments, "p_after": page["next"]}
        if page["next_user_id"]:
            following["p_user_id"] = page["next_user_id"]
        page = caller.rpc("verify_llm_audit_log", **following)
        for count in ("logs", "verified", "unsealed", "dropped"):
            found[count] += page[count]
        found["first_problem"] = found["first_problem"] or page["first_problem"]
    return found


def problem(caller: Caller, **arguments: Any) -> tuple[str, str | int] | None:
    """The kind of the first problem of a log, and the entry or the number of the seal."""
    found = verify(caller, **arguments)["first_problem"]
    return found and (found["kind"], found["entry"] or found["seal"])


@pytest.fixture
def user(tx: Transaction) -> Caller:
    """A user of a project in which nothing was sealed before."""
    tx.sql("delete from llm_private.audit_seal_points")
    tx.sql("delete from llm_private.audit_sealing")
    return new_user(tx)


@pytest.fixture
def sealed(tx: Transaction, user: Caller) -> list[str]:
    """The user's sealed entries: five of the last hours."""
    entries = [insert(tx.connection, user.id, ago(hours * HOUR)) for hours in range(6, 1, -1)]
    assert verify(user)["verified"] == 5
    note_point(tx)
    return entries


# Verification -------------------------------------------------------------------------------------


def test_a_log_that_nobody_touched_is_verified(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    user.holds_key("groq")
    found = verify(user)
    assert (found["verified"], found["unsealed"], found["dropped"], found["logs"]) == (6, 0, 0, 1)
    assert found["first_problem"] is None
    assert (found["seals"], len(found["head"])) == (2, 64)
    assert found["sealed_until"] > datetime.now(UTC).isoformat()[:13]
    assert verify(user) == found, "verifying again seals nothing"
    assert verify(tx.admin, p_user_id=user.id) == found


def test_an_empty_log_is_verified(user: Caller) -> None:
    found = verify(user)
    assert (found["verified"], found["seals"], found["head"], found["sealed_until"]) == (0, 0, None, None)
    assert found["first_problem"] is None


@pytest.mark.parametrize(
    "change",
    [
        'detail = \'{"hint": "gsk…0002"}\'',
        "detail = detail || '{\"more\": null}'",
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "action = 'key_revoked'",
        "actor = 'runtime'",
        "provider = 'groq'",
        "key_id = id",
        "runtime_id = id",
    ],
)
def test_a_changed_entry_is_named(tx: Transaction, user: Caller, sealed: list[str], change: str) -> None:
    tx.sql(f"update public.llm_audit_log set {change} where id = any(%s::uuid[])", sealed[2:4])
    found = verify(user)
    assert (
        found["first_problem"].items() >= {"kind": "changed", "entry": sealed[2], "user_id": user.id}.items()
    )
    assert found["verified"] == 3


def test_every_column_of_an_entry_is_hashed(tx: Transaction) -> None:
    """Add a new column to `audit_text`, if it is not null, and a change of it to the test above."""
    columns = tx.sql(
        "select attname from pg_attribute where attrelid = 'public.llm_audit_log'::regclass and attnum > 0"
    )
    assert {it["attname"] for it in columns} == {
        *("user_id", "id", "at", "action", "actor", "provider", "key_id", "runtime_id", "detail")
    }


def test_a_removed_entry_is_named(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    tx.sql("delete from public.llm_audit_log where id = any(%s::uuid[])", sealed[3:])
    assert problem(user) == ("removed", sealed[3])
    tx.sql("delete from public.llm_audit_log where user_id = %s", user.id)
    assert problem(user) == ("removed", sealed[0])


def test_an_inserted_entry_is_named_as_long_as_it_is_there(
    tx: Transaction, user: Caller, sealed: list[str]
) -> None:
    added = insert(tx.connection, user.id, ago(HOUR * 3.5))
    assert problem(user) == ("inserted", added)
    tx.admin.rpc("run_llm_maintenance")
    insert(tx.connection, user.id, request_id())
    found = verify(user)
    assert (found["first_problem"]["entry"], found["verified"], found["unsealed"]) == (added, 6, 0)
    tx.sql("delete from public.llm_audit_log where id = %s", added)
    assert problem(user) is None


@pytest.mark.parametrize(
    ("entry", "at"),
    [
        (timedelta(0), "2020-01-01"),
        (timedelta(0), "infinity"),
        (timedelta(0), "-infinity"),
        (-HOUR, None),
    ],
)
def test_an_entry_with_an_impossible_time_is_named(
    tx: Transaction, user: Caller, sealed: list[str], entry: timedelta, at: str | None
) -> None:
    added = insert(tx.connection, user.id, ago(entry), at)
    assert problem(user) == ("inserted", added)


def test_an_entry_that_moved_to_another_log_is_named_in_both(
    tx: Transaction, user: Caller, sealed: list[str]
) -> None:
    other = new_user(tx)
    tx.sql("update public.llm_audit_log set user_id = %s where id = %s", other.id, sealed[1])
    assert problem(user) == ("removed", sealed[1])
    assert problem(other) == ("inserted", sealed[1])


def test_the_first_of_several_problems_is_named(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    tx.sql("update public.llm_audit_log set actor = 'runtime' where id = %s", sealed[4])
    added = insert(tx.connection, user.id, ago(HOUR * 2.5))
    assert problem(user) == ("inserted", added)
    tx.sql("delete from public.llm_audit_log where id = %s", sealed[1])
    assert problem(user) == ("removed", sealed[1])


@pytest.mark.parametrize(
    "change",
    [
        "total = total + 1",
        "sealed_at = sealed_at - interval '1 hour'",
        "content = sha256('')",
        "head = sha256('')",
        f"first_id = '{FIRST}'",
        "last_id = 'ffffffff-ffff-7fff-bfff-ffffffffffff'",
        "ids = null, digests = null",
    ],
)
def test_a_changed_seal_is_named(tx: Transaction, user: Caller, sealed: list[str], change: str) -> None:
    for number in (2, 3):
        insert(tx.connection, user.id, request_id())
        assert verify(user)["seals"] == number
    tx.sql(f"update llm_private.audit_seals set {change} where user_id = %s and number = 2", user.id)
    assert problem(user) == ("seal_changed", 2)


def test_a_removed_seal_is_named(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    for number in (2, 3):
        insert(tx.connection, user.id, request_id())
        assert verify(user)["seals"] == number
    tx.sql("delete from llm_private.audit_seals where user_id = %s and number = 2", user.id)
    assert problem(user) == ("seal_removed", 2)
    tx.sql("delete from llm_private.audit_seal_points")
    tx.sql("delete from llm_private.audit_seals where user_id = %s and number = 1", user.id)
    assert problem(user) == ("seal_removed", 2)


def test_a_new_digest_for_a_changed_entry_is_named(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    tx.sql("update public.llm_audit_log set actor = 'runtime' where id = %s", sealed[1])
    tx.sql(
        "update llm_private.audit_seals as s set digests[2] = llm_private.audit_digest(l)"
        " from public.llm_audit_log as l where s.user_id = %s and l.id = %s",
        user.id,
        sealed[1],
    )
    assert problem(user) == ("seal_changed", 1)


def test_settings_of_the_session_change_no_hash(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    for setting in (
        "timezone = 'Pacific/Auckland'",
        "datestyle = 'German'",
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
        "intervalstyle = 'iso_8601'",
    ):
        tx.sql(f"set local {setting}")
    found = verify(user)
    assert (found["verified"], found["first_problem"]) == (5, None)


def test_the_pages_of_a_log_find_the_same(tx: Transaction, user: Caller, sealed: list[str]) -> None:
    insert(tx.connection, user.id, request_id())
    for limit in (1, 2, 3, 6, 7, 100):
        found = verify(user, p_limit=limit)
        assert (found["verified"], found["first_problem"]) == (6, None), limit
    tx.sql("delete from public.llm_audit_log where id = any(%s::uuid[])", sealed[2:])
    for limit in (1, 2, 3, 100):
        found = verify(user, p_limit=limit)
        assert (found["verified"], found["first_problem"]["entry"]) == (3, sealed[2]), limit


@pytest.mark.parametrize("limit", [0, -1, 10_001, None])
def test_a_page_has_a_limit(tx: Transaction, user: Caller, limit: int | None) -> None:
    with refused("invalid_argument", 400):
        user.rpc("verify_llm_audit_log", p_limit=limit)
    for function, most in (("list_llm_audit_seals", 100), ("list_llm_audit_texts", 10_000)):
        with refused("invalid_argument", 400):
            tx.admin.rpc(function, p_limit=None if limit is None else min(limit, most + 1))


def test_ten_thousand_entries_are_verified_in_about_a_second(tx: Transaction, user: Caller) -> None:
    tx.sql(
        "insert into public.llm_audit_log (user_id, action, actor, provider, key_id, detail)"
        " select %s, 'lease', 'runtime', 'groq', gen_random_uuid(),"
        """ '{"hint": "gsk…0001", "until": "2026-11-28T12:00:00+00:00"}' from generate_series(1, 10000)""",
        user.id,
    )
    assert verify(user)["seals"] == 10
    begin = time.perf_counter()
    assert verify(user)["verified"] == 10_000
    # Generous, because the machine runs other tests.
    assert time.perf_counter() - begin < 4


# Model --------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "seal", "change", "remove", "insert", "maintain"]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_verification_finds_exactly_what_a_model_of_the_log_expects(
    tx: Transaction, user: Caller, steps: list[tuple[str, int]]
) -> None:
    with tx.connection.transaction(force_rollback=True):
        note_point(tx)
        log: list[str] = []
        sealed: dict[str, bool] = {}
        problems: dict[str, str] = {}
        for step, number in steps:
            entry = log[number % len(log)] if log else None
            if step == "append":
                log.append(insert(tx.connection, user.id, request_id()))
            elif step == "insert":
                problems[insert(tx.connection, user.id, ago(HOUR * (number + 1)))] = "inserted"
            elif step in ("seal", "maintain"):
                if step == "maintain":
                    tx.admin.rpc("run_llm_maintenance")
                else:
                    verify(user)
                sealed.update(dict.fromkeys(log, True))
            elif entry and step == "change":
                tx.sql("update public.llm_audit_log set actor = actor || 'x' where id = %s", entry)
                if entry in sealed and problems.get(entry) != "removed":
                    problems[entry] = "changed"
            elif entry and step == "remove":
                tx.sql("delete from public.llm_audit_log where id = %s", entry)
                if entry in sealed:
                    problems[entry] = "removed"
                else:
                    log.remove(entry)
        found = verify(user)
        expected = min(problems.items(), default=None)
        first = found["first_problem"]
        assert (first and (str(first["entry"]), first["kind"])) == expected
        assert found["verified"] == len(log) - sum(kind != "inserted" for kind in problems.values())
        assert found["unsealed"] == 0


# Retention and removal ----------------------------------------------------------------------------


def months_ago(count: int) -> timedelta:
    this = datetime.now(UTC)
    first = (this.year * 12 + this.month - 1) - count
    return this - datetime(first // 12, first % 12 + 1, 15, tzinfo=UTC)


def test_dropped_months_are_reported_and_are_no_problem(tx: Transaction, user: Caller) -> None:
    old = [insert(tx.connection, user.id, ago(months_ago(count))) for count in (6, 5, 4)]
    assert verify(user)["verified"] == 3
    new = [insert(tx.connection, user.id, ago(HOUR)), insert(tx.connection, user.id, request_id())]
    assert verify(user)["seals"] == 2
    tx.admin.rpc("set_llm_operator_settings", p_changes={"audit_kept_months": 6})
    for dropped, kept, seals in ((1, 6, 2), (2, 5, 2), (3, 3, 2), (3, 2, 2)):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"audit_kept_months": kept})
        tx.admin.rpc("run_llm_maintenance")
        found = verify(user)
        assert (found["verified"], found["dropped"]) == (5 - dropped, dropped)
        assert found["first_problem"] is None
        stored = tx.value("select count(*) from llm_private.audit_seals where user_id = %s", user.id)
        assert stored == seals
    insert(tx.connection, user.id, request_id())
    assert verify(user)["verified"] == 3
    tx.sql("delete from public.llm_audit_log where id = %s", new[0])
    assert problem(user) == ("removed", new[0])
    assert old


def test_a_longer_retention_does_not_make_dropped_entries_a_problem(tx: Transaction, user: Caller) -> None:
    for count in (9, 6, 1):
        insert(tx.connection, user.id, ago(months_ago(count)))
        verify(user)
    for kept in (8, 4, 12, None):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"audit_kept_months": kept})
        tx.admin.rpc("run_llm_maintenance")
    found = verify(user)
    assert (found["verified"], found["dropped"], found["first_problem"]) == (1, 2, None)
    # The emptied seals of a log leave one anchor.
    assert tx.value("select count(*) from llm_private.audit_seals where user_id = %s", user.id) == 2


def test_months_that_somebody_else_dropped_are_a_problem(tx: Transaction, user: Caller) -> None:
    old = insert(tx.connection, user.id, ago(months_ago(4)))
    insert(tx.connection, user.id, request_id())
    verify(user)
    tx.sql(
        "delete from public.llm_audit_log where id < llm_private.first_uuid_v7(now() - interval '2 months')"
    )
    assert problem(user) == ("removed", old)
    tx.sql("update llm_private.audit_seals set ids = null, digests = null where user_id = %s", user.id)
    assert problem(user) == ("seal_changed", 1)


def test_removed_user_data_is_no_problem_also_halfway(
    tx: Transaction, user: Caller, sealed: list[str]
) -> None:
    done = False
    while not done:
        found = verify(user)
        assert found["first_problem"] is None
        assert found["verified"] + found["dropped"] == 5
        done = tx.admin.rpc("remove_llm_user_data", p_user_id=user.id, p_batch=2)["done"]
    assert verify(user)["seals"] == 0
    user.holds_key("groq")
    assert (verify(user)["verified"], verify(user)["seals"]) == (1, 1)


# The operator's log, and all logs -----------------------------------------------------------------


def test_the_operators_log_and_all_logs_are_verified(
    tx: Transaction, user: Caller, sealed: list[str]
) -> None:
    tx.sql("delete from public.llm_audit_log where user_id <> %s", user.id)
    tx.sql("delete from llm_private.audit_seals where user_id <> %s", user.id)
    others = [new_user(tx) for _ in range(3)]
    for other in others:
        other.holds_key("groq")
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="x")
    assert (verify(tx.admin)["verified"], verify(tx.admin)["logs"]) == (1, 1)
    for limit in (1, 2, 5, 1000):
        found = verify(tx.admin, p_all=True, p_limit=limit)
        assert (found["logs"], found["verified"], found["first_problem"]) == (5, 9, None), limit
    gone = sorted(others, key=lambda it: it.id)[1]
    tx.sql("delete from public.llm_audit_log where user_id = %s", gone.id)
    found = verify(tx.admin, p_all=True)
    assert found["logs"] == 5
    assert (found["first_problem"]["kind"], found["first_problem"]["user_id"]) == ("removed", gone.id)
    entry = tx.value("select id from public.llm_audit_log where user_id = %s", OPERATOR)
    tx.sql("update public.llm_audit_log set detail = '{}' where id = %s", entry)
    assert problem(tx.admin) == ("changed", str(entry))


def test_maintenance_seals_all_logs(tx: Transaction, user: Caller) -> None:
    for it in (user, new_user(tx)):
        it.holds_key("groq")
    unsealed = tx.value("select count(*) from public.llm_audit_log") - tx.value(
        "select coalesce(sum(cardinality(ids)), 0) from llm_private.audit_seals"
    )
    done = tx.admin.rpc("run_llm_maintenance")
    assert 2 <= done["sealed_entries"] <= unsealed
    assert done["done"]
    assert tx.admin.rpc("run_llm_maintenance")["sealed_entries"] == 0
    user.holds_key("openai")
    assert tx.admin.rpc("run_llm_maintenance")["sealed_entries"] == 1
    sealed = tx.sql("select cardinality(ids) as n from llm_private.audit_seals where user_id = %s", user.id)
    assert [it["n"] for it in sealed] == [1, 1]


def test_doctor_reports_what_a_verification_found_until_it_is_gone(
    tx: Transaction, user: Caller, sealed: list[str]
) -> None:
    def reported() -> list[dict[str, Any]]:
        return [it for it in tx.admin.rpc("list_llm_problems") if it["subject"].endswith(user.id)]

    assert reported() == []
    tx.sql("update public.llm_audit_log set actor = 'x' || actor where id = %s", sealed[1])
    verify(user)
    (found,) = reported()
    assert (found["code"], found["severity"]) == ("audit_tampered", "error")
    assert sealed[1] in found["message"]
    tx.sql("update public.llm_audit_log set actor = 'user' where id = %s", sealed[1])
    user.rpc("verify_llm_audit_log", p_after=sealed[3])
    assert len(reported()) == 1, "another page settles nothing"
    verify(user)
    assert reported() == []


def test_doctor_reports_entries_that_stay_unsealed(tx: Transaction, user: Caller) -> None:
    def reported() -> bool:
        return "audit_unsealed" in {it["code"] for it in tx.admin.rpc("list_llm_problems")}

    tx.sql("update llm_private.installation set installed_at = now() - interval '2 days'")
    insert(tx.connection, user.id, ago(HOUR * 30))
    assert reported()
    tx.admin.rpc("run_llm_maintenance")
    assert not reported()
    tx.sql("update llm_private.audit_sealing set finished_at = now() - interval '29 hours'")
    assert not reported(), "there are no entries since"
    tx.sql("update llm_private.audit_sealing set finished_at = now() - interval '31 hours'")
    assert reported()


# Commits ------------------------------------------------------------------------------------------


@pytest.fixture
def connection(stack: Stack) -> Iterator[Connection]:
    """The database's owner, who commits, in a project in which nothing was sealed before."""
    with owner(stack) as it:
        it.execute("delete from llm_private.audit_seal_points")
        it.execute("delete from llm_private.audit_sealing")
        yield it
        it.execute("delete from llm_private.audit_findings")


@pytest.fixture
def someone(http: Http, connection: Connection) -> Iterator[Caller]:
    """A user with a committed and sealed entry."""
    user = new_user(http)
    insert(connection, user.id, ago(HOUR * 2))
    assert verify(user)["verified"] == 1
    yield user
    for table in ("public.llm_audit_log", "llm_private.audit_seals"):
        connection.execute(f"delete from {table} where user_id = %s", [user.id])


@pytest.mark.parametrize("maintained", [False, True])
def test_a_transaction_that_stays_open_across_seals_is_no_problem(
    stack: Stack, http: Http, connection: Connection, someone: Caller, maintained: bool
) -> None:
    with owner(stack) as slow:
        with slow.transaction():
            # As if it had been open for longer than the clocks may differ.
            late = insert(slow, someone.id, ago(HOUR))
            insert(connection, someone.id, request_id())
            connection.execute("delete from llm_private.audit_seal_points")
            assert verify(someone)["verified"] == 2
            for _ in range(3 if maintained else 0):
                connection.execute(
                    "delete from llm_private.audit_seal_points where at > now() - interval '1 minute'"
                )
                http.admin.rpc("run_llm_maintenance")
        if maintained:
            http.admin.rpc("run_llm_maintenance")
        found = verify(someone)
        assert (found["verified"], found["unsealed"], found["first_problem"]) == (3, 0, None)
        forged = insert(slow, someone.id, ago(HOUR))
        assert problem(someone) == ("inserted", forged), "a transaction that began after the seal"
    assert late


def test_an_open_transaction_keeps_maintenance_looking_for_its_entries(
    stack: Stack, http: Http, connection: Connection, someone: Caller
) -> None:
    since = "select since from llm_private.audit_sealing"
    http.admin.rpc("run_llm_maintenance")
    with owner(stack) as slow:
        with slow.transaction():
            late = insert(slow, someone.id, request_id())
            for _ in range(3):
                # A point that is older than the open transaction would allow.
                connection.execute("delete from llm_private.audit_seal_points")
                http.admin.rpc("run_llm_maintenance")
            (state,) = connection.execute(since).fetchall()
            assert str(state["since"]) < late
        http.admin.rpc("run_llm_maintenance")
    sealed = connection.execute(
        "select 1 from llm_private.audit_seals where user_id = %s and %s = any(ids)", [someone.id, late]
    )
    assert sealed.fetchall()


def test_two_sessions_seal_each_entry_once(stack: Stack, connection: Connection, someone: Caller) -> None:
    entries = [insert(connection, someone.id, request_id()) for _ in range(3)]
    waiting = (
        "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%verify_llm_audit_log%'"
    )
    with owner(stack) as other, ThreadPoolExecutor(2) as pool:
        with other.transaction():
            sealed = other.execute(
                "select llm_private.seal_audit_log(%s, %s)", [someone.id, FIRST]
            ).fetchall()
            assert [*sealed[0].values()] == [3]
            insert(connection, someone.id, request_id())
            verifying = [pool.submit(verify, someone) for _ in range(2)]
            wait_until(lambda: len(connection.execute(waiting).fetchall()) == 2)
        found = [it.result() for it in verifying]
    assert [(it["verified"], it["unsealed"], it["first_problem"]) for it in found] == [(5, 0, None)] * 2
    stored = connection.execute(
        "select unnest(ids)::text as id from llm_private.audit_seals where user_id = %s", [someone.id]
    ).fetchall()
    assert len(stored) == len({it["id"] for it in stored}) == 5
    assert {it["id"] for it in stored} >= set(entries)


def test_sealing_blocks_no_writer(stack: Stack, connection: Connection, someone: Caller) -> None:
    with owner(stack) as other, other.transaction():
        insert(connection, someone.id, request_id())
        other.execute("select llm_private.seal_audit_log(%s, %s)", [someone.id, FIRST])
        connection.execute("set statement_timeout = '5s'")
        insert(connection, someone.id, request_id())


def test_another_run_of_maintenance_does_not_wait(stack: Stack, http: Http, connection: Connection) -> None:
    http.admin.rpc("run_llm_maintenance")
    with owner(stack) as other, other.transaction():
        other.execute("select from llm_private.audit_sealing for update")
        done = http.admin.rpc("run_llm_maintenance")
        assert (done["sealed_entries"], done["done"]) == (None, False)


# Exported seals -----------------------------------------------------------------------------------


@pytest.fixture
def admin(stack: Stack) -> Iterator[Admin]:
    with Admin(stack.api_url, stack.secret_key) as it:
        yield it


@pytest.fixture
def exported(admin: Admin, connection: Connection, someone: Caller) -> list[str]:
    """The exported seals of someone with four entries."""
    for hours in (1.5, 1, 0.5):
        # As a transaction that began before the first seal.
        connection.execute("delete from llm_private.audit_seal_points")
        insert(connection, someone.id, ago(HOUR * hours))
        assert verify(someone)["first_problem"] is None
    return list(admin.export_audit_seals(user_id=uuid_of(someone)))


def uuid_of(user: Caller) -> UUID:
    return UUID(user.id)


def entries_of(connection: Connection, user: Caller) -> list[str]:
    found = connection.execute(
        "select id::text from public.llm_audit_log where user_id = %s order by id", [user.id]
    )
    return [it["id"] for it in found.fetchall()]


def recompute(connection: Connection, user: Caller) -> None:
    """What the database's owner does to hide a change: forget the seals, and make new ones."""
    connection.execute("delete from llm_private.audit_seals where user_id = %s", [user.id])
    connection.execute("delete from llm_private.audit_seal_points")
    connection.execute("select llm_private.seal_audit_log(%s, %s)", [user.id, FIRST])


def test_exported_seals_match_an_honest_log(
    admin: Admin, connection: Connection, someone: Caller, exported: list[str]
) -> None:
    insert(connection, someone.id, request_id())
    found = admin.compare_audit_seals(exported)
    assert (found.logs, found.verified, found.unsealed, found.dropped) == (1, 4, 1, 0)
    assert found.first_problem is None
    assert len(exported) == 5
    assert json.loads(exported[1])["digests"]


REWRITES: Mapping[str, str] = {
    "changed": "update public.llm_audit_log set detail = '{}' where id = %s",
    "removed": "delete from public.llm_audit_log where id = %s",
}


@pytest.mark.parametrize("kind", REWRITES)
def test_a_rewrite_with_new_seals_is_named_by_the_exported_seals(
    admin: Admin, connection: Connection, someone: Caller, exported: list[str], kind: str
) -> None:
    second = entries_of(connection, someone)[1]
    connection.execute(REWRITES[kind], [second])
    assert problem(someone) == (kind, second)
    recompute(connection, someone)
    assert problem(someone) is None, "the stored seals are as if nothing had happened"
    found = admin.compare_audit_seals(exported)
    assert found.first_problem
    assert (found.first_problem.kind, str(found.first_problem.entry)) == (kind, second)
    assert (found.verified, found.first_problem.user_id) == (3, uuid_of(someone))


def test_an_entry_that_was_inserted_with_new_seals_is_named_by_the_exported_seals(
    admin: Admin, connection: Connection, someone: Caller, exported: list[str]
) -> None:
    added = insert(connection, someone.id, ago(HOUR * 1.2))
    recompute(connection, someone)
    assert problem(someone) is None
    found = admin.compare_audit_seals(exported).first_problem
    assert found
    assert (found.kind, str(found.entry)) == ("inserted", added)


def test_a_late_commit_is_no_problem_of_exported_seals(
    stack: Stack, admin: Admin, connection: Connection, someone: Caller
) -> None:
    with owner(stack) as slow, slow.transaction():
        insert(slow, someone.id, ago(HOUR))
        connection.execute("delete from llm_private.audit_seal_points")
        verify(someone)
        exported = list(admin.export_audit_seals(user_id=uuid_of(someone)))
    found = admin.compare_audit_seals(exported)
    assert (found.verified, found.unsealed, found.first_problem) == (1, 1, None)


def test_removed_user_data_is_no_problem_of_exported_seals(
    http: Http, admin: Admin, someone: Caller, exported: list[str]
) -> None:
    http.admin.rpc("remove_llm_user_data", p_user_id=someone.id)
    found = admin.compare_audit_seals(exported)
    assert (found.verified, found.dropped, found.first_problem) == (0, 4, None)


def test_a_damaged_export_is_refused(admin: Admin, exported: list[str]) -> None:
    header, first, second, *others = exported
    seal = json.loads(second)
    damaged = [
        [],
        ["{}\n"],
        [first, second],
        ["no JSON\n", first],
        [header, second, *others],
        [header, first, *others],
        [header, first, json.dumps({**seal, "total": 9})],
        [header, first, json.dumps({**seal, "digests": ["00" * 32]})],
        [header, first, json.dumps({**seal, "ids": []})],
        [header, first, json.dumps({**seal, "head": "00" * 32})],
    ]
    for lines in damaged:
        with pytest.raises(InvalidInputError, match=r"Line \d of the exported seals is damaged"):
            admin.compare_audit_seals(lines)


def test_an_export_of_all_logs_has_each_log(
    admin: Admin, connection: Connection, someone: Caller, exported: list[str]
) -> None:
    everything = list(admin.export_audit_seals())
    assert everything[1:].count(exported[1]) == 1
    assert admin.verify_audit_log(user_id=uuid_of(someone)).verified == 4
    found = admin.compare_audit_seals([it for it in everything if someone.id in it or '"format"' in it])
    assert isinstance(found, AuditVerification)
    assert found.verified == 4
