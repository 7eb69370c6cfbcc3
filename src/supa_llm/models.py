"""What comes back from the database and from a request, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

KeySource = Literal["user", "team", "operator"]
KeyStatus = Literal["untested", "working", "rejected", "rate_limited"]
Outcome = Literal["succeeded", "failed", "cancelled"]
ErrorClass = Literal[
    "auth", "forbidden", "rate_limited", "bad_request", "not_found", "server_error", "timeout", "connection",
    "invalid_response",
]  # fmt: skip


class Secret:
    """A provider key in memory. Its text comes out only through :meth:`reveal`, not by repr or str."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the one header that carries it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not pickled")


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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt; None where the provider did not say.

    Tokens read from or written to the provider's cache are part of the input, reasoning tokens of the output.

    Attributes:
        other_tokens: parts that some models price by themselves, without zeros: of the input ``input_audio``,
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
    """One call to one candidate, as it is recorded.

    Attributes:
        latency_ms: from sending the request to the end of the answer (or its failure), milliseconds.
        retry_after: seconds that the provider asked to wait, where it did.
        message: what the provider said when it failed, for people; never holds a key.
        service_tier: what the provider says it served, such as ``flex`` or ``priority``; None for the
            standard tier, or where it does not say.
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
        """The attempt that answered; None when none did."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.outcome == "succeeded" else None


@dataclass(frozen=True, slots=True)
class Settings:
    """A user's LLM settings; ``total_requests`` and ``last_used_at`` as of reading.

    Attributes:
        reveal_allowed: whether a stored key can be read back without a runtime.
    """

    user_id: UUID
    default_provider: str | None
    enable_fallbacks: bool
    provider_preferences: Mapping[str, Mapping[str, Any]]
    task_overrides: Mapping[str, Mapping[str, Any]]
    allow_operator_keys: bool
    time_zone: str
    version: int
    total_requests: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reveal_allowed: bool

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            user_id=UUID(row["user_id"]),
            default_provider=row["default_provider"],
            enable_fallbacks=row["enable_fallbacks"],
            provider_preferences=row["provider_preferences"],
            task_overrides=row["task_overrides"],
            allow_operator_keys=row["allow_operator_keys"],
            time_zone=row["time_zone"],
            version=row["version"],
            total_requests=row["total_requests"],
            last_used_at=moment(row["last_used_at"]),
            created_at=datetime.fromisoformat(row["created_at"]),
            updated_at=datetime.fromisoformat(row["updated_at"]),
            reveal_allowed=row["reveal_allowed"],
        )


@dataclass(frozen=True, slots=True)
class Key:
    """What one may know of a stored key: never the key."""

    id: UUID
    provider: str
    hint: str
    status: KeyStatus
    rate_limited_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            provider=row["provider"],
            hint=row["hint"],
            status=row["status"],
            rate_limited_until=moment(row["rate_limited_until"]),
            last_used_at=moment(row["last_used_at"]),
            created_at=datetime.fromisoformat(row["created_at"]),
        )


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of the catalogue.

    Attributes:
        key_url: page of the provider where one gets a key; empty where it is not known.
    """

    id: str
    name: str
    base_url: str
    wire_format: str
    capabilities: tuple[str, ...]
    default_model: str
    task_models: Mapping[str, str]
    key_example: str
    key_url: str

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=row["id"],
            name=row["name"],
            base_url=row["base_url"],
            wire_format=row["wire_format"],
            capabilities=tuple(row["capabilities"]),
            default_model=row["default_model"],
            task_models=row["task_models"],
            key_example=row["key_example"],
            key_url=row["key_url"],
        )


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that is known by name, and what it costs: US dollars for a million tokens, None if unknown."""

    model: str
    input_price: Decimal | None
    output_price: Decimal | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(row["model"], _price(row["input_price"]), _price(row["output_price"]))


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


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the user's audit log: what happened, never a secret value."""

    id: UUID
    at: datetime
    action: str
    actor: str
    provider: str | None
    key_id: UUID | None
    runtime_id: UUID | None
    detail: Mapping[str, Any]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=UUID(row["id"]),
            at=datetime.fromisoformat(row["at"]),
            action=row["action"],
            actor=row["actor"],
            provider=row["provider"],
            key_id=UUID(row["key_id"]) if row["key_id"] else None,
            runtime_id=UUID(row["runtime_id"]) if row["runtime_id"] else None,
            detail=row["detail"],
        )


def _price(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
