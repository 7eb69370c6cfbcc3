"""Runtimes: the operator's processes that run requests for users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class Runtime(Row):
    """A registered runtime.

    Attributes:
        last_seen_at: when it last sent a request, to the minute; None if it never did.
        previous_until: until when the secret before the last rotation is valid; None if it is not.
    """

    id: UUID
    name: str
    created_at: datetime
    revoked_at: datetime | None
    last_seen_at: datetime | None
    previous_until: datetime | None


@dataclass(frozen=True, slots=True)
class RuntimeSecret(Row):
    """A runtime's new secret, which the database returns only once; ``secret.reveal()`` is its text.

    Attributes:
        previous_until: until when the previous secret is valid; None for a new runtime.
    """

    id: UUID
    name: str
    secret: Secret
    created_at: datetime
    previous_until: datetime | None = None
