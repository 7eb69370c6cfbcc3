"""Routes: how long resolving one takes, and how seldom a busy user needs it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.lab import Lab
from bench.measure import Measured, compare_p50
from supa_llm import SupaLLM

_TASKS = ("speed", "code")
_REQUESTS = 300
_THREADS = 8


def route_p50(lab: Lab) -> Measured:
    """Three keys decrypted for three candidates, within the lease that the first call took."""
    user = lab.user()
    resolve = lab.request(
        user, "resolve_llm_route", p_task="speed", p_model=None, p_needs=["chat"], p_operator_providers=[]
    )
    return compare_p50(lab.url, resolve, lab.request(user, "bench_select_1"))


def route_calls(lab: Lab, rounds: int = 3) -> Measured:
    """A user with several requests at once, of two tasks, every other one streamed."""
    assert lab.emulator
    ratios = []
    calls = 0
    for _ in range(rounds):
        user = lab.user()
        with SupaLLM(user.client(), operator_keys={}) as llm:
            before = lab.calls_seen("resolve_llm_route")
            with ThreadPoolExecutor(_THREADS) as threads:
                for _ in threads.map(lambda number, llm=llm: _request(llm, number), range(_REQUESTS)):
                    pass
            ratios.append((lab.calls_seen("resolve_llm_route") - before) / _REQUESTS)
            calls += round(ratios[-1] * _REQUESTS)
    return Measured(
        ratios, {"route_rpcs": calls, "requests": rounds * _REQUESTS, "requests_at_once": _THREADS}
    )


def _request(llm: SupaLLM, number: int) -> None:
    task = _TASKS[number // 2 % len(_TASKS)]
    if number % 2:
        with llm.stream("Hello", task=task) as pieces:
            for _ in pieces:
                pass
    else:
        llm.chat("Hello", task=task)
