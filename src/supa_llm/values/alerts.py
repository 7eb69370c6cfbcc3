"""Alerts: what a user or the operator should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Alert(Row):
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
