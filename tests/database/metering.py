"""A runtime's calls for a metered user, and the invariants of quota counters."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.database.support import Caller, Transaction, request_id

#: Model rates in these tests: a dollar per million tokens, so 1000 tokens cost a tenth of a cent.
RATES = {"input": 1, "output": 1}

# Counters whose reserved amount differs from the sum of their reservations, or with a negative amount.
WRONG = """
select c.*, r.amount from llm_private.quota_counters as c
cross join lateral (
  select coalesce(sum(r.amount * r.requests), 0) as amount from llm_private.reservations as r
  where r.quota_id = c.quota_id and r.owner = c.owner and r.starts_at = c.starts_at and not r.counted
) as r
where c.reserved <> r.amount or c.used < 0 or c.reserved < 0
"""


def assert_exact(connection: psycopg.Connection[Any]) -> None:
    """Assert that each counter equals the sum of its reservations and that no amount is negative."""
    assert connection.execute(WRONG).fetchall() == []


def clear_usage(tx: Transaction) -> None:
    """Delete the usage that other tests recorded, so that shared quotas start at zero."""
    tx.sql("delete from public.llm_usage_totals")


def counter(connection: psycopg.Connection[Any], quota: int, owner: str) -> tuple[float, float]:
    """Return the used and the reserved amount of a quota."""
    row = connection.execute(
        "select used, reserved from llm_private.quota_counters where quota_id = %s and owner = %s",
        [quota, owner],
    ).fetchone()
    assert row is not None
    used, reserved = row.values() if isinstance(row, dict) else row
    return float(used), float(reserved)


def reservations(connection: psycopg.Connection[Any], request: str) -> int:
    """Return the number of quotas in which a request holds a reservation."""
    row = connection.execute(
        "select count(*) as n from llm_private.reservations where request_id = %s", [request]
    ).fetchone()
    assert row is not None
    return int(row["n"] if isinstance(row, dict) else row[0])


def expire(connection: psycopg.Connection[Any], request: str) -> None:
    """Expire the reservations of a request."""
    connection.execute(
        "update llm_private.reservations set expires_at = now() - interval '1 second' where request_id = %s",
        [request],
    )


def resolves(user: Caller, /, request: str | None = None, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Resolve a route for a new request, or for the one given. Return the request's id and the route."""
    id_ = request or request_id()
    route = user.rpc(
        "resolve_llm_route",
        p_request_id=id_,
        **{f"p_{name}": value for name, value in ({"task": "speed"} | arguments).items()},
    )
    return id_, route


def reserves(user: Caller, request: str, **changes: Any) -> None:
    """Reserve quota for an attempt of a request."""
    arguments = {
        "request_id": request,
        "attempt": 1,
        "provider": "groq",
        "model": "llama-3.1-8b-instant",
        "key_source": "user",
        "input_tokens": 0,
        "output_tokens": 1000,
        **changes,
    }
    user.rpc("reserve_llm_attempt", **{f"p_{name}": value for name, value in arguments.items()})


def sets(
    caller: Caller, limit: float, unit: str = "requests", period: str = "day", **fields: Any
) -> dict[str, Any]:
    """Set a quota."""
    quota = caller.rpc("set_llm_quota", p_quota={"limit": limit, "unit": unit, "period": period, **fields})
    assert isinstance(quota, dict)
    return quota


def prices(world: Transaction, *providers: str) -> None:
    """Set `RATES` as the price of all models of these providers."""
    for provider in providers:
        world.admin.rpc("set_llm_price", p_provider=provider, p_model="*", p_rates=RATES)


def figures(caller: Caller, quota: int) -> dict[str, Any]:
    """Return a quota as it is listed for a caller."""
    return next(line for line in caller.rpc("list_llm_quotas") if line["id"] == quota)
