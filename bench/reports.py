"""Reports: the usage of a large project and of one of its users."""

from __future__ import annotations

import time
from statistics import median
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from bench.lab import Lab
from bench.load import Connection, Side
from bench.measure import Measured
from bench.project import Project, say
from tests.support import Stack, User

_USERS = 100

_REPORT = """
select * from json_to_recordset(
  public.get_llm_usage(p_since => '2000-01-01', p_bucket => null, p_by => '{provider,model}')
) as r (
  provider text, model text, requests bigint, attempts bigint, fallbacks bigint, failures bigint,
  cancelled bigint, input_tokens bigint, cached_input_tokens bigint, cache_write_tokens bigint,
  output_tokens bigint, reasoning_tokens bigint, cost numeric, cache_savings numeric, unpriced bigint,
  unreported bigint
)
order by provider, model
"""

# Without the time of the last request and the latency percentiles, which the report also has.
_SUM = """
select
  provider, model, count(*) filter (where attempt = 1) as requests, count(*) as attempts,
  count(*) filter (where attempt = 2) as fallbacks, count(*) filter (where outcome = 'failed') as failures,
  count(*) filter (where outcome = 'cancelled') as cancelled,
  coalesce(sum(input_tokens), 0) as input_tokens,
  coalesce(sum(cached_input_tokens), 0) as cached_input_tokens,
  coalesce(sum(cache_write_tokens), 0) as cache_write_tokens,
  coalesce(sum(output_tokens), 0) as output_tokens,
  coalesce(sum(reasoning_tokens), 0) as reasoning_tokens,
  -- As in the report: a model without a known price is not free because its failures cost nothing.
  nullif(sum(cost), 0) as cost,
  coalesce(sum(cache_savings), 0) as cache_savings,
  count(*) filter (where cost is null and price_id is null) as unpriced,
  count(*) filter (where cost is null and price_id is not null) as unreported
from public.llm_usage_events
group by provider, model
order by provider, model
"""


def report_10m(lab: Lab, rounds: int = 5) -> Measured:
    """All usage by provider and model, as an administrator's report and as sums of the events."""
    _roll_up(lab.large.stack)
    reported, summed = [], []
    with lab.large.stack.connect() as connection:
        connection.execute("grant service_role to current_user")
        for number in range(rounds + 1):
            seconds, report = _rows(connection, _REPORT, "service_role")
            sum_seconds, sums = _rows(connection, _SUM)
            if report != sums:
                raise AssertionError(
                    f"The report differs from the sums: {set(map(str, report)) ^ set(map(str, sums))}"
                )
            if number:
                reported.append(1000 * seconds)
                summed.append(1000 * sum_seconds)
    return Measured(
        [a / b for a, b in zip(reported, summed, strict=True)],
        {
            "report_ms": round(median(reported), 1),
            "against_ms": round(median(summed)),
            "users": lab.scale.users,
            "events": sum(row["attempts"] for row in sums),
            **_of_users(lab.large),
        },
    )


def _roll_up(stack: Stack) -> None:
    """Roll up half a year at once; an operator does it every hour."""
    start = time.monotonic()
    while not (done := stack.admin("run_llm_maintenance"))["done"]:
        say(f"rolling up, {done['hours_left']} hours left")
        assert time.monotonic() - start < 1800, "Rolling up took more than half an hour."
    with stack.connect() as connection:
        # Autovacuum does this within a minute or two; without it, the report takes four times as long.
        connection.execute("analyze llm_private.project_totals, llm_private.usage_rollups")


def _rows(
    connection: psycopg.Connection[Any], query: LiteralString, role: LiteralString = "postgres"
) -> tuple[float, list[dict[str, Any]]]:
    connection.execute(f"set role {role}")
    start = time.perf_counter()
    rows = connection.cursor(row_factory=dict_row).execute(query).fetchall()
    taken = time.perf_counter() - start
    connection.execute("reset role")
    return taken, rows


def _of_users(project: Project) -> dict[str, float]:
    """Milliseconds of a user's own report over half a year: of some users, and of the busiest one."""
    crowd = project.crowd(_USERS)

    def p50(sides: list[Side]) -> float:
        connection = Connection(project.url)
        seconds = [connection.seconds(side.request()) for side in sides]
        connection.close()
        return round(1000 * median(seconds), 2)

    def report(user: User) -> Side:
        return project.request(user, "get_llm_usage", p_since="2000-01-01", p_bucket="month")

    # The first user of the crowd is the first of all users, who has the most sessions.
    return {
        "user_report_p50_ms": p50([report(user) for user in crowd]),
        "busiest_user_report_p50_ms": p50([report(crowd[0])] * 20),
    }
