"""The audit log: what was done to a user's settings and keys, and who held the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class AuditEntry(Row):
    """One line of the user's audit log: what happened, never a secret value."""

    id: UUID
    at: datetime
    action: str
    actor: str
    provider: str | None
    key_id: UUID | None
    runtime_id: UUID | None
    detail: Mapping[str, Any]
