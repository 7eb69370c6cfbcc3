"""A user's LLM settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Settings(Row):
    """A user's LLM settings; ``total_requests`` and ``last_used_at`` are those at the time of the call.

    Attributes:
        reveal_allowed: whether users can reveal their stored keys.
        may_create_teams: whether users can create teams; otherwise only administrators do.
        default_team: the team of requests that name none.
    """

    user_id: UUID
    default_provider: str | None
    enable_fallbacks: bool
    provider_preferences: Mapping[str, Mapping[str, Any]]
    task_overrides: Mapping[str, Mapping[str, Any]]
    allow_operator_keys: bool
    time_zone: str
    version: int
    total_requests: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reveal_allowed: bool
    may_create_teams: bool
    default_team: UUID | None
