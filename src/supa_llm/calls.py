"""Every RPC of the database once, as a value: its name, its arguments and how its answer is read. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from supa_llm.arguments import check
from supa_llm.ledger import Alert, Price, PriceChange, Quota, Rate
from supa_llm.models import (
    Attempt,
    AuditEntry,
    Candidate,
    Key,
    KeyCheck,
    KnownModel,
    Provider,
    Route,
    Settings,
)

if TYPE_CHECKING:
    from supa_llm.engine.effects import Demand

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One RPC. ``args`` may hold a provider key, so they are left out of the repr."""

    name: str
    args: Mapping[str, Any] = field(repr=False)
    parse: Callable[[Any], T] = field(repr=False)


def get_settings() -> Call[Settings]:
    return Call("get_llm_settings", {}, Settings.from_json)


def set_settings(changes: Mapping[str, Any], expected_version: int | None = None) -> Call[Settings]:
    return Call(
        "set_llm_settings",
        {"p_changes": changes, "p_expected_version": expected_version},
        Settings.from_json,
    )


def list_providers() -> Call[list[Provider]]:
    return Call("list_llm_providers", {}, lambda rows: [Provider.from_json(row) for row in rows])


def list_keys() -> Call[list[Key]]:
    return Call("list_llm_keys", {}, lambda rows: [Key.from_json(row) for row in rows])


def set_key(provider: str, key: str) -> Call[Key]:
    check(provider=provider, key=key)
    return Call("set_llm_key", {"provider": provider, "key": key}, Key.from_json)


def remove_key(provider: str) -> Call[None]:
    check(provider=provider)
    return Call("remove_llm_key", {"p_provider": provider}, lambda _: None)


def reveal_key(provider: str) -> Call[str]:
    check(provider=provider)
    return Call("reveal_llm_key", {"p_provider": provider}, str)


def list_models(provider: str) -> Call[list[KnownModel]]:
    check(provider=provider)
    return Call(
        "list_llm_models", {"p_provider": provider}, lambda rows: [KnownModel.from_json(row) for row in rows]
    )


def begin_key_check(provider: str, key: str | None = None) -> Call[KeyCheck]:
    """Begin to test the stored key or, if there is one, a key that is being typed."""
    check(provider=provider)
    body = {"provider": provider} | ({} if key is None else {"key": key})
    return Call("begin_llm_key_check", body, KeyCheck.from_json)


def record_key_check(
    test_id: UUID, result: str, retry_after: float | None = None
) -> Call[Mapping[str, Any] | None]:
    """Settle a test; returns the stored key as the database shows it, None where there is none."""
    return Call(
        "record_llm_key_check",
        {"p_test_id": str(test_id), "p_result": result, "p_retry_after": retry_after},
        lambda row: row,
    )


def resolve_route(
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
    demand: Demand | None = None,
) -> Call[Route]:
    """The route; with ``demand``, reserving for its first candidate where quotas bind the user."""
    args = _route_args(task, model, needs, operator_providers)
    return Call("resolve_llm_route", args | (_demand_args(demand) if demand else {}), Route.from_json)


def reserve_attempt(demand: Demand, task: str | None, number: int, candidate: Candidate) -> Call[None]:
    """Reserve for another candidate of a metered route."""
    return Call(
        "reserve_llm_attempt",
        {
            **_demand_args(demand),
            "p_attempt": number,
            "p_task": task,
            "p_provider": candidate.provider,
            "p_model": candidate.model,
            "p_key_source": candidate.key_source,
        },
        lambda _: None,
    )


def release_request(request_id: UUID) -> Call[None]:
    """Free what was reserved for a request whose attempts did not all run."""
    return Call("release_llm_request", {"p_request_id": str(request_id)}, lambda _: None)


def explain_route(
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
    changes: Mapping[str, Any] | None = None,
) -> Call[Route]:
    args = _route_args(task, model, needs, operator_providers)
    return Call("explain_llm_route", args | ({"p_changes": changes} if changes else {}), Route.from_json)


def record_usage(request_id: UUID, task: str | None, attempt: Attempt) -> Call[bool]:
    """Record one attempt; False when it was on record already."""
    return Call(
        "record_llm_usage",
        {
            "p_request_id": str(request_id),
            "p_attempt": attempt.number,
            "p_task": task,
            "p_provider": attempt.provider,
            "p_model": attempt.model,
            "p_key_source": attempt.key_source,
            "p_key_id": str(attempt.key_id) if attempt.key_id else None,
            "p_outcome": attempt.outcome,
            "p_error_class": attempt.error_class,
            "p_streamed": attempt.streamed,
            "p_latency_ms": attempt.latency_ms,
            "p_input_tokens": attempt.usage.input_tokens,
            "p_cached_input_tokens": attempt.usage.cached_input_tokens,
            "p_output_tokens": attempt.usage.output_tokens,
            "p_reasoning_tokens": attempt.usage.reasoning_tokens,
            "p_retry_after": attempt.retry_after,
            "p_cache_write_tokens": attempt.usage.cache_write_tokens,
            "p_other_tokens": dict(attempt.usage.other_tokens) or None,
            "p_service_tier": attempt.service_tier,
        },
        bool,
    )


