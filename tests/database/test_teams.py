"""Teams: who may do what to one, invitations, owners, and what ends a membership."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.database.support import Caller, Http, Refused, Transaction, new_user, owner, refused
from tests.database.surface import RPCS
from tests.database.teams import ROLES, TeamScene, invites, joins, makes_team, roles, suspends, team_scene
from tests.support import Stack

NOBODY = "0198a000-0000-7000-8000-000000000001"


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


def outcome(caller: Caller, function: str, arguments: Mapping[str, Any]) -> str:
    """Return "ok", or the code of the refusal."""
    try:
        caller.rpc(function, **arguments)
    except Refused as error:
        return error.code
    return "ok"


def entries(caller: Caller, team: str, **only: Any) -> list[dict[str, Any]]:
    log = caller.rpc("get_llm_audit_log", p_team_id=team, p_limit=500, **only)
    assert isinstance(log, list)
    return log


# Every RPC as every role ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """A call, and the roles that may make it. Another member gets `team_role_required`."""

    function: str
    arguments: Callable[[TeamScene], Mapping[str, Any]]
    may: tuple[str, ...]
    reads: bool = False


def of_team(**more: Any) -> Callable[[TeamScene], Mapping[str, Any]]:
    return lambda scene: {"p_team_id": scene.team, **more}


def of_member(name: str, **more: Any) -> Callable[[TeamScene], Mapping[str, Any]]:
    return lambda scene: {"p_team_id": scene.team, "p_user_id": scene.people[name].id, **more}


MANAGERS = ("owner", "admin", "administrator")
OWNERS = ("owner", "administrator")
MEMBERS = (*ROLES, "administrator")
OPERATIONS: Mapping[str, Operation] = {
    "see the team": Operation("get_llm_team", of_team(), MEMBERS, reads=True),
    "see its members": Operation("list_llm_team_members", of_team(), MEMBERS, reads=True),
    "see its invitations": Operation("list_llm_team_invitations", of_team(), MANAGERS, reads=True),
    "see its log": Operation("get_llm_audit_log", of_team(), MANAGERS, reads=True),
    "verify its log": Operation("verify_llm_audit_log", of_team(), MANAGERS, reads=True),
    "change it": Operation("set_llm_team", of_team(p_changes={"name": "New"}), MANAGERS),
    "remove it": Operation("remove_llm_team", of_team(), OWNERS),
    "make a member an admin": Operation(
        "set_llm_team_member", of_member("member 2", p_role="admin"), MANAGERS
    ),
    "make an admin a member": Operation(
        "set_llm_team_member", of_member("admin 2", p_role="member"), MANAGERS
    ),
    "make a member an owner": Operation("set_llm_team_member", of_member("member 2", p_role="owner"), OWNERS),
    "make an owner a member": Operation("set_llm_team_member", of_member("owner 2", p_role="member"), OWNERS),
    "remove a member": Operation("remove_llm_team_member", of_member("member 2"), MANAGERS),
    "remove an admin": Operation("remove_llm_team_member", of_member("admin 2"), MANAGERS),
    "remove an owner": Operation("remove_llm_team_member", of_member("owner 2"), OWNERS),
    "invite a member": Operation("create_llm_team_invitation", of_team(p_role="member"), MANAGERS),
    "invite an admin": Operation(
        "create_llm_team_invitation", of_team(p_role="admin", p_email="a@b.example"), MANAGERS
    ),
    "invite an owner": Operation("create_llm_team_invitation", of_team(p_role="owner"), OWNERS),
    "remove an invitation": Operation(
        "remove_llm_team_invitation",
        lambda scene: {"p_team_id": scene.team, "p_id": scene.invitation},
        MANAGERS,
    ),
}
CALLERS = (
    *(f"{role} 1" for role in ROLES),
    "suspended",
    "stranger",
    "owner of another team",
    "anon",
    "administrator",
)


def expected(operation: Operation, caller: str) -> str:
    role = caller.split()[0] if caller.endswith(" 1") else caller
    if role in operation.may:
        return "ok"
    if role == "anon":
        return "42501"
    if role == "suspended" and not operation.reads:
        return "account_suspended"
    return "team_role_required" if role in ROLES else "team_not_found"


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_role_may_do_what_the_table_says(tx: Transaction, name: str) -> None:
    scene, operation = team_scene(tx), OPERATIONS[name]
    arguments = operation.arguments(scene)
    for caller in CALLERS:
        tx.sql("savepoint before")
        found = outcome(scene.people[caller], operation.function, arguments)
        tx.sql("rollback to before")
        assert found == expected(operation, caller), caller


def test_the_operator_can_require_a_second_factor_to_manage_a_team(tx: Transaction) -> None:
    scene = team_scene(tx)
    required = {"keys_readable_by": "runtime", "require_second_factor": True}
    tx.admin.rpc("set_llm_operator_settings", p_changes=required)
    manager = scene.people["owner 1"]
    for name, operation in OPERATIONS.items():
        for caller, code in (
            (manager.with_claims(aal="aal2"), "ok"),
            (manager.with_claims(aal="aal1"), "second_factor_required"),
            (manager, "second_factor_unknown"),
            (tx.admin, "ok"),
            (scene.people["stranger"], "team_not_found"),
        ):
            tx.sql("savepoint before")
            found = outcome(caller, operation.function, operation.arguments(scene))
            tx.sql("rollback to before")
            see = operation.reads and code.startswith("second_factor")
            assert found == ("ok" if see else code), (name, code)
    leaver = scene.people["member 1"]
    leaver.rpc("remove_llm_team_member", p_team_id=scene.team, p_user_id=leaver.id)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_team_of_others_is_the_same_as_none(tx: Transaction, name: str) -> None:
    """Whatever the role in one's own team. The refusals are equal to the letter."""
    scene, operation = team_scene(tx), OPERATIONS[name]
    teams = (scene.other, NOBODY, *([None] if operation.function not in WITHOUT_TEAM else []))
    for caller in ("owner 1", "admin 1", "member 1", "stranger"):
        texts = set()
        for team in teams:
            with refused("team_not_found", 404) as error:
                scene.people[caller].rpc(
                    operation.function, **{**operation.arguments(scene), "p_team_id": team}
                )
            texts.add((error.value.message, error.value.hint))
        assert len(texts) == 1


