"""Routes: the ordered candidates for one request, and the providers that were skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from supa_llm.values.reading import moment
from supa_llm.values.receipts import KeySource
from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider, model and key that may serve a request, and the reason that it stands on the route."""

    provider: str
    model: str
    reason: str
    key_source: KeySource
    key_id: UUID | None
    key_hint: str | None
    wire_format: str
    base_url: str
    key_header: str
    key_scheme: str
    parameter_names: Mapping[str, str | None] = field(default_factory=dict)
    key: Secret | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            provider=row["provider"],
            model=row["model"],
            reason=row["reason"],
            key_source=row["key_source"],
            key_id=UUID(row["key_id"]) if row.get("key_id") else None,
            key_hint=row.get("key_hint"),
            wire_format=row["wire_format"],
            base_url=row["base_url"],
            key_header=row["key_header"],
            key_scheme=row["key_scheme"],
            parameter_names=row.get("parameter_names") or {},
            key=Secret(row["key"]) if row.get("key") else None,
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A provider that was considered and cannot serve: the reason (``key_rejected``, …) and a sentence.

    Attributes:
        quota: where a quota has nothing left: its ``unit``, ``period``, ``limit``, ``used``, ``reserved`` and
            ``resets_at``.
    """

    provider: str
    key_source: KeySource
    reason: str
    message: str
    quota: Mapping[str, Any] | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(row["provider"], row["key_source"], row["reason"], row["message"], row.get("quota"))


@dataclass(frozen=True, slots=True)
class Route:
    """The ordered candidates for one request.

    Attributes:
        expires_at: until when the keys on it may be kept (the lease); None for an explained route.
        metered: quotas bind the user, so the route is for one request alone: its first candidate is reserved
            for, and the next ones have to be before they are tried.
        max_output_tokens: most output tokens that the request may ask for; None where nothing limits them.
    """

    task: str | None
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...] = ()
    expires_at: datetime | None = None
    advice: str = ""
    metered: bool = False
    max_output_tokens: int | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            task=row["task"],
            candidates=tuple(map(Candidate.from_json, row["candidates"])),
            skipped=tuple(map(Skipped.from_json, row.get("skipped") or ())),
            expires_at=moment(row.get("expires_at")),
            advice=row.get("advice") or "",
            metered=row.get("metered") or False,
            max_output_tokens=row.get("max_output_tokens"),
        )
