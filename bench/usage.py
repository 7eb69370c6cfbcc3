"""Usage: recording one event, with its totals and the status of its key, against inserting a bare row."""

from __future__ import annotations

from typing import Any

from bench.lab import Lab
from bench.load import Request
from bench.measure import Measured, compare_p50, compare_throughput

_CONNECTIONS = 32


def usage_p50(lab: Lab) -> Measured:
    return compare_p50(lab.url, *_sides(lab))


def usage_rps_hot_user(lab: Lab) -> Measured:
    """All of it for one user, one model and one day, so that all requests want the same totals."""
    return compare_throughput(lab.url, *_sides(lab), connections=_CONNECTIONS)


def _sides(lab: Lab) -> tuple[Request, Request]:
    user = lab.user()
    key_id = next(key["id"] for key in user.rpc("list_llm_keys") if key["provider"] == "groq")
    event: dict[str, Any] = {
        "p_attempt": 1,
        "p_task": "speed",
        "p_provider": "groq",
        "p_model": "llama-3.1-8b-instant",
        "p_key_source": "user",
        "p_key_id": key_id,
        "p_outcome": "succeeded",
        "p_error_class": None,
        "p_streamed": False,
        "p_latency_ms": 420,
        "p_input_tokens": 900,
        "p_cached_input_tokens": 100,
        "p_output_tokens": 120,
        "p_reasoning_tokens": 0,
        "p_retry_after": None,
    }
    record = lab.request_with_new_id(user, "record_llm_usage", "p_request_id", **event)
    insert = lab.request_with_new_id(user, "bench_insert_row", "p_request_id", **event)
    return record, insert
