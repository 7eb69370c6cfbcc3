"""Owners of keys: each has a data key, which the master key wraps and which only serves its owner."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.database.support import Caller, Transaction, new_user, refused
from tests.support import key_for

LOST = "delete from vault.secrets where id in (select vault_secret_id from llm_private.master_keys)"


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def owner_of(tx: Transaction, user: Caller) -> dict[str, Any]:
    (row,) = tx.sql("select * from llm_private.key_owners where id = %s", user.id)
    return row


def data_key(tx: Transaction, user: Caller) -> Any:
    return tx.value("select llm_private.data_key(%s)", user.id)


def statuses(user: Caller) -> dict[str, str]:
    return {key["provider"]: key["status"] for key in user.rpc("list_llm_keys")}


def revealed(user: Caller, provider: str) -> Any:
    return user.rpc("reveal_llm_key", p_provider=provider)["key"]


def opens(tx: Transaction, ciphertext: bytes, secret: str) -> bool:
    try:
        with tx.connection.transaction():
            tx.sql("select extensions.pgp_sym_decrypt(%s::bytea, %s)", ciphertext, secret)
    except psycopg.errors.ExternalRoutineInvocationException:
        return False
    return True


def test_each_owner_has_a_random_data_key_that_the_master_key_wraps(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    for it in (user, other):
        it.holds_key("groq")
    (master,) = tx.value("select llm_private.export_master_keys()").split("\n")
    keys = {data_key(tx, user), data_key(tx, other)}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {len(master)}
    for it in (user, other):
        wrapped = owner_of(tx, it)["wrapped_key"]
        assert opens(tx, wrapped, master)
        assert all(key.encode() not in wrapped for key in keys)
    # The master key does not decrypt a key itself.
    (stored,) = tx.sql("select ciphertext from llm_private.key_secrets where owner_id = %s", user.id)
    assert not opens(tx, stored["ciphertext"], master)
    assert opens(tx, stored["ciphertext"], data_key(tx, user))
    # It stays the same for further keys.
    user.holds_key("openai")
    user.holds_key("groq", 2)
    assert data_key(tx, user) in keys


@pytest.mark.parametrize("how", ["the owner's row", "the account", "the user's data"])
def test_deleting_one_row_shreds_the_keys_of_its_owner(tx: Transaction, user: Caller, how: str) -> None:
    """Whoever has a backup of the ciphertexts, every master key and all that is left opens none of them."""
    other = new_user(tx)
    other.holds_key("groq")
    user.holds_key("groq", 7)
    user.holds_key("openai")
    backup = tx.sql("select * from llm_private.key_secrets where owner_id = %s", user.id)
    lost = data_key(tx, user)
    assert all(opens(tx, row["ciphertext"], lost) for row in backup)

    if how == "the owner's row":
        tx.sql("delete from llm_private.key_owners where id = %s", user.id)
    elif how == "the account":
        tx.sql("delete from auth.users where id = %s", user.id)
    else:
        removed = tx.admin.rpc("remove_llm_user_data", p_user_id=user.id)["removed"]
        assert (removed["keys"], removed["key_owners"]) == (2, 1)

    secrets = tx.value("select llm_private.export_master_keys()").split("\n")
    secrets += [data_key(tx, other), user.id, *(str(row["key_id"]) for row in backup)]
    assert not [1 for row in backup for secret in secrets if opens(tx, row["ciphertext"], secret)]
    # No row of any table contains the data key, wrapped or not.
    assert tx.value("select count(*) from llm_private.key_owners where id = %s", user.id) == 0
    assert tx.value("select count(*) from public.llm_keys where owner_id = %s", user.id) == 0
    assert tx.value("select count(*) from llm_private.key_secrets where owner_id = %s", user.id) == 0
    assert revealed(other, "groq") == key_for("groq")
    if how != "the account":
        # The user can begin again, with another data key that opens nothing of the backup.
        user.holds_key("groq", 8)
        assert data_key(tx, user) != lost
        assert revealed(user, "groq") == key_for("groq", 8)
        assert not any(opens(tx, row["ciphertext"], data_key(tx, user)) for row in backup)


def test_a_data_key_copied_to_another_owner_is_refused(tx: Transaction, user: Caller) -> None:
    thief = new_user(tx)
    user.holds_key("groq", 7)
    thief.holds_key("groq", 8)
    # Even with the ciphertext beside it.
    tx.sql(
        "update llm_private.key_owners set wrapped_key = (select wrapped_key from llm_private.key_owners"
        " where id = %s) where id = %s",
        user.id,
        thief.id,
    )
    tx.sql(
        "update llm_private.key_secrets set ciphertext = (select ciphertext from llm_private.key_secrets"
        " where owner_id = %s) where owner_id = %s",
        user.id,
        thief.id,
    )
    for function, arguments in (("reveal_llm_key", {"p_provider": "groq"}), ("resolve_llm_route", {})):
        with refused("key_unreadable", 500) as error:
            thief.rpc(function, **arguments)
        assert key_for("groq", 7) not in error.value.raw
    assert revealed(user, "groq") == key_for("groq", 7)


def test_a_route_unwraps_a_data_key_once(tx: Transaction, user: Caller) -> None:
    for provider in ("groq", "openai", "mistral"):
        user.holds_key(provider)
    user.rpc("resolve_llm_route")
    tx.sql("create temporary sequence unwrapped; create temporary sequence read_from_vault")
    tx.sql("grant usage on sequence unwrapped, read_from_vault to llm_definer")
    for function, sequence in (("unwrap_data_key", "unwrapped"), ("readable_master_key", "read_from_vault")):
        source = tx.value(
            "select pg_get_functiondef(oid) from pg_proc"
            " where proname = %s and pronamespace = 'llm_private'::regnamespace",
            function,
        )
        counting = source.replace("begin\n", f"begin\n  perform nextval('pg_temp.{sequence}');\n", 1)
        tx.sql(counting.replace(" IMMUTABLE", "").replace(" STABLE", ""))
    route = user.once("resolve_llm_route")
    assert sorted(it["key"] for it in route["candidates"]) == sorted(
        key_for(provider) for provider in ("groq", "openai", "mistral")
    )
    for sequence in ("unwrapped", "read_from_vault"):
        assert tx.value(f"select last_value from pg_temp.{sequence}") == 1
        assert tx.value(f"select is_called from pg_temp.{sequence}")


def test_the_version_counts_replaced_and_revoked_keys(tx: Transaction, user: Caller) -> None:
    seen = []
    for change in (
        lambda: user.holds_key("groq", 1),
        lambda: user.holds_key("openai"),
        lambda: user.holds_key("groq", 2),
        lambda: user.rpc("remove_llm_key", p_provider="groq"),
        lambda: user.holds_key("groq", 3),
    ):
        change()
        seen.append(owner_of(tx, user)["version"])
    assert seen == [1, 1, 2, 3, 3]


def test_a_team_is_an_owner_too(tx: Transaction) -> None:
    team = tx.value("insert into llm_private.teams (name) values ('Research') returning id")
    tx.sql("select llm_private.ensure_key_owner(%s, true)", team)
    before = tx.sql("select * from llm_private.key_owners where id = %s", team)
    assert [(row["user_id"], row["team_id"]) for row in before] == [(None, team)]
    tx.sql("select llm_private.ensure_key_owner(%s, true)", team)
    assert tx.sql("select * from llm_private.key_owners where id = %s", team) == before
    assert tx.value("select llm_private.data_key_to_write(%s)", team) == tx.value(
        "select llm_private.data_key(%s)", team
    )
    tx.sql("delete from llm_private.teams where id = %s", team)
    assert tx.sql("select * from llm_private.key_owners where id = %s", team) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"user_id": "user"},
        {"team_id": "team"},
        {"user_id": "user", "team_id": "team"},
        {},
    ],
    ids=["another id than the user's", "another id than the team's", "a user and a team", "neither"],
)
def test_an_owner_is_one_user_or_one_team(tx: Transaction, user: Caller, columns: dict[str, str]) -> None:
    ids = {
        "user": user.id,
        "team": tx.value("insert into llm_private.teams (name) values ('Research') returning id"),
    }
    own = user.id if len(columns) == 2 else tx.value("select gen_random_uuid()")
    values = [ids[columns[name]] if name in columns else None for name in ("user_id", "team_id")]
    with refused("23514"), tx.as_owner():
        tx.sql(
            "insert into llm_private.key_owners (id, user_id, team_id, master_key_id, wrapped_key)"
            " select %s, %s, %s, min(id), '' from llm_private.master_keys",
            own,
            *values,
        )


# Data keys that cannot be unwrapped ---------------------------------------------------------------


@pytest.mark.parametrize("damage", ["''", "substr(wrapped_key, 1, 60)", "wrapped_key || '\\x00'"])
def test_whose_data_key_is_damaged_stores_keys_again(tx: Transaction, user: Caller, damage: str) -> None:
    user.holds_key("groq")
    user.holds_key("openai")
    tx.sql(f"update llm_private.key_owners set wrapped_key = {damage} where id = %s", user.id)
    with refused("key_unreadable", 500):
        revealed(user, "groq")
    with refused("key_unreadable", 500):
        user.rpc("resolve_llm_route")
    user.holds_key("groq", 2)
    assert statuses(user) == {"groq": "untested", "openai": "unreadable"}
    assert revealed(user, "groq") == key_for("groq", 2)
    assert user.rpc("resolve_llm_route")["candidates"][0]["key"] == key_for("groq", 2)
    with refused("key_unreadable", 500):
        revealed(user, "openai")


def replace_lost(tx: Transaction) -> str:
    """Lose the newest master key, replace it, and return the lost one."""
    newest: str = tx.value("select llm_private.master_key(max(id)) from llm_private.master_keys")
    tx.sql(LOST)
    tx.admin.rpc("replace_llm_master_key")
    return newest


def test_a_lost_master_key_that_turns_up_corrupts_nothing_stored_since(tx: Transaction, user: Caller) -> None:
    for provider in ("groq", "openai", "mistral"):
        user.holds_key(provider, 1)
    untouched = new_user(tx)
    untouched.holds_key("groq", 5)
    lost = replace_lost(tx)
    # The first key since gets a new data key; another replaces one of the unreadable keys, one is removed.
    user.holds_key("groq", 2)
    since = data_key(tx, user)
    user.rpc("remove_llm_key", p_provider="mistral")
    assert statuses(user) == {"groq": "untested", "openai": "unreadable"}
    assert statuses(untouched) == {"groq": "unreadable"}

    assert tx.value("select llm_private.import_master_keys(%s)", lost)["readable_keys"] >= 2
    assert statuses(user) == {"groq": "untested", "openai": "untested"}
    assert (revealed(user, "groq"), revealed(user, "openai")) == (key_for("groq", 2), key_for("openai", 1))
    assert data_key(tx, user) == since
    assert owner_of(tx, user)["lost_wrapped_key"] is None
    assert revealed(untouched, "groq") == key_for("groq", 5)
    keys = [it["key"] for it in user.rpc("resolve_llm_route")["candidates"]]
    assert sorted(keys) == sorted([key_for("groq", 2), key_for("openai", 1)])


def test_master_keys_lost_twice_are_imported_in_any_order(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq", 1)
    first = replace_lost(tx)
    user.holds_key("openai", 2)
    second = replace_lost(tx)
    assert statuses(user) == {"groq": "unreadable", "openai": "unreadable"}
    # The data key that would encrypt it is not there yet.
    tx.sql("select llm_private.import_master_keys(%s)", first)
    assert statuses(user) == {"groq": "unreadable", "openai": "unreadable"}
    tx.sql("select llm_private.import_master_keys(%s)", second)
    assert statuses(user) == {"groq": "untested", "openai": "untested"}
    assert (revealed(user, "groq"), revealed(user, "openai")) == (key_for("groq", 1), key_for("openai", 2))


def test_of_two_lost_data_keys_the_later_one_is_kept(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq", 1)
    first = replace_lost(tx)
    user.holds_key("openai", 2)
    second = replace_lost(tx)
    user.holds_key("mistral", 3)
    tx.sql("select llm_private.import_master_keys(%s)", f"{first}\n{second}")
    assert statuses(user) == {"groq": "unreadable", "openai": "untested", "mistral": "untested"}
    assert (revealed(user, "openai"), revealed(user, "mistral")) == (
        key_for("openai", 2),
        key_for("mistral", 3),
    )
    with refused("key_unreadable", 500):
        revealed(user, "groq")
