"""RPCs about teams, their members and invitations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.teams import Team, TeamDetails, TeamInvitation, TeamMember, TeamRole


def list_teams(limit: int = 100, before: UUID | None = None) -> Call[list[Team]]:
    check(limit=limit, before=before)
    return Call(
        "list_llm_teams",
        {"p_limit": limit, "p_before": str(before) if before else None},
        Team.list_from_json,
    )


def create_team(name: str, owner: UUID | None = None) -> Call[TeamDetails]:
    check(name=name, user_id=owner)
    return Call(
        "create_llm_team",
        {"p_name": name, "p_owner": str(owner) if owner else None},
        TeamDetails.from_json,
    )


def get_team(team_id: UUID | str) -> Call[TeamDetails]:
    check(team_id=team_id)
    return Call("get_llm_team", {"p_team_id": str(team_id)}, TeamDetails.from_json)


def set_team(
    team_id: UUID | str, changes: Mapping[str, Any], expected_version: int | None = None
) -> Call[TeamDetails]:
    check(team_id=team_id)
    return Call(
        "set_llm_team",
        {"p_team_id": str(team_id), "p_changes": changes, "p_expected_version": expected_version},
        TeamDetails.from_json,
    )


def remove_team(team_id: UUID | str) -> Call[None]:
    check(team_id=team_id)
    return Call("remove_llm_team", {"p_team_id": str(team_id)}, lambda _: None)


def list_members(team_id: UUID | str) -> Call[list[TeamMember]]:
    check(team_id=team_id)
    return Call("list_llm_team_members", {"p_team_id": str(team_id)}, TeamMember.list_from_json)


def set_member(team_id: UUID | str, user_id: UUID, role: TeamRole) -> Call[TeamMember]:
    check(team_id=team_id, user_id=user_id, role=role)
    return Call(
        "set_llm_team_member",
        {"p_team_id": str(team_id), "p_user_id": str(user_id), "p_role": role},
        TeamMember.from_json,
    )


def remove_member(team_id: UUID | str, user_id: UUID) -> Call[None]:
    check(team_id=team_id, user_id=user_id)
    return Call(
        "remove_llm_team_member",
        {"p_team_id": str(team_id), "p_user_id": str(user_id)},
        lambda _: None,
    )


def create_invitation(
    team_id: UUID | str, role: TeamRole, email: str | None, valid_hours: int
) -> Call[TeamInvitation]:
    check(team_id=team_id, role=role, email=email, valid_hours=valid_hours)
    return Call(
        "create_llm_team_invitation",
        {"p_team_id": str(team_id), "p_role": role, "p_email": email, "p_valid_hours": valid_hours},
        TeamInvitation.from_json,
    )


def list_invitations(team_id: UUID | str | None = None) -> Call[list[TeamInvitation]]:
    """A team's open invitations; without a team, those to the caller's address."""
    if team_id is not None:
        check(team_id=team_id)
    return Call(
        "list_llm_team_invitations",
        {"p_team_id": str(team_id) if team_id else None},
        TeamInvitation.list_from_json,
    )


def remove_invitation(team_id: UUID | str, invitation_id: UUID) -> Call[None]:
    check(team_id=team_id)
    return Call(
        "remove_llm_team_invitation",
        {"p_team_id": str(team_id), "p_id": str(invitation_id)},
        lambda _: None,
    )


def accept_invitation(invitation: str) -> Call[TeamDetails]:
    return Call("accept_llm_team_invitation", {"p_invitation": invitation}, TeamDetails.from_json)
