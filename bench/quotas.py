"""Quotas: usage beyond an enforced quota when many requests run at once."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from bench.lab import Lab
from bench.load import Connection, RefusedError, new_id, rpc
from bench.measure import Measured
from bench.project import Project
from bench.routes import set_quota
from tests.support import User

_AT_ONCE = 64
_INPUT, _OUTPUT = 900, 500
_MODEL = "llama-3.1-8b-instant"
#: Unit → a quota of a few hundred requests, in US dollars, tokens and requests.
_LIMITS = {"requests": Decimal(300), "tokens": Decimal(300_000), "cost": Decimal("0.02")}
_USED = {
    "requests": "count(*) filter (where outcome <> 'failed')",
    "tokens": "coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)",
    "cost": "coalesce(sum(cost), 0)",
}


def quota_overspend(lab: Lab, rounds: int = 3) -> Measured:
    """Concurrent requests reserve with their route, run and are recorded, until all are refused.

    Some of them use less than they reserved, fail, or are never recorded.
    """
    ratios = []
    used: dict[str, Decimal] = dict.fromkeys(_LIMITS, Decimal(0))
    beyond = dict(used)
    refused = 0
    for _ in range(rounds):
        worst = Decimal(0)
        for unit, limit in _LIMITS.items():
            user = lab.small.user()
            set_quota(lab.small, user, unit=unit, limit=float(limit))
            refused += _use_up(lab.small, user)
            spent = _spent(lab.small, user, unit)
            used[unit] += spent / limit / rounds
            beyond[unit] = max(beyond[unit], spent - limit)
            worst = max(worst, (spent - limit) / limit)
        ratios.append(float(worst))
    return Measured(
        ratios,
        {
            **{f"{unit}_beyond": f"{beyond[unit]:f}" for unit in _LIMITS},
            **{f"{unit}_used": f"{100 * used[unit]:.0f} %" for unit in _LIMITS},
            "requests_at_once": _AT_ONCE,
            "refused": refused,
        },
    )


def _use_up(project: Project, user: User) -> int:
    """Send requests until all are refused; returns the number of refusals."""
    _lease(project, user)
    start = threading.Barrier(_AT_ONCE)

    def run(_: int) -> int:
        connection = Connection(project.url)
        refused = in_a_row = 0
        start.wait()
        # Other requests release part of their reservations, so one refusal is not final.
        while in_a_row < 10:
            if _request(project, user, connection):
                in_a_row = 0
            else:
                in_a_row += 1
                refused += 1
                time.sleep(random.uniform(0, 0.05))
        connection.close()
        return refused

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return sum(threads.map(run, range(_AT_ONCE)))


def _lease(project: Project, user: User) -> None:
    """Lease the key, which reserves nothing, so that each later call returns a route and reserves."""
    connection = Connection(project.url)
    connection.seconds(_resolve(project, user, new_id().decode()))
    connection.close()


def _resolve(project: Project, user: User, request_id: str) -> bytes:
    route = {
        "p_task": "speed", "p_model": f"groq/{_MODEL}", "p_request_id": request_id,
        "p_input_tokens": _INPUT, "p_output_tokens": _OUTPUT,
    }  # fmt: skip
    return rpc(project.url, "resolve_llm_route", route, user.access_token)()


def _request(project: Project, user: User, connection: Connection) -> bool:
    """Send one request; returns whether it was allowed."""
    request_id = new_id().decode()
    try:
        connection.seconds(_resolve(project, user, request_id))
    except RefusedError as refused:
        if refused.status != 429:
            raise
        return False
    time.sleep(random.uniform(0, 0.03))
    fate = random.random()
    if fate < 0.02:
        return True
    failed = fate < 0.1
    event = {
        "p_request_id": request_id, "p_attempt": 1, "p_task": "speed", "p_provider": "groq",
        "p_model": _MODEL, "p_key_source": "user", "p_outcome": "failed" if failed else "succeeded",
        "p_error_class": "server_error" if failed else None,
        "p_input_tokens": None if failed else random.randint(_INPUT // 2, _INPUT),
        "p_output_tokens": None if failed else random.randint(0, _OUTPUT),
    }  # fmt: skip
    connection.seconds(rpc(project.url, "record_llm_usage", event, user.access_token)())
    return True


def _spent(project: Project, user: User, unit: str) -> Decimal:
    """Usage by the events, not by the quota's own count."""
    with project.stack.connect() as connection:
        row = connection.execute(
            f"select {_USED[unit]} from public.llm_usage_events where user_id = %s", [user.id]
        ).fetchone()
    assert row is not None
    return Decimal(row[0])
