"""Teams, their members, and invitations to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.secrets import Secret

TeamRole = Literal["owner", "admin", "member"]


@dataclass(frozen=True, slots=True)
class Team(Row):
    """A team, as the caller sees it.

    Attributes:
        role: the caller's role; None for administrators, who need not be members.
        is_default: whether the caller's requests use it if they name no team.
        keys_first: whose keys come first in a route: the ``team``'s or the ``member``'s.
        members: the number of members.
        owners: the owners' email addresses; None for an owner without one.
    """

    id: UUID
    name: str
    role: TeamRole | None
    is_default: bool
    keys_first: Literal["team", "member"]
    members: int
    owners: tuple[str | None, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TeamDetails(Team):
    """A team with its policy.

    Attributes:
        allowed_providers: the providers that requests with the team may use, each with ``True`` (all models)
            or a list of models; None allows all providers.
        default_provider: for members who have chosen none that the team allows.
        provider_preferences: as in :class:`Settings`. A provider that the team disabled is disabled for its
            members; priorities and models apply where a member has set none.
        task_overrides: as in :class:`Settings`, where a member has set none for the task.
        version: counts changes, for ``expected_version``.
    """

    allowed_providers: Mapping[str, bool | Sequence[str]] | None
    default_provider: str | None
    provider_preferences: Mapping[str, Mapping[str, Any]]
    task_overrides: Mapping[str, Mapping[str, Any]]
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TeamMember(Row):
    """A member of a team.

    Attributes:
        email: None for users without an address.
        name: the name in the user's profile in Supabase Auth, which users set themselves; None without one.
    """

    user_id: UUID
    email: str | None
    name: str | None
    role: TeamRole
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class TeamInvitation(Row):
    """An open invitation to a team.

    Attributes:
        email: the address of the only user who can accept it; None if whoever has the token can.
        token: only in the result of creating an invitation without an address. It works once.
    """

    id: UUID
    team_id: UUID
    team_name: str
    role: TeamRole
    email: str | None
    created_at: datetime
    expires_at: datetime
    token: Secret | None = field(default=None)
