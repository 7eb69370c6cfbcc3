"""Helpers for ledger tests: insert usage at any time, set prices, and count reported attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.database.support import Caller, Connection, Transaction, World, new_user, request_id

#: Earlier than any usage in the tests.
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

_EVENT = """
insert into public.llm_usage_events (
  user_id, request_id, attempt, recorder, provider, model, task, key_source, outcome, streamed, latency_ms,
  input_tokens, output_tokens, cost, list_cost, price_id
)
values (
  %(user)s, %(request_id)s, %(attempt)s, %(user)s, %(provider)s, %(model)s, %(task)s, 'user', 'succeeded',
  false, %(latency_ms)s, %(input_tokens)s, %(output_tokens)s, %(cost)s, %(cost)s, %(price_id)s
)
"""

_TOTALS = """
insert into public.llm_usage_totals (
  user_id, hour, provider, model, task, key_source, recorder, requests, attempts, fallbacks, input_tokens,
  output_tokens, cost, list_cost, unpriced, latency_counts, last_used_at
)
select
  %(user)s, date_trunc('hour', t.at, 'UTC'), %(provider)s, %(model)s, %(task)s, 'user', %(user)s,
  (%(attempt)s = 1)::integer, 1, (%(attempt)s = 2)::integer, %(input_tokens)s, %(output_tokens)s,
  coalesce(%(cost)s::numeric, 0), coalesce(%(cost)s::numeric, 0), (%(cost)s::numeric is null)::integer,
  llm_private.histogram(array[%(latency_ms)s::integer]), t.at
from (select llm_private.uuid_v7_time(%(request_id)s) as at) as t
"""

_NOTED = """
select llm_private.note_hour(date_trunc('hour', llm_private.uuid_v7_time(%(request_id)s), 'UTC'))
"""


def backfill(tx: Transaction, user: Caller, at: datetime, **changes: Any) -> dict[str, Any]:
    """Insert an attempt at any time into the ledger, bypassing the checks of recording."""
    event = {
        "user": user.id,
        "request_id": request_id(at.timestamp()),
        "attempt": 1,
        "provider": "groq",
        "model": "m",
        "task": None,
        "latency_ms": 100,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost": 1,
        "price_id": 1,
        **changes,
    }
    for query in (_EVENT, _TOTALS, _NOTED):
        tx.connection.execute(query, event)
    return event


def price(tx: Transaction, model: str = "*", provider: str = "groq", **rates: float) -> None:
    """Set a price that is valid for all usage in the tests."""
    tx.admin.rpc("set_llm_price", p_provider=provider, p_model=model, p_rates=rates, p_valid_from=LONG_AGO)


def attempts(lines: Sequence[Mapping[str, Any]]) -> int:
    return sum(line["attempts"] for line in lines)


def project_attempts(tx: Transaction) -> int:
    """Return the number of attempts in the project report, for all users and times."""
    lines = tx.admin.rpc("get_llm_usage", p_since="2000-01-01", p_bucket=None, p_by=[])
    return attempts(lines)


def new_team(connection: Connection, name: str = "Research", **members: Caller | Sequence[Caller]) -> str:
    """Insert a team with members by role, such as ``owner=user, member=[another]``. Return its id."""
    row = connection.execute(
        "insert into llm_private.teams (name) values (%s) returning id::text", [name]
    ).fetchone()
    assert row is not None
    for role, users in members.items():
        for user in [users] if isinstance(users, Caller) else users:
            joins(connection, row["id"], user, role)
    return str(row["id"])


def joins(connection: Connection, team: str, user: Caller, role: str = "member") -> None:
    """Insert a member of a team."""
    connection.execute(
        "insert into llm_private.team_members (team_id, user_id, role) values (%s, %s, %s)",
        [team, user.id, role],
    )


def leaves(connection: Connection, team: str, user: Caller) -> None:
    """Delete a member of a team."""
    connection.execute(
        "delete from llm_private.team_members where team_id = %s and user_id = %s", [team, user.id]
    )


class Team:
    """A team with an owner, an admin and two members, who call through a runtime."""

    def __init__(self, world: World, connection: Connection, runtime: str, name: str = "Research") -> None:
        self.owner, self.admin, self.member, self.other = (new_user(world).through(runtime) for _ in range(4))
        self.id = new_team(
            connection, name, owner=self.owner, admin=self.admin, member=[self.member, self.other]
        )

    def uses(self, user: Caller, **changes: Any) -> bool:
        """Record an attempt of a user with the team's key."""
        return user.records(**{"key_source": "team", "team_id": self.id, "input_tokens": 10, **changes})

    def report(self, caller: Caller, **arguments: Any) -> list[Mapping[str, Any]]:
        found = caller.rpc("get_llm_usage", **{"p_bucket": None, "p_team_id": self.id, **arguments})
        assert isinstance(found, list)
        return found

    def events(self, caller: Caller, **arguments: Any) -> list[Mapping[str, Any]]:
        found = caller.rpc("list_llm_usage_events", p_team_id=self.id, **arguments)
        assert isinstance(found, list)
        return found

    def quotas(self, caller: Caller, **arguments: Any) -> list[dict[str, Any]]:
        found = caller.rpc("list_llm_quotas", p_team_id=self.id, **arguments)
        assert isinstance(found, list)
        return found
