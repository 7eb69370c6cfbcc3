"""Rotations of the master key: in batches, while keys are stored and used, and without losing any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused, runtime_user
from tests.support import key_for

FIRST = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def users(tx: Transaction) -> list[Caller]:
    """Five users with a key each, and no other owners."""
    tx.sql("delete from llm_private.key_owners")
    tx.sql("delete from llm_private.master_keys where id < (select max(id) from llm_private.master_keys)")
    users = [new_user(tx) for _ in range(5)]
    for number, user in enumerate(users):
        user.holds_key("groq", number)
    return users


def rotate(tx: Transaction, **arguments: Any) -> Any:
    return tx.admin.rpc("rotate_llm_vault", **arguments)


def rotation(tx: Transaction, batch: int = 2, after: str | None = None) -> Iterator[Any]:
    """The batches of a rotation, until it is finished."""
    for _ in range(20):
        state = rotate(tx, p_batch=batch, p_after=after)
        yield state
        if state["finished"]:
            return
        after = state["after"]
    raise AssertionError("The rotation does not end.")


def masters(tx: Transaction) -> list[int]:
    return [row["id"] for row in tx.sql("select id from llm_private.master_keys order by id")]


def by_master(tx: Transaction) -> dict[int, int]:
    counted = tx.sql("select master_key_id as id, count(*) as owners from llm_private.key_owners group by 1")
    return {row["id"]: row["owners"] for row in counted}


def entries(tx: Transaction) -> int:
    count: int = tx.value("select count(*) from vault.secrets where name like 'supa\\_llm\\_%%'")
    return count


def log(tx: Transaction) -> list[tuple[str, Any]]:
    return [
        (it["action"], {name: value for name, value in it["detail"].items() if name != "by"})
        for it in tx.admin.rpc("get_llm_audit_log", p_limit=2)
    ]


def problems(tx: Transaction) -> set[str]:
    found = {it["code"] for it in tx.admin.rpc("list_llm_problems")}
    return {code for code in found if "key" in code or "vault" in code}


def revealed(user: Caller) -> Any:
    return user.rpc("reveal_llm_key", p_provider="groq")["key"]


def test_a_rotation_wraps_every_data_key_again_and_destroys_the_old_master_key(
    tx: Transaction, users: list[Caller]
) -> None:
    (old,) = masters(tx)
    exported = tx.value("select llm_private.export_master_keys()")
    before = {row["id"]: row for row in tx.sql("select * from llm_private.key_owners")}
    secrets = tx.sql("select * from llm_private.key_secrets order by 1, 2")
    data_keys = [tx.value("select llm_private.data_key(%s)", user.id) for user in users]
    stored = entries(tx)

    state = rotate(tx)
    assert state == {
        "rewrapped": 5,
        "left": 0,
        "destroyed": 1,
        "unreadable": 0,
        "finished": True,
        "after": FIRST,
    }
    (new,) = masters(tx)
    assert new > old
    assert (entries(tx), by_master(tx)) == (stored, {new: 5})
    # The keys themselves, and what encrypts them, stay as they are.
    assert tx.sql("select * from llm_private.key_secrets order by 1, 2") == secrets
    assert [tx.value("select llm_private.data_key(%s)", user.id) for user in users] == data_keys
    after = {row["id"]: row for row in tx.sql("select * from llm_private.key_owners")}
    assert all(after[owner]["wrapped_key"] != row["wrapped_key"] for owner, row in before.items())
    # Cached routes stay valid.
    assert {row["version"] for row in after.values()} == {1}
    for number, user in enumerate(users):
        assert revealed(user) == key_for("groq", number)
        assert user.rpc("resolve_llm_route")["candidates"][0]["key"] == key_for("groq", number)
    assert problems(tx) == set()
    assert log(tx) == [
        ("vault_rotated", {"master_key": new, "destroyed": [old], "unreadable": 0, "owners": 5}),
        ("vault_rotation_started", {"master_key": new, "previous": old}),
    ]
    # A dump from before the rotation, and what is in the vault now, open nothing.
    now = tx.value("select llm_private.export_master_keys()")
    assert now != exported
    for owner, row in before.items():
        unwrap = "select llm_private.unwrap_data_key(%s, %s::bytea, %s)"
        assert tx.value(unwrap, owner, row["wrapped_key"], now) is None
        assert tx.value(unwrap, owner, row["wrapped_key"], exported) in data_keys
    with refused("master_key_unknown", 422), tx.as_owner():
        tx.sql("select llm_private.import_master_keys(%s)", exported)


def test_keys_are_stored_and_used_between_the_batches(tx: Transaction, users: list[Caller]) -> None:
    (old,) = masters(tx)
    begun = rotate(tx, p_batch=2)
    assert {name: begun[name] for name in ("rewrapped", "left", "destroyed", "finished")} == {
        "rewrapped": 2,
        "left": 3,
        "destroyed": 0,
        "finished": False,
    }
    _, new = masters(tx)
    assert by_master(tx) == {old: 3, new: 2}
    assert problems(tx) == {"vault_rotation_unfinished"}
    # Whoever stores a key is not moved by that; a new owner gets the new master key.
    for number, user in enumerate(users):
        assert revealed(user) == key_for("groq", number)
        user.holds_key("openai", number)
    other = new_user(tx)
    other.holds_key("groq", 9)
    assert by_master(tx) == {old: 3, new: 3}
    exported = tx.value("select llm_private.export_master_keys()").split("\n")
    assert len(exported) == 2

    states = [*rotation(tx, after=begun["after"])]
    assert [state["rewrapped"] for state in states] == [2, 1]
    assert states[-1]["destroyed"] == 1
    assert by_master(tx) == {new: 6}
    assert masters(tx) == [new]
    for number, user in enumerate(users):
        assert revealed(user) == key_for("groq", number)
        keys = {it["provider"]: it["key"] for it in user.rpc("resolve_llm_route")["candidates"]}
        assert keys == {"groq": key_for("groq", number), "openai": key_for("openai", number)}
    assert revealed(other) == key_for("groq", 9)


def test_a_pending_rotation_is_continued_before_another_one_starts(
    tx: Transaction, users: list[Caller]
) -> None:
    rotate(tx, p_batch=2)
    before = masters(tx)
    # As a command does that was killed and starts again.
    assert [state["rewrapped"] for state in rotation(tx)] == [2, 1]
    assert masters(tx) == before[1:]
    # A call that only continues starts none, even if there is nothing left to do.
    state = rotate(tx, p_after=FIRST)
    assert (state["rewrapped"], state["destroyed"], state["finished"]) == (0, 0, True)
    assert masters(tx) == before[1:]
    assert rotate(tx)["rewrapped"] == 5
    assert masters(tx) != before[1:]


def test_a_project_without_keys_rotates_too(tx: Transaction) -> None:
    tx.sql("delete from llm_private.key_owners")
    before = masters(tx)
    state = rotate(tx)
    assert (state["rewrapped"], state["destroyed"], state["finished"]) == (0, len(before), True)
    assert len(masters(tx)) == 1
    assert not set(masters(tx)) & set(before)


def test_data_keys_that_cannot_be_unwrapped_are_reported_and_keep_their_master_key(
    tx: Transaction, users: list[Caller]
) -> None:
    (old,) = masters(tx)
    damaged = users[0]
    wrapped = tx.value("select wrapped_key from llm_private.key_owners where id = %s", damaged.id)
    tx.sql("update llm_private.key_owners set wrapped_key = '\\x00' where id = %s", damaged.id)
    states = [*rotation(tx, batch=1)]
    assert sum(state["rewrapped"] for state in states) == 4
    last = states[-1]
    assert {name: last[name] for name in ("left", "destroyed", "unreadable", "finished")} == {
        "left": 0,
        "destroyed": 0,
        "unreadable": 1,
        "finished": True,
    }
    assert log(tx)[0][1]["unreadable"] == 1
    assert old in masters(tx)
    for number, user in enumerate(users[1:], 1):
        assert revealed(user) == key_for("groq", number)
    # It is no reason to report a pending rotation, nor does it keep another one from starting.
    vault = tx.admin.rpc("get_llm_vault")
    assert (vault["pending"], vault["left"], vault["unreadable"]) == (False, 0, 1)
    assert "vault_rotation_unfinished" not in problems(tx)
    newest = masters(tx)[-1]
    assert sum(state["rewrapped"] for state in rotation(tx, batch=2)) == 4
    assert masters(tx)[-1] > newest
    assert (old in masters(tx), newest in masters(tx)) == (True, False)
    # It was only damaged in this database: with the row of a backup, the key is readable, and so is rotated.
    tx.sql("update llm_private.key_owners set wrapped_key = %s::bytea where id = %s", wrapped, damaged.id)
    assert revealed(damaged) == key_for("groq", 0)
    states = [*rotation(tx, batch=1)]
    assert (sum(state["rewrapped"] for state in states), states[-1]["unreadable"]) == (1, 0)
    assert revealed(damaged) == key_for("groq", 0)
    assert old not in masters(tx)


def test_owners_of_a_lost_master_key_are_reported(tx: Transaction, users: list[Caller]) -> None:
    (lost,) = masters(tx)
    exported = tx.value("select llm_private.export_master_keys()")
    tx.sql("delete from vault.secrets where id in (select vault_secret_id from llm_private.master_keys)")
    # It is imported or replaced first, so that nobody mistakes a rotation for a repair.
    with refused("master_key_missing", 500):
        rotate(tx)
    assert masters(tx) == [lost]
    tx.admin.rpc("replace_llm_master_key")
    users[0].holds_key("openai")
    states = [*rotation(tx)]
    assert sum(state["rewrapped"] for state in states) == 1
    assert (states[-1]["unreadable"], states[-1]["finished"]) == (4, True)
    assert lost in masters(tx)
    assert tx.admin.rpc("get_llm_vault")["unreadable"] == 4
    # The lost one turns up: everything is readable, and another rotation destroys it.
    tx.sql("select llm_private.import_master_keys(%s)", exported)
    for number, user in enumerate(users):
        assert revealed(user) == key_for("groq", number)
    assert [state["left"] for state in rotation(tx, batch=100)] == [0]
    assert len(masters(tx)) == 1
    for number, user in enumerate(users):
        assert revealed(user) == key_for("groq", number)


def test_the_state_names_master_keys_and_owners_and_no_secret(tx: Transaction, users: list[Caller]) -> None:
    before = tx.admin.rpc("get_llm_vault")
    assert [(it["readable"], it["owners"]) for it in before["master_keys"]] == [(True, 5)]
    assert (before["pending"], before["left"], before["unreadable"]) == (False, 0, 0)
    answers = [before, rotate(tx, p_batch=3), tx.admin.rpc("get_llm_vault")]
    assert [it["owners"] for it in answers[-1]["master_keys"]] == [2, 3]
    assert (answers[-1]["pending"], answers[-1]["left"]) == (True, 2)
    answers += [*rotation(tx), tx.admin.rpc("get_llm_vault"), tx.admin.rpc("rotate_llm_ticket_key")]
    assert [it["owners"] for it in answers[-2]["master_keys"]] == [5]
    assert answers[-2]["pending"] is False
    shown = json.dumps([*answers, tx.admin.rpc("get_llm_audit_log", p_limit=10)], default=str)
    hidden = [tx.value("select llm_private.data_key(%s)", user.id) for user in users]
    hidden += tx.value("select llm_private.export_master_keys()").split("\n")
    hidden += [row["secret"].hex() for row in tx.sql("select secret from llm_private.ticket_keys")]
    assert [secret for secret in hidden if secret in shown] == []


def test_a_batch_has_a_limit(tx: Transaction) -> None:
    before = masters(tx)
    for batch in (0, -1, 10_001, None):
        with refused("invalid_argument", 400):
            rotate(tx, p_batch=batch)
    assert masters(tx) == before


# Tickets ------------------------------------------------------------------------------------------


def test_tickets_of_a_rotated_key_are_valid_for_the_overlap(tx: Transaction) -> None:
    user = runtime_user(tx)
    user.holds_key("groq")
    first = user.rpc("resolve_llm_route")["ticket"]
    until = tx.admin.rpc("rotate_llm_ticket_key")["previous_until"]
    second = user.rpc("resolve_llm_route")["ticket"]
    tx.admin.rpc("rotate_llm_ticket_key", p_overlap_seconds=3600)
    third = user.rpc("resolve_llm_route")["ticket"]
    keys = tx.admin.rpc("get_llm_vault")["ticket_keys"]
    assert [it["valid_until"] is None for it in keys[-3:]] == [False, False, True]
    assert tx.value("select %s::timestamptz = now() + interval '1 day'", until)
    read = "select llm_private.read_ticket(%s, %s)"
    runtime = tx.value("select max(id::text)::uuid from llm_private.runtimes")
    for ticket in (first, second, third):
        assert str(tx.value(read, ticket, runtime)) == user.id

    tx.sql("update llm_private.ticket_keys set valid_until = now() where valid_until is not null")
    for ticket in (first, second):
        with refused("ticket_invalid", 403), tx.as_owner():
            tx.value(read, ticket, runtime)
    assert str(tx.value(read, third, runtime)) == user.id
    # The next rotation removes what is over; after a leak there is no overlap.
    tx.admin.rpc("rotate_llm_ticket_key", p_overlap_seconds=0)
    with refused("ticket_invalid", 403), tx.as_owner():
        tx.value(read, third, runtime)
    assert tx.value("select count(*) from llm_private.ticket_keys") == 2
    assert log(tx)[0][0] == "ticket_key_rotated"


def test_an_overlap_is_at_most_as_long_as_a_ticket_is_valid(tx: Transaction) -> None:
    for overlap in (-1, 86_401, None):
        with refused("invalid_argument", 400):
            tx.admin.rpc("rotate_llm_ticket_key", p_overlap_seconds=overlap)
