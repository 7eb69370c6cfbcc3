"""Teams through the client, with users who signed in with Supabase Auth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from supa_llm import (
    Admin,
    AsyncSupaLLM,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    SupaLLM,
    SupaLLMError,
    TeamDetails,
)
from tests.support import Stack, User


@pytest.fixture
def ann(user: User) -> Iterator[SupaLLM]:
    with SupaLLM(user.client()) as llm:
        yield llm


@pytest.fixture
def guest(stack: Stack) -> User:
    return stack.sign_up()


@pytest.fixture
def ben(guest: User) -> Iterator[SupaLLM]:
    with SupaLLM(guest.client()) as llm:
        yield llm


@pytest.fixture
def admin(stack: Stack) -> Iterator[Admin]:
    with Admin(stack.api_url, stack.secret_key) as admin:
        yield admin


@pytest.fixture
def team(ann: SupaLLM) -> TeamDetails:
    return ann.teams.create_team("Research")


def test_a_team_is_made_joined_by_a_token_and_left(
    ann: SupaLLM, ben: SupaLLM, team: TeamDetails, user: User, guest: User
) -> None:
    assert (team.name, team.role, team.members, team.owners) == ("Research", "owner", 1, (user.email,))
    assert ann.get_settings().default_team == team.id
    invitation = ann.teams.create_invitation(team.id, "admin", valid_hours=1)
    assert invitation.token is not None
    assert invitation.token.reveal() not in repr(invitation)
    joined = ben.teams.accept_invitation(invitation.token)
    assert (joined.id, joined.role, joined.is_default) == (team.id, "admin", True)
    assert ben.get_settings().default_team == team.id, "the cached settings are dropped"
    assert [(it.email, it.role) for it in ben.teams.list_members(team.id)] == [
        (user.email, "owner"),
        (guest.email, "admin"),
    ]
    with pytest.raises(NotFoundError) as used:
        ben.teams.accept_invitation(invitation)
    assert used.value.code == "invitation_invalid"
    ben.teams.leave_team(str(team.id))
    assert ben.teams.list_teams() == []
    assert ben.get_settings().default_team is None
    assert [it.action for it in ann.teams.get_audit_log(team.id)] == [
        "team_member_removed",
        "team_member_added",
        "team_invitation_created",
        "team_created",
    ]
    verified = ann.teams.verify_audit_log(team.id)
    assert (verified.logs, verified.verified + verified.unsealed, verified.first_problem) == (1, 4, None)


def test_an_invitation_to_an_address_is_found_and_accepted(
    ann: SupaLLM, ben: SupaLLM, team: TeamDetails, guest: User
) -> None:
    made = ann.teams.create_invitation(team.id, email=guest.email.upper())
    assert made.token is None
    (found,) = ben.teams.list_invitations()
    assert (found.id, found.team_name, found.email) == (made.id, "Research", guest.email)
    assert ann.teams.list_invitations(team.id) == [found]
    assert ben.teams.accept_invitation(found).role == "member"
    assert ben.teams.list_invitations() == []


def test_an_invitation_can_be_declined_and_withdrawn(
    ann: SupaLLM, ben: SupaLLM, team: TeamDetails, guest: User
) -> None:
    first = ann.teams.create_invitation(team.id, email=guest.email)
    ben.teams.remove_invitation(first.team_id, first.id)
    second = ann.teams.create_invitation(team.id)
    ann.teams.remove_invitation(team.id, second.id)
    assert ann.teams.list_invitations(team.id) == []


def test_a_team_is_handed_over(ann: SupaLLM, ben: SupaLLM, team: TeamDetails, guest: User) -> None:
    ben.teams.accept_invitation(ann.teams.create_invitation(team.id))
    with pytest.raises(ConflictError) as last:
        ann.teams.leave_team(team.id)
    assert last.value.code == "last_owner"
    with pytest.raises(ForbiddenError) as forbidden:
        ben.teams.set_team(team.id, name="Ben's")
    assert forbidden.value.code == "team_role_required"
    assert ann.teams.set_member(team.id, UUID(guest.id), "owner").role == "owner"
    ann.teams.leave_team(team.id)
    with pytest.raises(NotFoundError) as left:
        ann.teams.get_team(team.id)
    assert left.value.code == "team_not_found"
    ben.teams.remove_team(team.id)
    assert ben.teams.list_teams() == []


def test_the_policy_of_a_team_is_changed_by_field(ann: SupaLLM, team: TeamDetails) -> None:
    changed = ann.teams.set_team(
        team.id,
        name="Science",
        keys_first="member",
        allowed_providers={"groq": True, "openai": ["gpt-5.5"]},
        task_overrides={"speed": {"provider": "groq"}},
        expected_version=1,
    )
    assert (changed.name, changed.keys_first, changed.version) == ("Science", "member", 2)
    assert changed.allowed_providers == {"groq": True, "openai": ["gpt-5.5"]}
    with pytest.raises(ConflictError):
        ann.teams.set_team(team.id, name="Late", expected_version=1)
    reset = ann.teams.set_team(team.id, allowed_providers=None, task_overrides={"speed": None})
    assert (reset.allowed_providers, reset.task_overrides, reset.name) == (None, {}, "Science")
    with pytest.raises(InvalidInputError, match="allowed_providers"):
        ann.teams.set_team(team.id, allowed_providers={"groq": False})


def test_arguments_are_checked_before_the_call(ann: SupaLLM) -> None:
    for call in (
        lambda: ann.teams.get_team("no uuid"),
        lambda: ann.teams.get_audit_log("no uuid"),
        lambda: ann.teams.verify_audit_log("no uuid"),
        lambda: ann.teams.create_team(7),  # type: ignore[arg-type]
        lambda: ann.teams.create_invitation(uuid4(), valid_hours=1.5),  # type: ignore[arg-type]
        lambda: ann.teams.create_invitation(uuid4(), email=7),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError, match="must be"):
            call()


def test_an_administrator_manages_all_teams(admin: Admin, user: User, guest: User) -> None:
    team = admin.teams.create_team("Of the operator", UUID(user.id))
    (newest,) = admin.teams.list_teams(limit=1)
    assert (newest.id, newest.owners) == (team.id, (user.email,))
    assert all(it.id < team.id for it in admin.teams.list_teams(before=team.id))
    assert admin.teams.set_member(team.id, UUID(guest.id), "admin").email == guest.email
    made = admin.teams.create_invitation(team.id, email="somebody@teams.example")
    assert [it.id for it in admin.teams.list_invitations(team.id)] == [made.id]
    admin.teams.remove_invitation(team.id, made.id)
    assert admin.teams.set_team(team.id, name="Renamed").role is None
    admin.teams.remove_member(team.id, UUID(guest.id))
    assert [it.role for it in admin.teams.list_members(team.id)] == ["owner"]
    assert admin.teams.get_audit_log(team.id, limit=1)[0].actor == "administrator"
    admin.teams.remove_team(team.id)
    with pytest.raises(NotFoundError):
        admin.teams.get_team(team.id)


async def test_the_asyncio_client_does_the_same(user: User, guest: User) -> None:
    sb, other = await asyncio.gather(user.async_client(), guest.async_client())
    async with AsyncSupaLLM(sb) as ann, AsyncSupaLLM(other) as ben:
        team = await ann.teams.create_team("Research")
        invitation = await ann.teams.create_invitation(team.id)
        assert (await ben.teams.accept_invitation(invitation)).role == "member"
        await ann.teams.set_member(team.id, UUID(guest.id), "admin")
        changed = await ben.teams.set_team(team.id, default_provider="groq")
        assert changed.default_provider == "groq"
        assert (await ann.teams.get_team(team.id)).version == changed.version
        assert len(await ann.teams.list_members(team.id)) == 2
        pending = await ann.teams.create_invitation(team.id, email="x@teams.example")
        assert await ann.teams.list_invitations(team.id) != []
        await ann.teams.remove_invitation(team.id, pending.id)
        assert await ben.teams.list_invitations() == []
        assert (await ben.teams.get_audit_log(team.id))[0].action == "team_invitation_removed"
        assert (await ben.teams.verify_audit_log(team.id)).first_problem is None
        await ben.teams.leave_team(team.id)
        with pytest.raises(SupaLLMError):
            await ann.teams.remove_member(team.id, UUID(guest.id))
        await ann.teams.remove_team(team.id)
        assert await ann.teams.list_teams() == []
