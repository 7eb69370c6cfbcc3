"""Routes: the time to resolve one, and how rarely a busy user needs to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.lab import Lab
from bench.load import Side
from bench.measure import Measured, compare_p50
from bench.project import Project
from supa_llm import SupaLLM
from tests.support import User

#: Users of each project, for the figures of scale.
CROWD = 300

_ROUTE: dict[str, Any] = {
    "p_task": "speed",
    "p_model": None,
    "p_needs": ["chat"],
    "p_operator_providers": [],
}
_TASKS = ("speed", "code")
_REQUESTS = 300
_THREADS = 8


def route_p50(lab: Lab) -> Measured:
    """Three candidates with three decrypted keys, within the lease of the first call."""
    user = lab.small.user()
    return compare_p50(_route(lab.small, user), lab.small.request(user, "bench_select_1"))


def route_p50_quota(lab: Lab) -> Measured:
    """The same for a user with a quota, so that each route reserves."""
    user = lab.small.user()
    set_quota(lab.small, user)
    reserve = lab.small.request_with_new_id(
        user, "resolve_llm_route", "p_request_id", **_ROUTE, p_input_tokens=900, p_output_tokens=200
    )
    return compare_p50(reserve, lab.small.request(user, "bench_select_1"))


def route_scale(lab: Lab) -> Measured:
    """The same route in both projects, each time of another user, so that no single page stays warm."""
    sides = [
        project.in_turn([_route(project, user) for user in project.crowd(CROWD)])
        for project in (lab.large, lab.twin)
    ]
    measured = compare_p50(*sides)
    measured.detail.update(users=lab.scale.users, events=lab.scale.events)
    return measured


def route_calls(lab: Lab, rounds: int = 3) -> Measured:
    """A user with concurrent requests of two tasks; every other request is a stream."""
    assert lab.emulator
    ratios = []
    calls = 0
    for _ in range(rounds):
        user = lab.small.user()
        with SupaLLM(user.client(), operator_keys={}) as llm:
            before = lab.small.calls_seen("resolve_llm_route")
            with ThreadPoolExecutor(_THREADS) as threads:
                for _ in threads.map(lambda number, llm=llm: _request(llm, number), range(_REQUESTS)):
                    pass
            ratios.append((lab.small.calls_seen("resolve_llm_route") - before) / _REQUESTS)
            calls += round(ratios[-1] * _REQUESTS)
    return Measured(
        ratios, {"route_rpcs": calls, "requests": rounds * _REQUESTS, "requests_at_once": _THREADS}
    )


def route_calls_quota(lab: Lab, rounds: int = 3) -> Measured:
    """The same for a user bound by a quota that is far from used up: route and reserve RPCs."""
    assert lab.emulator
    ratios = []
    for _ in range(rounds):
        user = lab.small.user()
        set_quota(lab.small, user)
        before = _reserving_calls(lab.small)
        with (
            SupaLLM(user.client(), operator_keys={}) as llm,
            ThreadPoolExecutor(_THREADS) as threads,
        ):
            for _ in threads.map(lambda number, llm=llm: _request(llm, number), range(_REQUESTS)):
                pass
        ratios.append((_reserving_calls(lab.small) - before) / _REQUESTS)
    return Measured(ratios, {"requests": rounds * _REQUESTS, "requests_at_once": _THREADS})


def _reserving_calls(project: Project) -> int:
    return sum(project.calls_seen(name) for name in ("resolve_llm_route", "reserve_llm_attempt"))


def set_quota(project: Project, user: User, **quota: Any) -> None:
    """Set an enforced quota for this user; the default is a cost that no benchmark reaches."""
    project.stack.admin(
        "set_llm_quota",
        p_quota={"unit": "cost", "limit": 1_000_000, "period": "month", "user_id": user.id, **quota},
    )


def _route(project: Project, user: User) -> Side:
    """Requests within a lease, which the first request of the side has written."""
    return project.request(user, "resolve_llm_route", **_ROUTE)


def _request(llm: SupaLLM, number: int) -> None:
    task = _TASKS[number // 2 % len(_TASKS)]
    if number % 2:
        with llm.stream("Hello", task=task) as pieces:
            for _ in pieces:
                pass
    else:
        llm.chat("Hello", task=task)
