"""A team with a member of each role, and the callers around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.database.support import Caller, Http, Transaction, new_user

ROLES = ("owner", "admin", "member")


@dataclass(frozen=True)
class TeamScene:
    """A team with two members of each role, so that any one of them may leave.

    Attributes:
        team: the team's id.
        people: callers by name: two of each role, and others.
        invitation: the id of an open invitation to nobody's address.
        other: the id of a team with other people.
        others: the owner of the other team.
        others_invitation: the id of an invitation to the other team.
    """

    world: Http | Transaction
    team: str
    people: Mapping[str, Caller]
    invitation: str
    other: str
    others: Caller
    others_invitation: str


def makes_team(user: Caller, name: str = "A team") -> str:
    """Create a team that the user owns, and return its id."""
    return str(user.rpc("create_llm_team", p_name=name)["id"])


def joins(owner: Caller, team: str, user: Caller, role: str = "member") -> None:
    """Let a user join a team by an invitation of its owner."""
    token = invites(owner, team, role)["token"]
    user.rpc("accept_llm_team_invitation", p_invitation=token)


def invites(user: Caller, team: str, role: str = "member", **more: Any) -> dict[str, Any]:
    """Create an invitation, and return it."""
    made = user.rpc("create_llm_team_invitation", p_team_id=team, p_role=role, **more)
    assert isinstance(made, dict)
    return made


def roles(user: Caller, team: str) -> dict[str, str]:
    """Return the members of a team with their roles, as this user sees them."""
    return {it["user_id"]: it["role"] for it in user.rpc("list_llm_team_members", p_team_id=team)}


def suspends(world: Http | Transaction, user: Caller, suspended: bool = True) -> None:
    world.admin.rpc("set_llm_user_suspended", p_user_id=user.id, p_suspended=suspended)


def team_scene(world: Http | Transaction) -> TeamScene:
    """Build a scene of teams."""
    people = {f"{role} {number}": new_user(world) for role in ROLES for number in (1, 2)}
    team = makes_team(people["owner 1"])
    for name, user in people.items():
        if name != "owner 1":
            joins(people["owner 1"], team, user, name.split()[0])
    suspended, stranger, others = (new_user(world) for _ in range(3))
    joins(people["owner 1"], team, suspended, "admin")
    suspends(world, suspended)
    other = makes_team(others)
    return TeamScene(
        world,
        team,
        {
            **people,
            "suspended": suspended,
            "stranger": stranger,
            "owner of another team": others,
            "anon": world.anon,
            "administrator": world.admin,
        },
        invites(people["owner 1"], team, p_email="nobody@teams.example")["id"],
        other,
        others,
        invites(others, other, p_email="nobody@teams.example")["id"],
    )
