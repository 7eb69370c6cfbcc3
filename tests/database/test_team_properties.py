"""Teams after any sequence of changes by anybody, compared with a model of dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.database.support import Caller, Connection, Refused, Transaction, new_user, owner, rolled_back
from tests.database.teams import ROLES
from tests.support import Stack

PEOPLE = 5
#: How many teams a user may own.
OWNED = 3
#: In place of a user's number.
ADMINISTRATOR = -1


@pytest.fixture(scope="module")
def connection(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


class Refusal(Exception):  # noqa: N818 - an expected outcome, not an error
    """The model refuses a call with this code."""


@dataclass
class Person:
    """An account: whether it exists, and how it is restricted. A deleted one may keep its row (soft)."""

    deleted: bool = False
    soft: bool = False
    banned: bool = False
    suspended: bool = False
    default: int | None = None


@dataclass
class Invitation:
    team: int
    role: str
    by: int
    to: int | None


@dataclass
class Model:
    """What teams, members and invitations should be. Teams map members to roles, in the order of joining."""

    people: list[Person] = field(default_factory=lambda: [Person() for _ in range(PEOPLE)])
    teams: dict[int, dict[int, str]] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    invitations: dict[int, Invitation] = field(default_factory=dict)

    # Accounts

    def exists(self, who: int) -> bool:
        return not self.people[who].deleted and not self.people[who].soft

    def can_act(self, who: int) -> bool:
        return self.exists(who) and not self.people[who].banned

    def require_session(self, who: int) -> None:
        if who == ADMINISTRATOR:
            return
        if not self.exists(who):
            raise Refusal("not_signed_in")
        self.refuse_account(who)

    def refuse_account(self, who: int) -> None:
        if self.people[who].banned:
            raise Refusal("account_banned")
        if self.people[who].suspended:
            raise Refusal("account_suspended")

    # What follows when somebody leaves

    def leave(self, team: int, gone: list[int]) -> None:
        members = self.teams[team]
        for who in gone:
            members.pop(who, None)
            if self.people[who].default == team:
                self.people[who].default = None
        self.invitations = {
            number: it for number, it in self.invitations.items() if not (it.team == team and it.by in gone)
        }
        self.ensure_owner(team)

    def ensure_owner(self, team: int) -> None:
        members = self.teams[team]
        if any(role == "owner" and self.can_act(who) for who, role in members.items()):
            return
        left = [who for who in members if self.exists(who)]
        if not left:
            self.close(team)
            return
        order = list(members)
        best = min(left, key=lambda who: (not self.can_act(who), ROLES.index(members[who]), order.index(who)))
        members[best] = "owner"

    def close(self, team: int) -> None:
        for who in self.teams[team]:
            if self.people[who].default == team:
                self.people[who].default = None
        self.teams[team] = {}
        self.removed.add(team)
        self.invitations = {n: it for n, it in self.invitations.items() if it.team != team}

    def lock(self, team: int) -> None:
        if team in self.removed:
            return
        if gone := [who for who in self.teams[team] if not self.exists(who)]:
            self.leave(team, gone)
        if team not in self.removed and "owner" not in self.teams[team].values():
            self.ensure_owner(team)

    # Access

    def access(self, team: int, who: int, allowed: tuple[str, ...]) -> str:
        role = "owner" if who == ADMINISTRATOR else self.teams[team].get(who)
        if team in self.removed or role is None:
            raise Refusal("team_not_found")
        if role not in allowed:
            raise Refusal("team_role_required")
        return role

    def open(self, team: int, who: int, allowed: tuple[str, ...]) -> str:
        self.access(team, who, ROLES)
        self.lock(team)
        return self.access(team, who, allowed)

    def require_other_owner(self, team: int, who: int) -> None:
        if not any(
            role == "owner" and other != who and self.can_act(other)
            for other, role in self.teams[team].items()
        ):
            raise Refusal("last_owner")

    def join(self, team: int, who: int, role: str) -> None:
        self.refuse_account(who)
        first = not any(who in members for members in self.teams.values())
        self.teams[team][who] = role
        if first and self.people[who].default is None:
            self.people[who].default = team

    # Calls

    def create(self, who: int) -> None:
        self.require_session(who)
        if sum(members.get(who) == "owner" for members in self.teams.values()) >= OWNED:
            raise Refusal("too_many_teams")
        team = len(self.teams)
        self.teams[team] = {}
        self.join(team, who, "owner")

    def invite(self, who: int, team: int, role: str, to: int | None) -> None:
        self.require_session(who)
        mine = self.open(team, who, ("owner", "admin"))
        if role == "owner" and mine != "owner":
            raise Refusal("team_role_required")
        if to is not None:
            self.invitations = {
                n: it for n, it in self.invitations.items() if not (it.team == team and it.to == to)
            }

    def accept(self, who: int, number: int) -> None:
        self.require_session(who)
        for _ in range(2):
            found = self.invitations.get(number)
            if found is None or found.to not in (None, who):
                raise Refusal("invitation_invalid")
            self.lock(found.team)
        assert found is not None
        if who in self.teams[found.team]:
            raise Refusal("already_member")
        del self.invitations[number]
        self.join(found.team, who, found.role)

    def set_role(self, who: int, team: int, other: int, role: str) -> None:
        self.require_session(who)
        mine = self.open(team, who, ("owner", "admin"))
        old = self.teams[team].get(other)
        if "owner" in (role, old) and mine != "owner":
            raise Refusal("team_role_required")
        if old is None:
            if who != ADMINISTRATOR:
                raise Refusal("member_not_found")
            if not self.exists(other):
                raise Refusal("unknown_user")
            self.join(team, other, role)
        elif old != role:
            if old == "owner":
                self.require_other_owner(team, other)
            self.teams[team][other] = role
            self.invitations = {
                n: it
                for n, it in self.invitations.items()
                if not (it.team == team and it.by == other and (role == "member" or it.role > role))
            }

    def remove(self, who: int, team: int, other: int) -> None:
        self.require_session(who)
        mine = self.open(team, who, ROLES if who == other else ("owner", "admin"))
        role = self.teams[team].get(other)
        if role is None:
            raise Refusal("member_not_found")
        if role == "owner":
            if mine != "owner":
                raise Refusal("team_role_required")
            self.require_other_owner(team, other)
        self.leave(team, [other])

    def remove_team(self, who: int, team: int) -> None:
        self.require_session(who)
        self.access(team, who, ("owner",))
        self.open(team, who, ("owner",))
        self.close(team)

    def suspend(self, other: int, suspended: bool) -> None:
        if not self.exists(other):
            raise Refusal("unknown_user")
        if suspended and not self.people[other].suspended:
            self.leave_all(other)
        self.people[other].suspended = suspended

    def leave_all(self, other: int) -> None:
        for team in [team for team, members in self.teams.items() if other in members]:
            self.leave(team, [other])


@dataclass
class World:
    """The model beside the database: each step is a call of both, with the same result."""

    tx: Transaction
    model: Model = field(default_factory=Model)
    callers: list[Caller] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    accepted_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tx.admin.rpc("set_llm_operator_settings", p_changes={"teams_per_user": OWNED})
        self.callers = [new_user(self.tx) for _ in range(PEOPLE)]
        self.tx.sql(
            "update auth.users set email_confirmed_at = now() where id = any(%s::uuid[])",
            [it.id for it in self.callers],
        )

    def caller(self, who: int) -> Caller:
        return self.tx.admin if who == ADMINISTRATOR else self.callers[who]

    def both(self, who: int, function: str, step: Any, **arguments: Any) -> Any:
        """Run a step of the model and a call. Return the call's result, or None if both refuse it alike."""
        before = copy.deepcopy(self.model)
        try:
            step()
        except Refusal as refusal:
            expected = str(refusal)
            self.model = before
        else:
            expected = "ok"
        result, found = None, "ok"
        try:
            result = self.caller(who).rpc(function, **arguments)
        except Refused as refused:
            found = refused.code
        assert found == expected, (who, function)
        return result

    def team(self, number: int) -> int | None:
        return number % len(self.ids) if self.ids else None

    # Steps

    def create(self, who: int) -> None:
        if made := self.both(who, "create_llm_team", lambda: self.model.create(who), p_name="t"):
            self.ids.append(made["id"])

    def invite(self, who: int, team: int, role: str, to: int | None) -> None:
        if (number := self.team(team)) is None:
            return
        made = self.both(
            who,
            "create_llm_team_invitation",
            lambda: self.model.invite(who, number, role, to),
            p_team_id=self.ids[number],
            p_role=role,
            p_email=None if to is None else f"{self.callers[to].id}@Example.com",
        )
        if made:
            self.model.invitations[len(self.accepted_by)] = Invitation(number, role, who, to)
            self.accepted_by.append(made["token"] or made["id"])

    def accept(self, who: int, number: int) -> None:
        if self.accepted_by:
            # Mostly one of the last, because the others are used up.
            number = max(len(self.accepted_by) - 1 - number, 0)
            self.both(
                who,
                "accept_llm_team_invitation",
                lambda: self.model.accept(who, number),
                p_invitation=self.accepted_by[number],
            )

    def set_role(self, who: int, team: int, other: int, role: str) -> None:
        if (number := self.team(team)) is not None:
            self.both(
                who,
                "set_llm_team_member",
                lambda: self.model.set_role(who, number, other, role),
                p_team_id=self.ids[number],
                p_user_id=self.callers[other].id,
                p_role=role,
            )

    def remove(self, who: int, team: int, other: int) -> None:
        if (number := self.team(team)) is not None:
            self.both(
                who,
                "remove_llm_team_member",
                lambda: self.model.remove(who, number, other),
                p_team_id=self.ids[number],
                p_user_id=self.callers[other].id,
            )

    def leave(self, who: int, team: int) -> None:
        self.remove(who, team, who)

    def remove_team(self, who: int, team: int) -> None:
        if (number := self.team(team)) is not None:
            self.both(
                who,
                "remove_llm_team",
                lambda: self.model.remove_team(who, number),
                p_team_id=self.ids[number],
            )

    def suspend(self, other: int, suspended: bool) -> None:
        self.both(
            ADMINISTRATOR,
            "set_llm_user_suspended",
            lambda: self.model.suspend(other, suspended),
            p_user_id=self.callers[other].id,
            p_suspended=suspended,
        )

    def ban(self, other: int, banned: bool) -> None:
        until = "now() + interval '1 hour'" if banned else "null"
        self.tx.sql(f"update auth.users set banned_until = {until} where id = %s", self.callers[other].id)
        self.model.people[other].banned = banned

    def delete(self, other: int) -> None:
        self.tx.sql("delete from auth.users where id = %s", self.callers[other].id)
        self.model.people[other].deleted = True
        self.model.leave_all(other)

    def delete_softly(self, other: int) -> None:
        if not self.model.people[other].deleted:
            self.tx.sql("update auth.users set deleted_at = now() where id = %s", self.callers[other].id)
            self.model.people[other].soft = True

    def change(self, who: int, team: int) -> None:
        if (number := self.team(team)) is None:
            return

        def step() -> None:
            self.model.require_session(who)
            self.model.open(number, who, ("owner", "admin"))

        changes = {"name": f"t{len(self.accepted_by)}"}
        self.both(who, "set_llm_team", step, p_team_id=self.ids[number], p_changes=changes)

    # Comparison

    def check(self) -> None:
        """Compare all rows with the model."""
        members: dict[str, dict[str, str]] = {id_: {} for id_ in self.ids}
        for row in self.tx.sql(
            "select * from llm_private.team_members where team_id = any(%s::uuid[])", self.ids
        ):
            members[str(row["team_id"])][str(row["user_id"])] = row["role"]
        numbers = {it.id: number for number, it in enumerate(self.callers)}
        assert {
            number: {numbers[who]: role for who, role in members[id_].items()}
            for number, id_ in enumerate(self.ids)
        } == self.model.teams
        removed = self.tx.sql(
            "select id from llm_private.teams where removed_at is not null and id = any(%s::uuid[])", self.ids
        )
        assert {self.ids.index(str(row["id"])) for row in removed} == self.model.removed
        (open_,) = self.tx.sql(
            "select count(*) as n from llm_private.team_invitations where team_id = any(%s::uuid[])", self.ids
        )
        assert open_["n"] == len(self.model.invitations)
        defaults = self.tx.sql(
            "select user_id, default_team from public.user_llm_settings where user_id = any(%s::uuid[])",
            [it.id for it in self.callers],
        )
        for row in defaults:
            default = self.model.people[numbers[str(row["user_id"])]].default
            assert str(row["default_team"]) == ("None" if default is None else self.ids[default])
        for number, people in self.model.teams.items():
            for who, role in people.items():
                if self.model.exists(who):
                    seen = self.callers[who].rpc("get_llm_team", p_team_id=self.ids[number])
                    assert (seen["role"], seen["members"]) == (role, sum(map(self.model.exists, people)))


