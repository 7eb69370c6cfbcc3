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
        service_tier: requested tier; None for the standard tier.
    """

    request_id: UUID
    input_tokens: int
    output_tokens: int | None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate(Row):
    """One provider, model and key that may serve a request, and the reason it is on the route.

    Attributes:
        responses: whether the provider serves OpenAI's Responses API.
        context_tokens: the most tokens of input and output together; None if unknown.
        metered: whether a quota counts it, so that usage must be reserved before it is tried.
        team_id: the team whose key it uses; None unless ``key_source`` is ``team``.
    """

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
    responses: bool = False
    context_tokens: int | None = None
    key: Secret | None = None
    metered: bool = False
    team_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Skipped(Row):
    """A provider that cannot serve the request, with the reason (``key_rejected``, …) and a message.

    Attributes:
        quota: the exhausted quota, if there is one: its ``unit``, ``period``, ``limit``, ``used``,
            ``reserved`` and ``resets_at``.
        until: until when the key or model is rate-limited or out of credit; None if it is not.
    """

    provider: str
    key_source: KeySource
    reason: str
    message: str
    quota: Mapping[str, Any] | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route(Row):
    """The ordered candidates for one request.

    Attributes:
        expires_at: end of the lease, until which the keys may be kept; None for an explained route.
        ticket: lets a runtime record usage after the user's access token has expired.
        max_output_tokens: maximum number of output tokens of a metered attempt; None if unlimited.
        reserved_requests: for how many requests usage is reserved; None if the first candidate is not
            metered.
        reserved_until: when the last of them must begin.
        team_id: the team whose policy applies.
        version: changes when the user's keys, settings or teams do, so that a cached route is outdated.
    """

    task: str | None
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...] = ()
    expires_at: datetime | None = None
    advice: str = ""
    ticket: Secret | None = None
    max_output_tokens: int | None = None
    reserved_requests: int | None = None
    reserved_until: datetime | None = None
    team_id: UUID | None = None
    version: str | None = None

    @property
    def reserved(self) -> bool:
        """Whether usage is reserved for the first candidate, so that the route serves only its request."""
        return bool(self.candidates) and self.candidates[0].metered
