"""Team keys: who may list, store, revoke and check them, and that nobody reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused, runtime_user
from tests.database.test_team_route import Team
from tests.support import key_for

READERS = {"owner", "admin", "member"}
MANAGERS = {"owner", "admin"}

OPERATIONS: dict[str, tuple[set[str], Callable[[Caller, str], Any]]] = {
    "list": (READERS, lambda who, team: who.rpc("list_llm_team_keys", p_team_id=team)),
    "store": (
        MANAGERS,
        lambda who, team: who.rpc("set_llm_team_key", team_id=team, provider="groq", key=key_for("groq", 1)),
    ),
    "revoke": (
        MANAGERS,
        lambda who, team: who.rpc("remove_llm_team_key", p_team_id=team, p_provider="openai"),
    ),
    "check": (MANAGERS, lambda who, team: who.rpc("begin_llm_key_check", team_id=team, provider="openai")),
}


@pytest.fixture
def team(tx: Transaction) -> Team:
    """A team with a key for OpenAI; its owner uses a runtime."""
    team = Team(tx, runtime_user(tx))
    team.holds_key("openai", 71)
    return team


def people(tx: Transaction, team: Team) -> dict[str, Caller]:
    found = {"owner": team.owner}
    for role in ("admin", "member"):
        found[role] = new_user(tx).through(team.owner.runtime)
        team.joined_by(found[role], role)
    found["stranger"] = new_user(tx).through(team.owner.runtime)
    return found


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_role_may_do_what_the_table_says(tx: Transaction, team: Team, name: str) -> None:
    may, operation = OPERATIONS[name]
    other = Team(tx, new_user(tx))
    for role, caller in people(tx, team).items():
        if role in may:
            tx.sql("savepoint before")
            operation(caller, team.id)
            tx.sql("rollback to before")
        else:
            with refused("team_not_found" if role == "stranger" else "team_role_required"):
                operation(caller, team.id)
        # Another team's ids serve nobody, whatever their role in their own team.
        with refused("team_not_found"):
            operation(caller, other.id)


def test_only_a_runtime_gets_a_key_to_check_it(tx: Transaction, team: Team) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
    with refused("runtime_required"):
        team.owner.through(None).rpc("begin_llm_key_check", team_id=team.id, provider="openai")
    begun = team.owner.rpc("begin_llm_key_check", team_id=team.id, provider="openai")
    assert begun["key"] == key_for("openai", 71)
    checked = team.owner.rpc("record_llm_key_check", p_check_id=begun["check_id"], p_result="works")
    assert checked["status"] == "working"


def test_nobody_reveals_a_key_of_a_team(tx: Transaction, team: Team) -> None:
    for caller in people(tx, team).values():
        with refused("key_not_found"):
            caller.rpc("reveal_llm_key", p_provider="openai")
        assert caller.rpc("list_llm_keys") == []


def test_a_check_ends_with_the_role(tx: Transaction, team: Team) -> None:
    admin = people(tx, team)["admin"]
    begun = admin.once("begin_llm_key_check", team_id=team.id, provider="openai")
    tx.commit_grants()
    tx.sql("update llm_private.team_members set role = 'member' where user_id = %s", admin.id)
    with refused("team_role_required"):
        admin.once("begin_llm_key_check", check_id=begun["check_id"])


def test_a_removed_team_has_no_key(tx: Transaction, team: Team) -> None:
    team.owner.rpc("remove_llm_team", p_team_id=team.id)
    left = "select count(*) from llm_private.key_owners where id = %s"
    assert tx.value(left, team.id) == 0
    with refused("team_not_found"):
        team.holds_key("openai", 72)
