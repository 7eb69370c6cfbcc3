"""The audit log: what was done to a user's settings and keys, and who held the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the user's audit log: what happened, never a secret value."""

    id: UUID
    at: datetime
    action: str
    actor: str
    provider: str | None
    key_id: UUID | None
    runtime_id: UUID | None
    detail: Mapping[str, Any]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            at=datetime.fromisoformat(row["at"]),
            action=row["action"],
            actor=row["actor"],
            provider=row["provider"],
            key_id=UUID(row["key_id"]) if row["key_id"] else None,
            runtime_id=UUID(row["runtime_id"]) if row["runtime_id"] else None,
            detail=row["detail"],
        )