def list_quotas(user_id: UUID | None = None) -> Call[list[Quota]]:
    check(user_id=user_id)
    return Call(
        "list_llm_quotas",
        {"p_user_id": str(user_id)} if user_id else {},
        lambda rows: [Quota.from_json(row) for row in rows],
    )


def set_quota(fields: Mapping[str, Any]) -> Call[Quota]:
    """Set a quota; fields are those of set_llm_quota()."""
    check(**{"limit of a quota": fields["limit"]})
    return Call("set_llm_quota", {"p_quota": _without_decimals(fields)}, Quota.from_json)


def remove_quota(quota_id: int) -> Call[None]:
    check(quota_id=quota_id)
    return Call("remove_llm_quota", {"p_id": quota_id}, lambda _: None)


def set_user_group(user_id: UUID, group: str | None) -> Call[None]:
    check(user_id=user_id, group=group)
    return Call("set_llm_user_group", {"p_user_id": str(user_id), "p_group": group}, lambda _: None)


def get_operator_settings() -> Call[Mapping[str, Any]]:
    return Call("get_llm_operator_settings", {}, dict)


def set_operator_settings(changes: Mapping[str, Any]) -> Call[Mapping[str, Any]]:
    return Call("set_llm_operator_settings", {"p_changes": changes}, dict)


def list_alerts(unread_only: bool = True, limit: int = 50, before: UUID | None = None) -> Call[list[Alert]]:
    check(limit=limit, before=before)
    return Call(
        "list_llm_alerts",
        {"p_unread_only": unread_only, "p_limit": limit, "p_before": str(before) if before else None},
        lambda rows: [Alert.from_json(row) for row in rows],
    )


def dismiss_alerts(ids: Sequence[UUID] | None = None) -> Call[int]:
    check(ids=ids)
    return Call("dismiss_llm_alerts", {"p_ids": None if ids is None else list(map(str, ids))}, int)


def get_audit_log(limit: int = 50, before: UUID | None = None) -> Call[list[AuditEntry]]:
    check(limit=limit, before=before)
    return Call(
        "get_llm_audit_log",
        {"p_limit": limit, "p_before": str(before) if before else None},
        lambda rows: [AuditEntry.from_json(row) for row in rows],
    )


def _demand_args(demand: Demand) -> dict[str, Any]:
    return {
        "p_request_id": str(demand.request_id),
        "p_input_tokens": demand.estimate.input_tokens,
        "p_output_tokens": demand.estimate.output_tokens,
    }


def list_prices(provider: str | None = None, model: str | None = None) -> Call[list[Price]]:
    if provider is not None:
        check(provider=provider)
    check(model=model)
    return Call(
        "list_llm_prices",
        {"p_provider": provider, "p_model": model},
        lambda rows: [Price.from_json(row) for row in rows],
    )


def set_price(
    provider: str,
    model: str,
    rates: Mapping[str, Rate],
    valid_from: date | None = None,
    valid_until: date | None = None,
    *,
    key_source: str | None = None,
    service_tier: str | None = None,
) -> Call[Price]:
    check(provider=provider, model=model, rates=rates, valid_from=valid_from, valid_until=valid_until)
    check(key_source=key_source, service_tier=service_tier)
    return Call(
        "set_llm_price",
        {
            "p_provider": provider,
            "p_model": model,
            "p_rates": _without_decimals(rates),
            "p_valid_from": timestamp(valid_from),
            "p_valid_until": timestamp(valid_until),
            "p_key_source": key_source,
            "p_service_tier": service_tier,
        },
        Price.from_json,
    )


def end_price(price_id: int) -> Call[Price]:
    check(price_id=price_id)
    return Call("end_llm_price", {"p_id": price_id}, Price.from_json)


def sync_prices(
    provider: str, entries: Sequence[Mapping[str, Any]], apply: bool = False
) -> Call[list[PriceChange]]:
    check(provider=provider, entries=entries)
    return Call(
        "sync_llm_prices",
        {"p_provider": provider, "p_entries": entries, "p_apply": apply},
        lambda rows: [PriceChange.from_json(row) for row in rows],
    )


def timestamp(at: date | None) -> str | None:
    """A moment as the database reads it; of a date, midnight UTC."""
    if at is None:
        return None
    if isinstance(at, datetime):
        return at.isoformat()
    return datetime.combine(at, time.min, UTC).isoformat()


def _without_decimals(value: Any) -> Any:
    """The same with numbers that JSON knows."""
    if isinstance(value, Mapping):
        return {name: _without_decimals(item) for name, item in value.items()}
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return value


def _route_args(
    task: str | None, model: str | None, needs: Sequence[str], operator_providers: Sequence[str]
) -> dict[str, Any]:
    check(task=task, model=model, needs=needs)
    return {
        "p_task": task,
        "p_model": model,
        "p_needs": list(needs),
        "p_operator_providers": list(operator_providers),
    }