WHO = st.integers(0, PEOPLE - 1)
#: Mostly the first users, so that the same people meet again.
ACTOR = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, ADMINISTRATOR])
USER = st.sampled_from([0, 0, 1, 1, 2, 3, 4])
TEAM = st.integers(0, 2)
ROLE = st.sampled_from(ROLES)
STEPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "create": {"who": USER},
    "invite": {"who": ACTOR, "team": TEAM, "role": ROLE, "to": st.none() | WHO},
    "accept": {"who": WHO, "number": st.sampled_from([0, 0, 0, 1, 2, 5])},
    "set_role": {"who": ACTOR, "team": TEAM, "other": WHO, "role": ROLE},
    "remove": {"who": ACTOR, "team": TEAM, "other": WHO},
    "leave": {"who": WHO, "team": TEAM},
    "remove_team": {"who": ACTOR, "team": TEAM},
    "suspend": {"other": WHO, "suspended": st.booleans()},
    "ban": {"other": WHO, "banned": st.booleans()},
    "delete": {"other": WHO},
    "delete_softly": {"other": WHO},
    "change": {"who": ACTOR, "team": TEAM},
}
OFTEN = {
    "create": 2,
    "invite": 8,
    "accept": 10,
    "set_role": 6,
    "remove": 3,
    "leave": 3,
    "suspend": 2,
    "ban": 2,
}
STEP = st.one_of(
    [
        st.tuples(st.just(name), st.fixed_dictionaries(arguments))
        for name, arguments in STEPS.items()
        for _ in range(OFTEN.get(name, 1))
    ]
)


@given(steps=st.lists(STEP, min_size=20, max_size=50))
@settings(
    max_examples=60,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_teams_match_the_model_after_any_sequence_of_changes(
    connection: Connection, steps: list[tuple[str, dict[str, Any]]]
) -> None:
    with rolled_back(connection) as tx:
        world = World(tx)
        for name, arguments in [("create", {"who": 0}), *steps]:
            getattr(world, name)(**arguments)
            world.check()
