"""Alerts for a user or the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Alert(Row):
    """An event that a user or the operator should know about, reported once.

    Attributes:
        kind: ``quota_warning`` (80% used), ``quota_reached``, ``key_rejected``,
            ``key_revealed``, ``out_of_credit``, ``price_missing``, ``output_limit_ignored`` or
            ``team_owner`` (the user became an owner, because the last one left).
        detail: figures to show, and the ``team_id`` and name (``team``) if it is about a team's quota or
            key; never a secret.
        read_at: when the alert was dismissed; None if it has not been dismissed.
    """

    id: UUID
    kind: str
    subject: str
    detail: Mapping[str, Any]
    created_at: datetime
    read_at: datetime | None
