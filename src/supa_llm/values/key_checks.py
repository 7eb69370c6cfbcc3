"""Key checks: asking a provider whether a key works."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class KeyCheck(Row):
    """A key check that was begun: where and how to ask the provider.

    Attributes:
        key_check_path: what to ask for below ``base_url``; None: the wire format's list of models.
        key: the stored key; None where the test is about a key that is being typed.
    """

    id: UUID = field(metadata={"column": "test_id"})
    provider: str
    base_url: str
    wire_format: str
    key_header: str
    key_scheme: str
    key_check_path: str | None
    key: Secret | None
