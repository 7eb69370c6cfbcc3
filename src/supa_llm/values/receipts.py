"""Receipts: which attempt answered a request, whose key paid, and the tokens of each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

KeySource = Literal["user", "team", "operator"]


Outcome = Literal["succeeded", "failed", "cancelled"]


ErrorClass = Literal[
    "auth", "forbidden", "rate_limited", "out_of_credit", "bad_request", "context_too_long", "unsupported",
    "not_found", "server_error", "timeout", "connection", "invalid_response",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt; None if the provider did not report them.

    Tokens read from or written to the provider's cache are part of the input, reasoning tokens of the output.

    Attributes:
        other_tokens: parts that some models price separately, without zeros: of the input ``input_audio``,
            ``input_image`` and ``input_video``; of the cached input ``cached_input_audio`` and
            ``cached_input_image``; of the cache writes ``cache_write_1h`` (kept for an hour); of the output
            ``output_audio``, ``output_image`` and ``output_video``.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    other_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one candidate, as recorded.

    Attributes:
        latency_ms: milliseconds from sending the request to the end of the answer or its failure.
        retry_after: seconds that the provider asked to wait; None if it did not.
        message: the provider's error message; never contains a key.
        ignored_limit: limit of output tokens that the provider got and exceeded; None if it kept to it.
        service_tier: tier that the provider reported, such as ``flex`` or ``priority``, or else the one that
            was sent; None for the standard tier.
        team_id: the team whose key paid; None unless ``key_source`` is ``team``.
    """

    number: int
    provider: str
    model: str
    key_source: KeySource
    key_id: UUID | None
    key_hint: str | None
    outcome: Outcome
    latency_ms: int
    streamed: bool
    error_class: ErrorClass | None = None
    status: int | None = None
    retry_after: float | None = None
    message: str = ""
    usage: Usage = field(default_factory=Usage)
    service_tier: str | None = None
    ignored_limit: int | None = None
    team_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which attempt answered and whose key paid for it.

    Attributes:
        request_id: UUIDv7 of the request; usage events carry it.
        attempts: every attempt in order; the last one answered, unless the request failed.
    """

    request_id: UUID
    task: str | None
    attempts: tuple[Attempt, ...]

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt that answered; None if every attempt failed."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.outcome == "succeeded" else None
