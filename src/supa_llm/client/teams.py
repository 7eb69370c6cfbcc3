"""Teams: their members, invitations and policy, for their members and for administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

from supa_llm.client.audit import verify_log, verify_log_async
from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.client.settings import UNSET, Unset, given
from supa_llm.client.team_keys import AsyncTeamKeys, TeamKeys
from supa_llm.database import audit, settings, teams
from supa_llm.database.call import Call
from supa_llm.values.audit import AuditEntry, AuditVerification
from supa_llm.values.secrets import Secret
from supa_llm.values.teams import Team, TeamDetails, TeamInvitation, TeamMember, TeamRole

T = TypeVar("T")


class TeamManagement(Caller):
    """What both users and administrators do with teams. Runs its calls as another caller does."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _run(self, call: Call[T]) -> T:
        return self._caller._run(call)

    def _change(self, call: Call[T]) -> T:
        return self._caller._change(call)

    def get_team(self, team_id: UUID | str) -> TeamDetails:
        """A team with its policy.

            llm.teams.get_team(team_id).allowed_providers

        Raises:
            NotFoundError: code ``team_not_found``: the team does not exist, or the caller is no member.
        """
        return self._run(teams.get_team(team_id))

    def set_team(
        self,
        team_id: UUID | str,
        *,
        name: str | Unset = UNSET,
        keys_first: Literal["team", "member"] | Unset = UNSET,
        allowed_providers: Mapping[str, bool | Sequence[str]] | Unset | None = UNSET,
        default_provider: str | Unset | None = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> TeamDetails:
        """Change the given fields of a team and keep the others. For owners and admins.

            llm.teams.set_team(team_id, allowed_providers={"groq": True, "openai": ["gpt-5.5"]})

        Args:
            keys_first: whose keys come first in a route: the ``team``'s or the ``member``'s.
            allowed_providers: the only providers that requests with the team may use, each with True (all
                models) or a list of models; None allows all. It replaces the earlier value as a whole.
            default_provider: for members who have chosen none that the team allows.
            provider_preferences: merged by provider and field, as in :meth:`UserLLM.set_settings`.
            task_overrides: merged by task.
            expected_version: refuse the change if the team has another version.

        Raises:
            ForbiddenError: code ``team_role_required``: the caller's role is ``member``.
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
            ConflictError: the team is not at ``expected_version``.
        """
        changes = given(
            name=name,
            keys_first=keys_first,
            allowed_providers=allowed_providers,
            default_provider=default_provider,
            provider_preferences=provider_preferences,
            task_overrides=task_overrides,
        )
        return self._change(teams.set_team(team_id, changes, expected_version))

    def remove_team(self, team_id: UUID | str) -> None:
        """Remove a team, its members, invitations, keys and quotas. For owners. Its recorded usage stays.

        llm.teams.remove_team(team_id)
        """
        self._change(teams.remove_team(team_id))

    def list_members(self, team_id: UUID | str) -> list[TeamMember]:
        """The members of a team, owners first.

        emails = [member.email for member in llm.teams.list_members(team_id)]
        """
        return self._run(teams.list_members(team_id))

    def set_member(self, team_id: UUID | str, user_id: UUID, role: TeamRole) -> TeamMember:
        """Set a member's role. Administrators also add users with it.

            llm.teams.set_member(team_id, user_id, "admin")

        Admins set the role of members and admins. Only owners make somebody an owner or change an owner's
        role. To hand a team over, make somebody else an owner, then leave.

        Raises:
            NotFoundError: code ``member_not_found``: the user is not in the team.
            ConflictError: code ``last_owner``: the team would be left without an owner.
        """
        return self._change(teams.set_member(team_id, user_id, role))

    def remove_member(self, team_id: UUID | str, user_id: UUID) -> None:
        """Remove a member, and the invitations that they made.

            llm.teams.remove_member(team_id, user_id)

        Admins remove members and admins; owners remove everyone.

        Raises:
            NotFoundError: code ``member_not_found``: the user is not in the team.
            ConflictError: code ``last_owner``: the team would be left without an owner.
        """
        self._change(teams.remove_member(team_id, user_id))

    def create_invitation(
        self,
        team_id: UUID | str,
        role: TeamRole = "member",
        *,
        email: str | None = None,
        valid_hours: int = 168,
    ) -> TeamInvitation:
        """Invite somebody: by a token that works once, or by email address. For owners and admins.

            invitation = llm.teams.create_invitation(team_id)
            link = f"https://app.example/join?token={invitation.token.reveal()}"

        supa-llm sends no emails. Only owners invite owners.

        Args:
            email: the only address whose user can accept it, once they have confirmed it. They find it with
                :meth:`list_invitations`, without a token. A new invitation of an address replaces the old.
            valid_hours: from 1 to 720; a week by default.

        Raises:
            NoCandidateError: code ``too_many_invitations``: the team has 100 open invitations.
        """
        return self._run(teams.create_invitation(team_id, role, email, valid_hours))

    def remove_invitation(self, team_id: UUID | str, invitation_id: UUID) -> None:
        """Remove an open invitation. For owners and admins, and for the user to whose address it is.

            llm.teams.remove_invitation(invitation.team_id, invitation.id)

        Raises:
            NotFoundError: code ``invitation_invalid``: the team has no such invitation.
        """
        self._run(teams.remove_invitation(team_id, invitation_id))

    def get_audit_log(
        self, team_id: UUID | str, limit: int = 50, before: UUID | None = None
    ) -> list[AuditEntry]:
        """Changes to a team, newest first; ``detail["by"]`` is the ID of who made it. For owners and admins.

            for entry in llm.teams.get_audit_log(team_id):
                print(entry.at, entry.action, entry.detail)

        Args:
            limit: most entries to return; at most 500.
            before: ID of the last entry of the previous page.
        """
        return self._run(audit.get_audit_log(limit, before, team_id=team_id))

    def verify_audit_log(self, team_id: UUID | str) -> AuditVerification:
        """Seal the new entries of a team's log, and check that no sealed entry was changed since.

            problem = llm.teams.verify_audit_log(team_id).first_problem

        For owners and admins.
        """
        return verify_log(self._run, team_id)


class Teams(TeamManagement, TeamKeys):
    """A user's teams: ``llm.teams``."""

    def list_teams(self) -> list[Team]:
        """The user's teams, newest first, with the user's role in each.

        owned = [team for team in llm.teams.list_teams() if team.role == "owner"]
        """
        return self._run(teams.list_teams())

    def create_team(self, name: str) -> TeamDetails:
        """Create a team that the user owns. The user's first team becomes their default team.

            team = llm.teams.create_team("Research")

        Raises:
            ForbiddenError: code ``teams_created_by_operator``: only administrators create teams.
            NoCandidateError: code ``too_many_teams``: the user owns as many teams as the operator allows.
        """
        return self._change(teams.create_team(name))

    def list_invitations(self, team_id: UUID | str | None = None) -> list[TeamInvitation]:
        """The open invitations to the user's confirmed email address; with a team, those of the team.

            for invitation in llm.teams.list_invitations():
                print(invitation.team_name, invitation.role)

        Args:
            team_id: a team of which the user is an owner or admin.
        """
        return self._run(teams.list_invitations(team_id))

    def accept_invitation(self, invitation: str | Secret | TeamInvitation | UUID) -> TeamDetails:
        """Join a team. The user's first team becomes their default team.

            llm.teams.accept_invitation(token)
            llm.teams.accept_invitation(llm.teams.list_invitations()[0])

        Args:
            invitation: the token or, for an invitation to the user's address, the invitation or its ID.

        Raises:
            NotFoundError: code ``invitation_invalid``: it does not exist, was used, has expired, was removed
                or is for another address.
            ConflictError: code ``already_member``; the invitation stays valid.
        """
        return self._change(teams.accept_invitation(_invitation(invitation)))

    def leave_team(self, team_id: UUID | str) -> None:
        """Leave a team.

            llm.teams.leave_team(team_id)

        Raises:
            ConflictError: code ``last_owner``: make another member an owner first, or remove the team.
        """
        self._change(teams.remove_member(team_id, self._run(settings.get_settings()).user_id))


class AdminTeams(TeamManagement):
    """All teams, for administrators: ``admin.teams``. They may do whatever an owner may."""

    def list_teams(self, limit: int = 100, before: UUID | None = None) -> list[Team]:
        """All teams, newest first, with the owners' email addresses.

            teams = admin.teams.list_teams()

        Args:
            limit: most teams to return; at most 500.
            before: ID of the last team of the previous page.
        """
        return self._run(teams.list_teams(limit, before))

    def create_team(self, name: str, owner: UUID) -> TeamDetails:
        """Create a team for a user, who becomes its owner.

            team = admin.teams.create_team("Research", user.id)

        Raises:
            NotFoundError: code ``unknown_user``: Supabase Auth has no account with this ID.
        """
        return self._change(teams.create_team(name, owner))

    def list_invitations(self, team_id: UUID | str) -> list[TeamInvitation]:
        """The open invitations of a team.

        pending = admin.teams.list_invitations(team_id)
        """
        return self._run(teams.list_invitations(team_id))


@documented_by(TeamManagement)
class AsyncTeamManagement(AsyncCaller):
    """The twin of :class:`TeamManagement`."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def _run(self, call: Call[T]) -> T:
        return await self._caller._run(call)

    async def _change(self, call: Call[T]) -> T:
        return await self._caller._change(call)

    async def get_team(self, team_id: UUID | str) -> TeamDetails:
        return await self._run(teams.get_team(team_id))

    async def set_team(
        self,
        team_id: UUID | str,
        *,
        name: str | Unset = UNSET,
        keys_first: Literal["team", "member"] | Unset = UNSET,
        allowed_providers: Mapping[str, bool | Sequence[str]] | Unset | None = UNSET,
        default_provider: str | Unset | None = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> TeamDetails:
        changes = given(
            name=name,
            keys_first=keys_first,
            allowed_providers=allowed_providers,
            default_provider=default_provider,
            provider_preferences=provider_preferences,
            task_overrides=task_overrides,
        )
        return await self._change(teams.set_team(team_id, changes, expected_version))

    async def remove_team(self, team_id: UUID | str) -> None:
        await self._change(teams.remove_team(team_id))

    async def list_members(self, team_id: UUID | str) -> list[TeamMember]:
        return await self._run(teams.list_members(team_id))

    async def set_member(self, team_id: UUID | str, user_id: UUID, role: TeamRole) -> TeamMember:
        return await self._change(teams.set_member(team_id, user_id, role))

    async def remove_member(self, team_id: UUID | str, user_id: UUID) -> None:
        await self._change(teams.remove_member(team_id, user_id))

    async def create_invitation(
        self,
        team_id: UUID | str,
        role: TeamRole = "member",
        *,
        email: str | None = None,
        valid_hours: int = 168,
    ) -> TeamInvitation:
        return await self._run(teams.create_invitation(team_id, role, email, valid_hours))

    async def remove_invitation(self, team_id: UUID | str, invitation_id: UUID) -> None:
        await self._run(teams.remove_invitation(team_id, invitation_id))

    async def get_audit_log(
        self, team_id: UUID | str, limit: int = 50, before: UUID | None = None
    ) -> list[AuditEntry]:
        return await self._run(audit.get_audit_log(limit, before, team_id=team_id))

    async def verify_audit_log(self, team_id: UUID | str) -> AuditVerification:
        return await verify_log_async(self._run, team_id)


@documented_by(Teams)
class AsyncTeams(AsyncTeamManagement, AsyncTeamKeys):
    """The twin of :class:`Teams`."""

    async def list_teams(self) -> list[Team]:
        return await self._run(teams.list_teams())

    async def create_team(self, name: str) -> TeamDetails:
        return await self._change(teams.create_team(name))

    async def list_invitations(self, team_id: UUID | str | None = None) -> list[TeamInvitation]:
        return await self._run(teams.list_invitations(team_id))

    async def accept_invitation(self, invitation: str | Secret | TeamInvitation | UUID) -> TeamDetails:
        return await self._change(teams.accept_invitation(_invitation(invitation)))

    async def leave_team(self, team_id: UUID | str) -> None:
        user_id = (await self._run(settings.get_settings())).user_id
        await self._change(teams.remove_member(team_id, user_id))


@documented_by(AdminTeams)
class AsyncAdminTeams(AsyncTeamManagement):
    """The twin of :class:`AdminTeams`."""

    async def list_teams(self, limit: int = 100, before: UUID | None = None) -> list[Team]:
        return await self._run(teams.list_teams(limit, before))

    async def create_team(self, name: str, owner: UUID) -> TeamDetails:
        return await self._change(teams.create_team(name, owner))

    async def list_invitations(self, team_id: UUID | str) -> list[TeamInvitation]:
        return await self._run(teams.list_invitations(team_id))


def _invitation(invitation: str | Secret | TeamInvitation | UUID) -> str:
    match invitation:
        case Secret():
            return invitation.reveal()
        case TeamInvitation(token=Secret() as token):
            return token.reveal()
        case TeamInvitation():
            return str(invitation.id)
    return str(invitation)
