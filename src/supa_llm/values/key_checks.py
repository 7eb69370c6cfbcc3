"""Key checks: a request to a provider that shows whether a key works."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class KeyCheck(Row):
    """A key check that has begun: where to send the request, and how.

    Attributes:
        key_check_path: path below ``base_url`` to request; None for the wire format's list of models.
        key: the stored key; None if the check is for a key that is not stored yet.
    """

    check_id: UUID
    provider: str
    base_url: str
    wire_format: str
    key_header: str
    key_scheme: str
    key_check_path: str | None
    key: Secret | None
