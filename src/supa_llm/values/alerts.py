"""Alerts: what a user or the operator should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from supa_llm.values.reading import moment


@dataclass(frozen=True, slots=True)
class Alert:
    """What somebody should know, said once.

    Attributes:
        kind: ``quota_warning`` (80 % used), ``quota_reached``, ``key_rejected`` or ``price_missing``.
        detail: the facts to show; never a secret value.
        read_at: None until it is marked as read.
    """

    id: UUID
    kind: str
    subject: str
    detail: Mapping[str, Any]
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            kind=row["kind"],
            subject=row["subject"],
            detail=row["detail"],
            created_at=datetime.fromisoformat(row["created_at"]),
            read_at=moment(row["read_at"]),
        )
