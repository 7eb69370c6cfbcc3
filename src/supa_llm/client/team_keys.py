"""The provider keys of a team."""

from __future__ import annotations

from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import team_keys
from supa_llm.values.keys import Key


class TeamKeys(Caller):
    """The provider keys of a team. Members use them through a runtime, and nobody can read them."""

    def list_keys(self, team_id: UUID | str) -> list[Key]:
        """The team's keys with provider, hint and status, for its members.

            [key.provider for key in llm.teams.list_keys(team.id)]

        Raises:
            NotFoundError: the user is not a member of the team (code ``team_not_found``).
        """
        return self._run(team_keys.list_team_keys(team_id))

    def set_key(self, team_id: UUID | str, provider: str, key: str) -> Key:
        """Store the team's key for a provider, encrypted. It replaces an older one. For owners and admins.

            llm.teams.set_key(team.id, "openai", "sk-…").hint

        Raises:
            InvalidInputError: the key does not look like a key of this provider.
            ForbiddenError: the user's role does not allow it (code ``team_role_required``).
            NotFoundError: the team or the provider does not exist.
        """
        return self._change(team_keys.set_team_key(team_id, provider, key))

    def remove_key(self, team_id: UUID | str, provider: str) -> None:
        """Delete the team's key for a provider. For owners and admins.

            llm.teams.remove_key(team.id, "openai")

        Raises:
            ForbiddenError: the user's role does not allow it (code ``team_role_required``).
            NotFoundError: the team does not exist, or has no key for the provider.
        """
        self._change(team_keys.remove_team_key(team_id, provider))


@documented_by(TeamKeys)
class AsyncTeamKeys(AsyncCaller):
    """The twin of :class:`TeamKeys`."""

    async def list_keys(self, team_id: UUID | str) -> list[Key]:
        return await self._run(team_keys.list_team_keys(team_id))

    async def set_key(self, team_id: UUID | str, provider: str, key: str) -> Key:
        return await self._change(team_keys.set_team_key(team_id, provider, key))

    async def remove_key(self, team_id: UUID | str, provider: str) -> None:
        await self._change(team_keys.remove_team_key(team_id, provider))
