"""What a runtime does for a metered user, and what must be true of the counters at any time."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.database.support import Caller, Transaction, request_id

#: What the models of these tests cost: a dollar for a million tokens, so 1000 tokens are a tenth of a cent.
RATES = {"input": 1, "output": 1}

# Counters whose reserved is not the sum of the reservations in them, or that say less than nothing.
WRONG = """
select c.*, r.amount from llm_private.quota_counters as c
cross join lateral (
  select coalesce(sum(r.amount), 0) as amount from llm_private.reservations as r
  where r.quota_id = c.quota_id and r.owner = c.owner and r.starts_at = c.starts_at
) as r
where c.reserved <> r.amount or c.used < 0 or c.reserved < 0
"""


def assert_exact(connection: psycopg.Connection[Any]) -> None:
    """Every counter holds what its reservations do, and nothing is negative."""
    assert connection.execute(WRONG).fetchall() == []


def nothing_was_used(tx: Transaction) -> None:
    """For quotas that all share: what other tests left in the ledger is not there in this transaction."""
    tx.sql("delete from public.llm_usage_totals")


def counter(connection: psycopg.Connection[Any], quota: int, owner: str) -> tuple[float, float]:
    """What was used of a quota, and what is reserved."""
    row = connection.execute(
        "select used, reserved from llm_private.quota_counters where quota_id = %s and owner = %s",
        [quota, owner],
    ).fetchone()
    assert row is not None
    used, reserved = row.values() if isinstance(row, dict) else row
    return float(used), float(reserved)


def reservations(connection: psycopg.Connection[Any], request: str) -> int:
    """In how many quotas a request holds something."""
    row = connection.execute(
        "select count(*) as n from llm_private.reservations where request_id = %s", [request]
    ).fetchone()
    assert row is not None
    return int(row["n"] if isinstance(row, dict) else row[0])


def expire(connection: psycopg.Connection[Any], request: str) -> None:
    """Let the time pass after which a request is held to be lost."""
    connection.execute(
        "update llm_private.reservations set expires_at = now() - interval '1 second' where request_id = %s",
        [request],
    )


def resolves(user: Caller, /, request: str | None = None, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Ask for a route, for a request that begins now unless one is named: its id, and the route."""
    begun = request or request_id()
    route = user.rpc(
        "resolve_llm_route",
        p_request_id=begun,
        **{f"p_{name}": value for name, value in ({"task": "speed"} | arguments).items()},
    )
    return begun, route


def reserves(user: Caller, request: str, **changes: Any) -> None:
    """Reserve for an attempt of a request."""
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
    """Give all models of these providers the price of these tests."""
    for provider in providers:
        world.admin.rpc("set_llm_price", p_provider=provider, p_model="*", p_rates=RATES)


def figures(caller: Caller, quota: int) -> dict[str, Any]:
    """A quota as it is listed for a caller."""
    return next(line for line in caller.rpc("list_llm_quotas") if line["id"] == quota)