#: Without a team, these are about the caller's own invitations and log.
WITHOUT_TEAM = {"list_llm_team_invitations", "get_llm_audit_log", "verify_llm_audit_log"}


def test_the_table_has_every_rpc_of_teams() -> None:
    """Those of keys are in test_team_keys.py, because administrators have no part in them."""
    of_teams = {name for name in RPCS if "_llm_team" in name and "_team_key" not in name}
    apart = {"list_llm_teams", "create_llm_team", "accept_llm_team_invitation"}
    assert of_teams - apart <= {it.function for it in OPERATIONS.values()}


def test_ids_of_another_team_do_not_serve_in_ones_own(tx: Transaction) -> None:
    scene = team_scene(tx)
    mine = {"p_team_id": scene.team}
    for name in ("owner 1", "admin 1", "administrator"):
        caller = scene.people[name]
        with refused("invitation_invalid", 404):
            caller.rpc("remove_llm_team_invitation", **mine, p_id=scene.others_invitation)
        with refused("member_not_found", 404):
            caller.rpc("remove_llm_team_member", **mine, p_user_id=scene.others.id)
        if name != "administrator":
            with refused("member_not_found", 404):
                caller.rpc("set_llm_team_member", **mine, p_user_id=scene.others.id, p_role="member")
    assert invites_of(scene.others, scene.other) == {scene.others_invitation}
    assert roles(scene.others, scene.other) == {scene.others.id: "owner"}


def invites_of(caller: Caller, team: str) -> set[str]:
    return {it["id"] for it in caller.rpc("list_llm_team_invitations", p_team_id=team)}


def test_a_refused_call_changes_nothing(tx: Transaction) -> None:
    scene = team_scene(tx)

    def contents() -> list[Any]:
        return [
            tx.sql(f"select * from llm_private.{table} order by 1, 2")
            for table in ("teams", "team_members", "team_invitations")
        ]

    before = contents()
    for operation in OPERATIONS.values():
        for caller in CALLERS:
            if expected(operation, caller) != "ok":
                outcome(scene.people[caller], operation.function, operation.arguments(scene))
    assert contents() == before


# Lists ----------------------------------------------------------------------------------------------


def test_users_see_their_own_teams_and_administrators_all(tx: Transaction) -> None:
    scene = team_scene(tx)
    first = scene.people["owner 1"]
    (seen,) = first.rpc("list_llm_teams")
    assert (seen["id"], seen["role"], seen["members"], seen["is_default"]) == (scene.team, "owner", 6, True)
    assert sorted(seen["owners"]) == sorted(f"{scene.people[f'owner {n}'].id}@example.com" for n in (1, 2))
    for name in ("stranger", "suspended"):
        assert scene.people[name].rpc("list_llm_teams") == []
    newest = tx.admin.rpc("list_llm_teams", p_limit=2)
    assert [it["id"] for it in newest] == [scene.other, scene.team]
    assert {it["role"] for it in newest} == {None}
    assert tx.admin.rpc("list_llm_teams", p_limit=1, p_before=scene.other)[0]["id"] == scene.team
    assert tx.admin.rpc("get_llm_team", p_team_id=scene.team)["role"] is None


def test_members_are_listed_with_name_and_address_owners_first(tx: Transaction) -> None:
    scene = team_scene(tx)
    names = {
        "owner 2": {"full_name": "Ann"},
        "admin 1": {"name": "Ben"},
        "admin 2": {"full_name": "x" * 500},
        "member 1": {"full_name": {"not": "text"}},
    }
    for name, data in names.items():
        tx.sql(
            "update auth.users set raw_user_meta_data = %s::jsonb where id = %s",
            json.dumps(data),
            scene.people[name].id,
        )
    listed = scene.people["member 1"].rpc("list_llm_team_members", p_team_id=scene.team)
    assert [it["user_id"] for it in listed] == [scene.people[f"{r} {n}"].id for r in ROLES for n in (1, 2)]
    assert [it["name"] for it in listed][:4] == [None, "Ann", "Ben", "x" * 100]
    assert {it["email"] for it in listed} == {f"{it['user_id']}@example.com" for it in listed}


def test_a_removed_team_is_gone_for_everyone_but_keeps_its_log(tx: Transaction) -> None:
    scene = team_scene(tx)
    scene.people["owner 1"].rpc("remove_llm_team", p_team_id=scene.team)
    for name in ("owner 1", "member 1", "administrator"):
        with refused("team_not_found", 404):
            scene.people[name].rpc("get_llm_team", p_team_id=scene.team)
    assert scene.team not in [it["id"] for it in tx.admin.rpc("list_llm_teams")]
    assert tx.value("select count(*) from llm_private.team_members where team_id = %s", scene.team) == 0
    assert tx.value("select count(*) from llm_private.team_invitations where team_id = %s", scene.team) == 0
    assert tx.value("select name from llm_private.teams where id = %s", scene.team) == "A team"
    assert entries(tx.admin, scene.team)[0]["action"] == "team_removed"
    assert scene.people["member 1"].rpc("get_llm_settings")["default_team"] is None


