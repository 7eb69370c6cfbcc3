"""Key checks: asking a provider whether a key works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """A key check that was begun: where and how to ask the provider.

    Attributes:
        key_check_path: what to ask for below ``base_url``; None: the wire format's list of models.
        key: the stored key; None where the test is about a key that is being typed.
    """

    id: UUID
    provider: str
    base_url: str
    wire_format: str
    key_header: str
    key_scheme: str
    key_check_path: str | None
    key: Secret | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["test_id"]),
            provider=row["provider"],
            base_url=row["base_url"],
            wire_format=row["wire_format"],
            key_header=row["key_header"],
            key_scheme=row["key_scheme"],
            key_check_path=row["key_check_path"],
            key=Secret(row["key"]) if row["key"] else None,
        )
