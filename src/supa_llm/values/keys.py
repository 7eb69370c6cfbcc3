"""Provider keys as their owners see them, without the key itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from supa_llm.values.reading import Row

KeyStatus = Literal["untested", "working", "rejected", "rate_limited", "out_of_credit", "unreadable"]


@dataclass(frozen=True, slots=True)
class Key(Row):
    """A stored provider key, without the key itself.

    Attributes:
        rests_until: until when the key, or one of its models, is rate-limited or out of credit; None if it is
            not.
        rate_limited_models: the models that are rate-limited; empty if it is the key as a whole.
    """

    id: UUID
    provider: str
    hint: str
    status: KeyStatus
    rests_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    rate_limited_models: tuple[str, ...] = ()