# Creating -------------------------------------------------------------------------------------------


def test_the_first_team_becomes_the_default_one(tx: Transaction, user: Caller) -> None:
    assert user.rpc("get_llm_settings")["default_team"] is None
    first, second = makes_team(user), makes_team(user)
    assert user.rpc("get_llm_settings")["default_team"] == first
    assert {it["id"]: it["is_default"] for it in user.rpc("list_llm_teams")} == {first: True, second: False}
    user.rpc("set_llm_settings", p_changes={"default_team": None})
    makes_team(user)
    assert user.rpc("get_llm_settings")["default_team"] is None, "a choice of none is kept"


def test_leaving_the_default_team_resets_it(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    team = makes_team(other)
    joins(other, team, user)
    assert user.rpc("get_llm_settings")["default_team"] == team
    user.rpc("remove_llm_team_member", p_team_id=team, p_user_id=user.id)
    assert user.rpc("get_llm_settings")["default_team"] is None
    with refused("invalid_setting", 400):
        user.rpc("set_llm_settings", p_changes={"default_team": team})


def test_only_administrators_name_another_owner(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    with refused("invalid_argument", 400):
        user.rpc("create_llm_team", p_name="x", p_owner=other.id)
    assert user.rpc("create_llm_team", p_name="x", p_owner=user.id)["role"] == "owner"
    team = tx.admin.rpc("create_llm_team", p_name="x", p_owner=other.id)
    assert (team["role"], team["owners"]) == (None, [f"{other.id}@example.com"])
    assert roles(other, team["id"]) == {other.id: "owner"}
    for nobody in (NOBODY, None):
        with refused("unknown_user", 404):
            tx.admin.rpc("create_llm_team", p_name="x", p_owner=nobody)
    suspends(tx, user)
    with refused("account_suspended", 403):
        tx.admin.rpc("create_llm_team", p_name="x", p_owner=user.id)


def test_the_operator_may_keep_users_from_creating_teams(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"teams_created_by": "operator"})
    with refused("teams_created_by_operator", 403):
        makes_team(user)
    assert tx.admin.rpc("create_llm_team", p_name="x", p_owner=user.id)["members"] == 1


def test_a_user_owns_a_limited_number_of_teams(tx: Transaction, user: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"teams_per_user": 2})
    first, _ = makes_team(user), makes_team(user)
    with refused("too_many_teams", 429):
        makes_team(user)
    tx.admin.rpc("create_llm_team", p_name="x", p_owner=user.id)
    user.rpc("remove_llm_team", p_team_id=first)
    with refused("too_many_teams", 429):
        makes_team(user)
    tx.admin.rpc("set_llm_operator_settings", p_changes={"teams_per_user": 3})
    makes_team(user)


def test_a_user_creates_a_limited_number_of_teams_a_day(tx: Transaction, user: Caller) -> None:
    """Removed teams stay in the database, so the limit of teams is not enough."""
    tx.admin.rpc("set_llm_operator_settings", p_changes={"changes_per_day": 2})
    for _ in range(2):
        user.rpc("remove_llm_team", p_team_id=makes_team(user))
    with refused("too_many_changes", 429):
        makes_team(user)


