"""Provider keys as their owners see them: never the key itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from supa_llm.values.reading import moment

KeyStatus = Literal["untested", "working", "rejected", "rate_limited"]


@dataclass(frozen=True, slots=True)
class Key:
    """What one may know of a stored key: never the key."""

    id: UUID
    provider: str
    hint: str
    status: KeyStatus
    rate_limited_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            provider=row["provider"],
            hint=row["hint"],
            status=row["status"],
            rate_limited_until=moment(row["rate_limited_until"]),
            last_used_at=moment(row["last_used_at"]),
            created_at=datetime.fromisoformat(row["created_at"]),
        )
