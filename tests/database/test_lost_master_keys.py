"""Master keys: a lost one is a clear state, and no second one is made beside keys that can be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused
from tests.support import key_for

LOSSES = {
    "missing": "delete from vault.secrets where id in (select vault_secret_id from llm_private.master_keys)",
    "replaced by hand": "select vault.update_secret(vault_secret_id, 'another') from llm_private.master_keys",
}


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def keys_of(user: Caller) -> dict[str, str]:
    return {key["provider"]: key["status"] for key in user.rpc("list_llm_keys")}


def key_problems(tx: Transaction) -> list[tuple[str, str]]:
    return [
        (it["code"], it["subject"])
        for it in tx.admin.rpc("list_llm_problems")
        if it["code"].startswith(("master_key", "keys_unreadable"))
    ]


def skipped(user: Caller, provider: str) -> str:
    route = user.rpc("explain_llm_route")
    return next(str(it["reason"]) for it in route["skipped"] if it["provider"] == provider)


def last_entry(tx: Transaction) -> tuple[str, Any]:
    entry = tx.admin.rpc("get_llm_audit_log", p_limit=1)[0]
    return entry["action"], {name: value for name, value in entry["detail"].items() if name != "by"}


@pytest.mark.parametrize("how", LOSSES)
def test_without_its_master_key_nothing_is_stored_or_read(tx: Transaction, user: Caller, how: str) -> None:
    user.holds_key("groq")
    tx.sql(LOSSES[how])
    for function, arguments in (
        ("reveal_llm_key", {"p_provider": "groq"}),
        ("resolve_llm_route", {}),
        ("begin_llm_key_check", {"provider": "groq"}),
        ("set_llm_key", {"provider": "groq", "key": key_for("groq", 8)}),
    ):
        with refused("master_key_missing", 500) as error:
            user.rpc(function, **arguments)
        assert "docs/backup.md" in error.value.hint
    code = "master_key_missing" if how == "missing" else "master_key_unreadable"
    newest = tx.value("select max(id) from llm_private.master_keys")
    assert key_problems(tx) == [(code, f"master key {newest}")]
    assert keys_of(user) == {"groq": "untested"}


def test_a_master_key_that_is_not_lost_is_not_replaced(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    before = tx.value("select count(*) from llm_private.master_keys")
    with refused("master_key_usable", 409):
        tx.admin.rpc("replace_llm_master_key")
    # Damage to a stored key is no loss of the master key.
    tx.sql("update llm_private.key_secrets set ciphertext = '' where owner_id = %s", user.id)
    with refused("master_key_usable", 409):
        tx.admin.rpc("replace_llm_master_key")
    assert tx.value("select count(*) from llm_private.master_keys") == before


@pytest.mark.parametrize("how", LOSSES)
def test_after_a_replacement_users_store_their_keys_again(tx: Transaction, user: Caller, how: str) -> None:
    user.holds_key("groq")
    user.holds_key("mistral")
    other = new_user(tx)
    other.holds_key("openai")
    before = tx.value("select count(*) from llm_private.key_secrets")
    tx.sql(LOSSES[how])

    assert tx.admin.rpc("replace_llm_master_key") == {"unreadable_keys": before}
    action, detail = last_entry(tx)
    assert (action, detail["unreadable_keys"]) == ("master_key_replaced", before)
    assert keys_of(user) == {"groq": "unreadable", "mistral": "unreadable"}
    assert keys_of(other) == {"openai": "unreadable"}
    assert skipped(user, "groq") == "key_unreadable"
    with refused("no_usable_key", 422) as error:
        user.rpc("resolve_llm_route")
    assert "Groq was lost. Store it again." in error.value.hint
    with refused("master_key_missing", 500):
        user.rpc("reveal_llm_key", p_provider="groq")
    assert key_problems(tx) == []

    user.holds_key("groq")
    assert keys_of(user) == {"groq": "untested", "mistral": "unreadable"}
    assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq")
    assert user.rpc("resolve_llm_route")["candidates"][0]["key"] == key_for("groq")
    # The new one is in use.
    with refused("master_key_usable", 409):
        tx.admin.rpc("replace_llm_master_key")


def test_a_master_key_that_turns_up_makes_its_keys_readable_again(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    user.holds_key("mistral")
    exported = tx.value("select llm_private.export_master_keys()")
    tx.sql(LOSSES["missing"])
    count = tx.admin.rpc("replace_llm_master_key")["unreadable_keys"]
    user.holds_key("mistral")
    with refused("master_key_missing", 500), tx.as_owner():
        tx.sql("select llm_private.export_master_keys()")

    imported = tx.value("select llm_private.import_master_keys(%s)", f"\n{exported}\r\n")
    assert imported == {"imported": 1, "readable_keys": count - 1}
    assert last_entry(tx) == ("master_keys_imported", imported)
    assert keys_of(user) == {"groq": "untested", "mistral": "untested"}
    both = tx.value("select llm_private.export_master_keys()").split("\n")
    assert both[0] == exported
    assert len(set(both)) == 2
    again = tx.value("select llm_private.import_master_keys(%s)", "\n".join(both))
    assert again == {"imported": 0, "readable_keys": 0}
    assert key_problems(tx) == []


def test_a_secret_that_encrypted_nothing_is_not_imported(tx: Transaction) -> None:
    tx.sql(LOSSES["missing"])
    before = tx.value("select count(*) from vault.secrets")
    with refused("master_key_unknown", 422) as error, tx.as_owner():
        tx.sql("select llm_private.import_master_keys('sk-something-else')")
    assert "sk-something-else" not in error.value.raw
    assert tx.value("select count(*) from vault.secrets") == before


def test_a_project_in_use_is_not_prepared_for_a_restore(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    with refused("project_in_use", 409), tx.as_owner():
        tx.sql("select llm_private.prepare_restore()")
    assert keys_of(user) == {"groq": "untested"}
    assert key_problems(tx) == []


@pytest.mark.parametrize("function", ["export_master_keys", "import_master_keys", "prepare_restore"])
def test_only_the_owner_handles_master_keys(tx: Transaction, user: Caller, function: str) -> None:
    argument = "'x'" if function.startswith("import") else ""
    for caller in (tx.anon, user, tx.admin):
        with refused("42501"), tx.as_role(caller) as connection:
            connection.execute(f"select llm_private.{function}({argument})".encode())