def test_members_and_teams_are_limited(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    tx.sql(
        "with made as (insert into auth.users (id, email) select gen_random_uuid(), n || '@many.example'"
        " from generate_series(1, 999) as n returning id)"
        " insert into llm_private.team_members (team_id, user_id, role) select %s, id, 'member' from made",
        team,
    )
    token = invites(user, team)["token"]
    with refused("too_many_members", 429):
        new_user(tx).rpc("accept_llm_team_invitation", p_invitation=token)
    many = new_user(tx)
    tx.sql(
        "with made as ("
        "insert into llm_private.teams (name) select 't' from generate_series(1, 100) returning id)"
        " insert into llm_private.team_members (team_id, user_id, role) select id, %s, 'member' from made",
        many.id,
    )
    with refused("too_many_teams", 429):
        makes_team(many)


@pytest.mark.parametrize("name", ["", " ", "\t", "a\nb", "x" * 101, None])
def test_a_team_has_a_printable_name(tx: Transaction, user: Caller, name: str | None) -> None:
    with refused("invalid_argument", 400):
        user.rpc("create_llm_team", p_name=name)
    team = makes_team(user, "x" * 100)
    code = "invalid_argument" if name is not None else "invalid_setting"
    with refused(code, 400):
        user.rpc("set_llm_team", p_team_id=team, p_changes={"name": name})


# Changing -------------------------------------------------------------------------------------------


def test_a_teams_policy_is_validated_and_merged_like_settings(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)

    def change(**changes: Any) -> Any:
        return user.rpc("set_llm_team", p_team_id=team, p_changes=changes)

    change(
        allowed_providers={"groq": True, "openai": ["gpt-5.5"]},
        default_provider="groq",
        provider_preferences={"groq": {"priority": 1, "model": "m"}},
        task_overrides={"speed": {"provider": "groq"}},
        keys_first="member",
    )
    after = change(provider_preferences={"groq": {"model": None}, "openai": {"enabled": False}})
    assert after["provider_preferences"] == {"groq": {"priority": 1}, "openai": {"enabled": False}}
    assert after["allowed_providers"] == {"groq": True, "openai": ["gpt-5.5"]}
    assert (after["default_provider"], after["keys_first"], after["version"]) == ("groq", "member", 3)
    assert change(keys_first="member")["version"] == 3, "nothing changed"
    reset = change(allowed_providers=None, default_provider=None, task_overrides={"speed": None})
    assert (reset["allowed_providers"], reset["default_provider"], reset["task_overrides"]) == (
        None,
        None,
        {},
    )
    assert change(allowed_providers={})["allowed_providers"] == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"keys_first": "mine"}, "invalid_setting"),
        ({"keys_first": None}, "invalid_setting"),
        ({"allowed_providers": []}, "invalid_setting"),
        ({"allowed_providers": {"nobody": True}}, "unknown_setting"),
        ({"allowed_providers": {"groq": False}}, "invalid_setting"),
        ({"allowed_providers": {"groq": "m"}}, "invalid_setting"),
        ({"allowed_providers": {"groq": ["a b"]}}, "invalid_setting"),
        ({"allowed_providers": {"groq": [None]}}, "invalid_setting"),
        ({"allowed_providers": {"groq": ["m"] * 201}}, "invalid_setting"),
        ({"default_provider": "nobody"}, "invalid_setting"),
        ({"provider_preferences": {"groq": {"priority": -1}}}, "invalid_setting"),
        ({"task_overrides": {"speed": {"provider": "nobody"}}}, "invalid_setting"),
        ({"name": 7}, "invalid_setting"),
        ({"version": 7}, "unknown_setting"),
        ({"removed_at": None}, "unknown_setting"),
    ],
)
def test_an_invalid_policy_is_refused(tx: Transaction, user: Caller, changes: Any, code: str) -> None:
    team = makes_team(user)
    with refused(code, 400):
        user.rpc("set_llm_team", p_team_id=team, p_changes=changes)
    assert user.rpc("get_llm_team", p_team_id=team)["version"] == 1


