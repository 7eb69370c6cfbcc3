"""Users as administrators see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from supa_llm.values.alerts import Alert
from supa_llm.values.keys import Key
from supa_llm.values.prices import Price
from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource
from supa_llm.values.settings import Settings
from supa_llm.values.teams import TeamRole


@dataclass(frozen=True, slots=True)
class User(Row):
    """A user of the app.

    Attributes:
        email: None for anonymous users, and for those who signed up with a phone number.
        group: group for quotas; None if the user is in none.
        suspended_at: since when the user gets no routes; None if they are not suspended.
        banned_until: until when Supabase Auth bans the user; None if it does not.
    """

    id: UUID
    email: str | None
    created_at: datetime | None
    last_sign_in_at: datetime | None
    suspended_at: datetime | None
    banned_until: datetime | None
    group: str | None = field(metadata={"column": "group_name"})


@dataclass(frozen=True, slots=True)
class FailedAttempt(Row):
    """A failed attempt of a user's request; ``error_class`` says why it failed."""

    request_id: UUID
    attempt: int
    requested_at: datetime
    task: str | None
    provider: str
    model: str
    key_source: KeySource
    error_class: str | None


@dataclass(frozen=True, slots=True)
class TeamMembership(Row):
    """A team that a user belongs to; ``team`` is its name."""

    team_id: UUID
    team: str
    role: TeamRole
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class UserDetails(User):
    """A user with what decides their requests; it never contains a key.

    Attributes:
        suspended_reason: the operator's note; None without one.
        settings: None if the user has never used supa-llm.
        prices: the prices that the user set.
        teams: the teams that the user belongs to, in the order in which they joined.
        errors: the last failed attempts, newest first.
    """

    suspended_reason: str | None
    settings: Settings | None
    keys: tuple[Key, ...]
    prices: tuple[Price, ...]
    alerts: tuple[Alert, ...]
    teams: tuple[TeamMembership, ...]
    errors: tuple[FailedAttempt, ...]


@dataclass(frozen=True, slots=True)
class UserDataRemoval(Row):
    """The progress of removing a user's data: the number of removed rows by kind, and whether it is done."""

    removed: Mapping[str, int]
    done: bool
