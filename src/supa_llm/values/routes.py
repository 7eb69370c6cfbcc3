"""Routes: the ordered candidates for one request, and the providers that were skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row
from supa_llm.values.receipts import KeySource
from supa_llm.values.secrets import Secret


@dataclass(frozen=True, slots=True)
class Demand:
    """The most tokens that one attempt of a request may use, for the quotas that apply to its user.

    Attributes:
        request_id: UUIDv7 of the request.
        output_tokens: None if the caller sets no limit.
    """

    request_id: UUID
    input_tokens: int
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Candidate(Row):
    """One provider, model and key that may serve a request, and the reason it is on the route."""

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


@dataclass(frozen=True, slots=True)
class Skipped(Row):
    """A provider that cannot serve the request, with the reason (``key_rejected``, …) and a message.

    Attributes:
        quota: the exhausted quota, if there is one: its ``unit``, ``period``, ``limit``, ``used``,
            ``reserved`` and ``resets_at``.
    """

    provider: str
    key_source: KeySource
    reason: str
    message: str
    quota: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Route(Row):
    """The ordered candidates for one request.

    Attributes:
        expires_at: end of the lease, until which the keys may be kept; None for an explained route.
        metered: whether quotas apply to the user. Such a route serves one request: usage is reserved for its
            first candidate, and must be reserved for each further one before it is tried.
        ticket: lets the runtime that resolved the route record its usage for a day, without the user's token;
            None without a runtime.
        max_output_tokens: maximum number of output tokens for the request; None if unlimited.
    """

    task: str | None
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...] = ()
    expires_at: datetime | None = None
    advice: str = ""
    metered: bool = False
    ticket: Secret | None = None
    max_output_tokens: int | None = None