def test_a_change_of_another_version_is_refused(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    change = {"p_team_id": team, "p_changes": {"name": "New"}}
    user.rpc("set_llm_team", **change, p_expected_version=1)
    with refused("settings_changed", 409):
        user.rpc("set_llm_team", **change, p_expected_version=1)


def test_the_version_of_the_teams_keys_counts_what_must_end_cached_routes(tx: Transaction) -> None:
    scene = team_scene(tx)
    first = scene.people["owner 1"]

    def version() -> int:
        return int(tx.value("select version from llm_private.key_owners where team_id = %s", scene.team))

    def grows(by: int, function: str, **arguments: Any) -> None:
        before = version()
        first.rpc(function, p_team_id=scene.team, **arguments)
        assert version() == before + by

    grows(1, "set_llm_team", p_changes={"default_provider": "groq"})
    grows(1, "remove_llm_team_member", p_user_id=scene.people["member 1"].id)
    grows(0, "set_llm_team", p_changes={"name": "New"})
    grows(0, "set_llm_team_member", p_user_id=scene.people["member 2"].id, p_role="admin")
    before = version()
    tx.sql("delete from auth.users where id = %s", scene.people["admin 1"].id)
    assert version() == before + 1
    first.rpc("remove_llm_team", p_team_id=scene.team)
    assert tx.sql("select from llm_private.key_owners where team_id = %s", scene.team) == []


# The audit log --------------------------------------------------------------------------------------


def test_each_change_is_in_the_teams_log_with_who_made_it(tx: Transaction) -> None:
    ann, ben, admin = new_user(tx), new_user(tx), new_user(tx)
    team = makes_team(ann)
    ann.rpc("set_llm_team", p_team_id=team, p_changes={"keys_first": "member"})
    joins(ann, team, ben)
    ann.rpc("set_llm_team_member", p_team_id=team, p_user_id=ben.id, p_role="admin")
    declined = invites(ben, team, p_email="x@y.example")
    ben.rpc("remove_llm_team_invitation", p_team_id=team, p_id=declined["id"])
    ben.rpc("remove_llm_team_member", p_team_id=team, p_user_id=ben.id)
    tx.admin.rpc("set_llm_team_member", p_team_id=team, p_user_id=admin.id, p_role="admin")
    log = [(it["action"], it["actor"], it["detail"]["by"]) for it in reversed(entries(ann, team))]
    administrator = {"role": "service_role"}
    assert log == [
        ("team_created", "user", ann.id),
        ("team_changed", "user", ann.id),
        ("team_invitation_created", "user", ann.id),
        ("team_member_added", "user", ben.id),
        ("team_role_set", "user", ann.id),
        ("team_invitation_created", "user", ben.id),
        ("team_invitation_removed", "user", ben.id),
        ("team_member_removed", "user", ben.id),
        ("team_member_added", "administrator", administrator),
    ]
    assert {it["action"] for it in entries(ann, team, p_by=ben.id)} == {
        it[0] for it in log if it[2] == ben.id
    }
    assert tx.admin.rpc("get_llm_audit_log")[0]["detail"]["team_id"] == team
    assert [it["action"] for it in ann.rpc("get_llm_audit_log")] == ["team_created"]
    assert [it["action"] for it in ben.rpc("get_llm_audit_log")] == ["team_joined"]
    assert "token" not in json.dumps([it["detail"] for it in entries(ann, team)], default=str)


def test_owners_and_admins_verify_the_teams_log(tx: Transaction) -> None:
    scene = team_scene(tx)
    for name in ("owner 1", "admin 1", "administrator"):
        verified = scene.people[name].rpc("verify_llm_audit_log", p_team_id=scene.team)
        assert (verified["logs"], verified["first_problem"]) == (1, None)
        assert verified["verified"] + verified["unsealed"] == len(entries(scene.people[name], scene.team))
    entry = str(entries(scene.people["owner 1"], scene.team)[0]["id"])
    tx.sql("update public.llm_audit_log set actor = 'nobody' where id = %s", entry)
    problem = scene.people["owner 1"].rpc("verify_llm_audit_log", p_team_id=scene.team)["first_problem"]
    assert (problem["user_id"], problem["kind"], problem["entry"]) == (scene.team, "changed", entry)
    assert scene.people["owner 1"].rpc("verify_llm_audit_log")["first_problem"] is None


def test_changes_of_a_team_are_limited_but_not_leaving(tx: Transaction) -> None:
    scene = team_scene(tx)
    first = scene.people["owner 1"]
    tx.admin.rpc("set_llm_operator_settings", p_changes={"changes_per_day": 1})
    with refused("too_many_changes", 429):
        invites(first, scene.team)
    first.rpc("set_llm_team", p_team_id=scene.team, p_changes={"name": "New"})
    with refused("too_many_changes", 429):
        first.rpc("set_llm_team", p_team_id=scene.team, p_changes={"name": "Newer"})
    for name in ("member 1", "member 2", "admin 1"):
        leaving = scene.people[name]
        leaving.rpc("remove_llm_team_member", p_team_id=scene.team, p_user_id=leaving.id)
    first.rpc("remove_llm_team_invitation", p_team_id=scene.team, p_id=scene.invitation)
    first.rpc("remove_llm_team", p_team_id=scene.team)


# Invitations ----------------------------------------------------------------------------------------


def accepts(user: Caller, invitation: str | None) -> Any:
    return user.rpc("accept_llm_team_invitation", p_invitation=invitation)


def confirmed(tx: Transaction, email: str, at: str | None = "now()") -> Caller:
    user = new_user(tx)
    tx.sql(
        f"update auth.users set email = %s, email_confirmed_at = {at or 'null'} where id = %s",
        email,
        user.id,
    )
    return user


def test_a_token_works_once(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    invitation = invites(user, team, "admin")
    guest = new_user(tx)
    joined = accepts(guest, invitation["token"])
    assert (joined["id"], joined["role"]) == (team, "admin")
    for caller in (guest, new_user(tx)):
        with refused("invitation_invalid", 404):
            accepts(caller, invitation["token"])
    assert invites_of(user, team) == set()


def test_invalid_invitations_are_refused_alike(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    removed, expired, with_token = (invites(user, team) for _ in range(3))
    addressed = invites(user, team, p_email="somebody@invited.example")
    user.rpc("remove_llm_team_invitation", p_team_id=team, p_id=removed["id"])
    tx.sql("update llm_private.team_invitations set expires_at = now() where id = %s", expired["id"])
    other = makes_team(user)
    of_removed_team = invites(user, other)
    user.rpc("remove_llm_team", p_team_id=other)
    guest, unconfirmed = new_user(tx), confirmed(tx, "somebody@invited.example", at=None)
    token = with_token["token"]
    texts = set()
    for caller, invitation in (
        (guest, removed["token"]),
        (guest, expired["token"]),
        (guest, of_removed_team["token"]),
        (guest, with_token["id"]),
        (guest, addressed["id"]),
        (unconfirmed, addressed["id"]),
        (guest, token[:-1]),
        (guest, token + "x"),
        (guest, token[:-1] + ("a" if token[-1] != "a" else "b")),
        (guest, "sli_"),
        (guest, ""),
        (guest, None),
        (guest, str(uuid.uuid4())),
        (guest, NOBODY),
        (guest, "%"),
    ):
        with refused("invitation_invalid", 404) as error:
            accepts(caller, invitation)
        texts.add((error.value.message, error.value.hint))
    assert len(texts) == 1
    assert accepts(guest, token)["id"] == team


@pytest.mark.parametrize("written", ["Some.Body@Invited.Example", "some.body@invited.example"])
def test_an_address_is_compared_without_its_case(tx: Transaction, user: Caller, written: str) -> None:
    team = makes_team(user)
    made = invites(user, team, p_email="sOmE.bOdY@invited.example")
    assert made["token"] is None
    guest = confirmed(tx, written)
    (seen,) = guest.rpc("list_llm_team_invitations")
    assert (seen["id"], seen["team_name"], seen["role"]) == (made["id"], "A team", "member")
    assert "token" not in seen
    assert accepts(guest, seen["id"])["id"] == team
    assert guest.rpc("list_llm_team_invitations") == []


def test_invitations_are_seen_by_the_confirmed_address_alone(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    made = invites(user, team, p_email="one@invited.example")
    unconfirmed = confirmed(tx, "one@invited.example", at=None)
    for other in (unconfirmed, confirmed(tx, "two@invited.example"), new_user(tx), user):
        assert other.rpc("list_llm_team_invitations") == []
    assert tx.admin.rpc("list_llm_team_invitations") == []
    with refused("team_not_found", 404):
        unconfirmed.rpc("remove_llm_team_invitation", p_team_id=team, p_id=made["id"])
    tx.sql("update auth.users set email_confirmed_at = now() where id = %s", unconfirmed.id)
    assert [it["id"] for it in unconfirmed.rpc("list_llm_team_invitations")] == [made["id"]]


def test_the_invited_user_can_decline(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    guest = confirmed(tx, "guest@invited.example")
    first, second = (invites(user, team, p_email=f"{name}@invited.example") for name in ("guest", "other"))
    with refused("team_not_found", 404):
        guest.rpc("remove_llm_team_invitation", p_team_id=team, p_id=second["id"])
    with refused("team_not_found", 404):
        guest.rpc("remove_llm_team_invitation", p_team_id=makes_team(new_user(tx)), p_id=first["id"])
    guest.rpc("remove_llm_team_invitation", p_team_id=team, p_id=first["id"])
    assert guest.rpc("list_llm_team_invitations") == []
    assert invites_of(user, team) == {second["id"]}
    assert entries(user, team)[0]["detail"]["by"] == guest.id


def test_a_second_invitation_of_an_address_replaces_the_first(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    guest = confirmed(tx, "guest@invited.example")
    first = invites(user, team, p_email="guest@invited.example")
    second = invites(user, team, "admin", p_email="Guest@invited.example")
    with refused("invitation_invalid", 404):
        accepts(guest, first["id"])
    assert accepts(guest, second["id"])["role"] == "admin"


def test_a_member_does_not_use_up_an_invitation(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    token = invites(user, team)["token"]
    with refused("already_member", 409):
        accepts(user, token)
    assert roles(user, team) == {user.id: "owner"}
    assert accepts(new_user(tx), token)["id"] == team


def test_whoever_leaves_takes_their_invitations_along(tx: Transaction) -> None:
    scene = team_scene(tx)
    admin, owner_ = scene.people["admin 1"], scene.people["owner 2"]
    tokens = {name: invites(scene.people[name], scene.team)["token"] for name in ("admin 1", "admin 2")}
    as_owner = invites(owner_, scene.team, "owner")["token"]
    admin.rpc("remove_llm_team_member", p_team_id=scene.team, p_user_id=admin.id)
    with refused("invitation_invalid", 404):
        accepts(admin, tokens["admin 1"])
    first = scene.people["owner 1"]
    first.rpc("set_llm_team_member", p_team_id=scene.team, p_user_id=owner_.id, p_role="admin")
    with refused("invitation_invalid", 404):
        accepts(new_user(tx), as_owner)
    accepts(new_user(tx), tokens["admin 2"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_role": "boss"},
        {"p_role": None},
        {"p_valid_hours": 0},
        {"p_valid_hours": 721},
        {"p_valid_hours": None},
        {"p_email": ""},
        {"p_email": "no address"},
        {"p_email": "a@b\n"},
        {"p_email": "a@b@c"},
        {"p_email": "@"},
    ],
    ids=str,
)
def test_an_invalid_invitation_is_not_made(tx: Transaction, user: Caller, wrong: dict[str, Any]) -> None:
    team = makes_team(user)
    with refused("invalid_argument", 400):
        user.rpc("create_llm_team_invitation", **{"p_team_id": team, **wrong})
    assert invites_of(user, team) == set()


def test_a_team_has_a_limited_number_of_open_invitations(tx: Transaction, user: Caller) -> None:
    team = makes_team(user)
    for number in range(100):
        invites(user, team, p_email=f"{number}@invited.example")
    with refused("too_many_invitations", 429):
        invites(user, team)
    invites(user, team, p_email="7@invited.example")
    tx.sql("update llm_private.team_invitations set expires_at = now() where email like '8%%'")
    invites(user, team)
    assert len(invites_of(user, team)) == 90
    tx.sql("update llm_private.team_invitations set expires_at = now() where team_id = %s", team)
    tx.admin.rpc("run_llm_maintenance")
    assert tx.value("select count(*) from llm_private.team_invitations where team_id = %s", team) == 0


def test_two_users_race_for_one_invitation(http: Http) -> None:
    first = new_user(http)
    team = makes_team(first)
    guests = [new_user(http) for _ in range(8)]
    token = invites(first, team)["token"]
    with ThreadPoolExecutor(8) as pool:
        arguments = {"p_invitation": token}
        found = Counter(
            pool.map(lambda guest: outcome(guest, "accept_llm_team_invitation", arguments), guests)
        )
    assert found == {"ok": 1, "invitation_invalid": 7}
    assert len(roles(first, team)) == 2


# Owners ---------------------------------------------------------------------------------------------


def leaves(user: Caller, team: str) -> None:
    user.rpc("remove_llm_team_member", p_team_id=team, p_user_id=user.id)


def test_the_last_owner_stays(tx: Transaction) -> None:
    ann, ben = new_user(tx), new_user(tx)
    team = makes_team(ann)
    of_ann = {"p_team_id": team, "p_user_id": ann.id}
    joins(ann, team, ben)
    for caller in (ann, tx.admin):
        with refused("last_owner", 409):
            caller.rpc("remove_llm_team_member", **of_ann)
        for role in ("admin", "member"):
            with refused("last_owner", 409):
                caller.rpc("set_llm_team_member", **of_ann, p_role=role)
    ann.rpc("set_llm_team_member", p_team_id=team, p_user_id=ben.id, p_role="owner")
    leaves(ann, team)
    assert roles(ben, team) == {ben.id: "owner"}
    with refused("last_owner", 409):
        leaves(ben, team)


@pytest.mark.parametrize("column", ["deleted_at", "banned_until"])
def test_an_owner_who_cannot_act_does_not_count(tx: Transaction, column: str) -> None:
    ann, ben = new_user(tx), new_user(tx)
    team = makes_team(ann)
    joins(ann, team, ben, "owner")
    tx.sql(f"update auth.users set {column} = now() + interval '1 hour' where id = %s", ben.id)
    with refused("last_owner", 409):
        leaves(ann, team)
    with refused("last_owner", 409):
        ann.rpc("set_llm_team_member", p_team_id=team, p_user_id=ann.id, p_role="member")
    if column == "banned_until":
        tx.sql("update auth.users set banned_until = now() where id = %s", ben.id)
        leaves(ann, team)


def test_two_owners_cannot_both_leave(http: Http) -> None:
    for _ in range(5):
        owners = [new_user(http), new_user(http)]
        team = makes_team(owners[0])
        joins(owners[0], team, owners[1], "owner")
        calls = [{"p_team_id": team, "p_user_id": it.id} for it in owners]
        with ThreadPoolExecutor(2) as pool:
            found = Counter(pool.map(outcome, owners, ["remove_llm_team_member"] * 2, calls))
        assert found == {"ok": 1, "last_owner": 1}


# Accounts that end ----------------------------------------------------------------------------------


def test_a_suspended_user_leaves_all_teams_and_the_oldest_admin_follows(tx: Transaction) -> None:
    ann, ben, cleo, dan = (new_user(tx) for _ in range(4))
    teams = [makes_team(ann), makes_team(ann)]
    for team in teams:
        joins(ann, team, ben)
        joins(ann, team, cleo, "admin")
        joins(ann, team, dan, "admin")
    suspends(tx, ann)
    for team in teams:
        assert roles(cleo, team) == {ben.id: "member", cleo.id: "owner", dan.id: "admin"}
        assert entries(cleo, team)[0]["detail"]["reason"] == "last_owner_left"
    alerts = [it for it in cleo.rpc("list_llm_alerts") if it["kind"] == "team_owner"]
    assert {it["detail"]["team_id"] for it in alerts} == set(teams)
    suspends(tx, ann, suspended=False)
    assert ann.rpc("list_llm_teams") == []
    with refused("last_owner", 409):
        leaves(cleo, teams[0])


@pytest.mark.parametrize("how", ["suspended", "deleted", "data removed"])
def test_whoever_has_been_there_longest_follows_the_last_owner(tx: Transaction, how: str) -> None:
    ann, ben, cleo = (new_user(tx) for _ in range(3))
    team, alone = makes_team(ann), makes_team(ann)
    joins(ann, team, ben)
    joins(ann, team, cleo)
    match how:
        case "suspended":
            suspends(tx, ann)
        case "deleted":
            tx.sql("delete from auth.users where id = %s", ann.id)
        case _:
            removed = tx.admin.rpc("remove_llm_user_data", p_user_id=ann.id)["removed"]
            assert removed["teams"] == 2
    assert roles(cleo, team) == {ben.id: "owner", cleo.id: "member"}
    assert tx.value("select removed_at is not null from llm_private.teams where id = %s", alone)
    reasons = [it["detail"].get("reason") for it in entries(ben, team)]
    assert reasons[0] == "last_owner_left"
    assert {"deleted": "account_deleted", "data removed": "data_removed"}.get(how, how) in reasons


def test_supabase_auth_deletes_a_user_of_many_teams(http: Http, stack: Stack) -> None:
    """It does so as a role that has no access to supa-llm."""
    ann, ben = new_user(http), new_user(http)
    teams = [makes_team(ann) for _ in range(3)]
    for team in teams:
        joins(ann, team, ben)
    deleted = http.client.delete(
        f"{stack.api_url}/auth/v1/admin/users/{ann.id}",
        headers={"apikey": stack.secret_key, "authorization": f"Bearer {stack.secret_key}"},
    )
    assert deleted.is_success, deleted.text
    assert [roles(ben, team) for team in teams] == [{ben.id: "owner"}] * 3


def test_deleting_all_members_at_once_removes_the_team(tx: Transaction) -> None:
    scene = team_scene(tx)
    members = [scene.people[f"{role} {number}"].id for role in ROLES for number in (1, 2)]
    tx.sql("delete from auth.users where id = any(%s::uuid[])", members)
    assert tx.value("select removed_at is not null from llm_private.teams where id = %s", scene.team)
    assert roles(scene.others, scene.other) == {scene.others.id: "owner"}


def test_a_failure_does_not_prevent_the_deletion_of_a_user(tx: Transaction) -> None:
    ann, ben = new_user(tx), new_user(tx)
    team = makes_team(ann)
    joins(ann, team, ben)
    tx.sql("alter table public.llm_alerts add constraint broken check (kind <> 'team_owner') not valid")
    tx.sql("delete from auth.users where id = %s", ann.id)
    assert roles(ben, team) == {ben.id: "member"}
    tx.sql("alter table public.llm_alerts drop constraint broken")
    # The next change makes up for it.
    ben.rpc("set_llm_team", p_team_id=team, p_changes={"name": "Ben's"})
    assert roles(ben, team) == {ben.id: "owner"}


def test_softly_deleted_members_are_gone(tx: Transaction) -> None:
    ann, ben = new_user(tx), new_user(tx)
    team = makes_team(ann)
    joins(ann, team, ben, "admin")
    tx.sql("update auth.users set deleted_at = now() where id = %s", ann.id)
    assert roles(ben, team) == {ben.id: "admin"}
    assert ben.rpc("get_llm_team", p_team_id=team)["members"] == 1
    ben.rpc("set_llm_team", p_team_id=team, p_changes={"name": "Ben's"})
    assert roles(ben, team) == {ben.id: "owner"}
    with refused("member_not_found", 404):
        ben.rpc("remove_llm_team_member", p_team_id=team, p_user_id=ann.id)


def test_a_banned_owner_stays_and_nobody_follows(tx: Transaction) -> None:
    """A ban may end. Until then, an administrator can name another owner."""
    ann, ben = new_user(tx), new_user(tx)
    team = makes_team(ann)
    joins(ann, team, ben, "admin")
    tx.sql("update auth.users set banned_until = now() + interval '1 hour' where id = %s", ann.id)
    with refused("account_banned", 403):
        ann.rpc("set_llm_team", p_team_id=team, p_changes={"name": "x"})
    ben.rpc("set_llm_team", p_team_id=team, p_changes={"name": "x"})
    assert roles(ben, team) == {ann.id: "owner", ben.id: "admin"}
    tx.admin.rpc("set_llm_team_member", p_team_id=team, p_user_id=ben.id, p_role="owner")
    tx.admin.rpc("remove_llm_team_member", p_team_id=team, p_user_id=ann.id)
    assert roles(ben, team) == {ben.id: "owner"}


def test_administrators_add_users_to_teams(tx: Transaction) -> None:
    scene, added = team_scene(tx), new_user(tx)
    adding = {"p_team_id": scene.team, "p_user_id": added.id, "p_role": "admin"}
    member = tx.admin.rpc("set_llm_team_member", **adding)
    assert (member["user_id"], member["role"]) == (added.id, "admin")
    assert added.rpc("get_llm_settings")["default_team"] == scene.team
    with refused("unknown_user", 404):
        tx.admin.rpc("set_llm_team_member", **{**adding, "p_user_id": NOBODY})
    with refused("account_suspended", 403):
        suspended = scene.people["suspended"].id
        tx.admin.rpc("set_llm_team_member", **{**adding, "p_user_id": suspended})


# Concurrency ----------------------------------------------------------------------------------------


#: What may happen to somebody whom others remove, suspend and delete at the same time.
FINE = {
    "ok",
    "account_suspended",
    "invalid_setting",
    "last_owner",
    "member_not_found",
    "not_signed_in",
    "team_not_found",
    "team_role_required",
    "unknown_user",
}


def test_changes_deletions_and_suspensions_at_once_do_not_deadlock(http: Http, stack: Stack) -> None:
    """Many people in the same two teams leave, join, are promoted, removed, suspended and deleted at once."""
    admin, keeper = http.admin, new_user(http)
    teams = [makes_team(keeper), makes_team(keeper)]
    people = [new_user(http) for _ in range(12)]
    for user in people:
        for team in teams:
            joins(keeper, team, user, "admin" if user in people[:6] else "member")
    failures: list[str] = []

    def deletes(user: Caller) -> str:
        try:
            with owner(stack) as connection:
                connection.execute("delete from auth.users where id = %s", [user.id])
        except Exception as error:
            return repr(error)
        return "ok"

    def acts(number: int) -> None:
        user, other = people[number % 12], people[(number * 5 + 1) % 12]
        team = teams[number % 2]
        of_other = {"p_team_id": team, "p_user_id": other.id}
        found = [
            lambda: outcome(user, "set_llm_settings", {"p_changes": {"default_team": team}}),
            lambda: outcome(keeper, "set_llm_team_member", {**of_other, "p_role": "owner"}),
            lambda: outcome(user, "remove_llm_team_member", {"p_team_id": team, "p_user_id": user.id}),
            lambda: outcome(keeper, "remove_llm_team_member", of_other),
            lambda: outcome(admin, "set_llm_user_suspended", {"p_user_id": other.id, "p_suspended": True}),
            lambda: deletes(other),
            lambda: outcome(user, "set_llm_team", {"p_team_id": team, "p_changes": {"name": str(number)}}),
        ][number % 7]()
        if found not in FINE:
            failures.append(found)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(acts, range(84)))
    assert failures == []
    for team in teams:
        assert roles(keeper, team)[keeper.id] == "owner"
    http.delete_user(keeper)
    with owner(stack) as connection:
        for team in teams:
            row = connection.execute(
                "select t.removed_at, count(m.user_id) as members,"
                " count(m.user_id) filter (where m.role = 'owner') as owners"
                " from llm_private.teams as t left join llm_private.team_members as m on m.team_id = t.id"
                " where t.id = %s group by t.id",
                [team],
            ).fetchone()
            assert row is not None
            assert (row["members"] == 0) == (row["removed_at"] is not None)
            assert (row["owners"] > 0) == (row["members"] > 0)
        for user in people:
            http.delete_user(user)


def test_a_stranger_does_not_reach_a_teams_lock(http: Http, stack: Stack) -> None:
    """Strangers are refused before the team is locked, so they neither hold it nor wait for it."""
    scene = team_scene(http)
    with owner(stack) as holder, holder.transaction():
        holder.execute("select from llm_private.teams where id = %s for update", [scene.team])
        for operation in OPERATIONS.values():
            found = outcome(scene.people["stranger"], operation.function, operation.arguments(scene))
            assert found == "team_not_found"
