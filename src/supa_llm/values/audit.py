"""The audit log: changes by users and administrators, and who received a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class AuditEntry(Row):
    """One entry of the audit log of a user or the operator. It never contains a secret."""

    id: UUID
    at: datetime
    action: str
    actor: str
    provider: str | None
    key_id: UUID | None
    runtime_id: UUID | None
    detail: Mapping[str, Any]
