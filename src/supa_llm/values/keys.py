"""Provider keys as their owners see them, without the key itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from supa_llm.values.reading import Row

KeyStatus = Literal["untested", "working", "rejected", "rate_limited"]


@dataclass(frozen=True, slots=True)
class Key(Row):
    """A stored provider key, without the key itself."""

    id: UUID
    provider: str
    hint: str
    status: KeyStatus
    rate_limited_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime
