"""A user's LLM settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from supa_llm.values.reading import moment


@dataclass(frozen=True, slots=True)
class Settings:
    """A user's LLM settings; ``total_requests`` and ``last_used_at`` as of reading.

    Attributes:
        reveal_allowed: whether a stored key can be read back without a runtime.
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

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            user_id=UUID(row["user_id"]),
            default_provider=row["default_provider"],
            enable_fallbacks=row["enable_fallbacks"],
            provider_preferences=row["provider_preferences"],
            task_overrides=row["task_overrides"],
            allow_operator_keys=row["allow_operator_keys"],
            time_zone=row["time_zone"],
            version=row["version"],
            total_requests=row["total_requests"],
            last_used_at=moment(row["last_used_at"]),
            created_at=datetime.fromisoformat(row["created_at"]),
            updated_at=datetime.fromisoformat(row["updated_at"]),
            reveal_allowed=row["reveal_allowed"],
        )
