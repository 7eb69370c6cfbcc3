"""Usage: recording an event with cost, totals and key status, against inserting a bare row."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from bench.lab import Lab
from bench.load import Side, new_id
from bench.measure import Measured, Rate, compare_p50, compare_rates, compare_throughput, throughput
from bench.project import Project
from bench.routes import CROWD, set_quota
from supa_llm.client.recorder import Recorder
from supa_llm.client.session import AccessToken
from supa_llm.database import transport
from supa_llm.database.transport import Database
from supa_llm.values.secrets import Secret
from supa_llm.values.usage import Recording
from tests.support import User

_CONNECTIONS = 32
#: Most events that wait for the recorder.
_WAITING = 1000
_BATCH, _BATCH_USERS = 100, 20
_RESERVED_AHEAD = 3000
_EVENT: dict[str, Any] = {
    "p_attempt": 1,
    "p_task": "speed",
    "p_provider": "groq",
    "p_model": "llama-3.1-8b-instant",
    "p_key_source": "user",
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


def usage_p50(lab: Lab) -> Measured:
    user = lab.small.user()
    return compare_p50(_record(lab.small, user), _insert(lab.small, user))


def usage_rps_hot_user(lab: Lab) -> Measured:
    """One user, one model and one hour, so that all events update the same totals.

    Requests at once leave their events to the recorder of a runtime, and do not wait for them.
    """
    project, user = lab.small, lab.small.user()
    secret = project.runtime()
    event = {name.removeprefix("p_"): value for name, value in _event(user).items()}
    event["ticket"] = _ticket(user, secret)
    with httpx.Client(timeout=30) as http:
        database = Database(transport.Project(project.url, "sb_publishable_", Secret(secret)), http)
        recorder = Recorder(database.run)
        measured = compare_rates(
            _through(recorder, event, AccessToken.read(user.access_token)),
            throughput(_insert(project, user), _CONNECTIONS),
            connections=_CONNECTIONS,
        )
        recorder.close(10)
    measured.detail["dropped"] = recorder.dropped
    return measured


def usage_batch(lab: Lab) -> Measured:
    """A runtime records events of many users in one call, as the client's recorder does."""
    secret = lab.small.runtime()
    events = []
    for user in (lab.small.user() for _ in range(_BATCH_USERS)):
        event = {name.removeprefix("p_"): value for name, value in _event(user).items()}
        event["ticket"] = _ticket(user, secret)
        events += [event] * (_BATCH // _BATCH_USERS)
    measured = compare_throughput(
        lab.small.batch(secret, events), _insert(lab.small, user), connections=1, measured_weight=_BATCH
    )
    measured.detail.update(events_a_call=_BATCH, users_a_call=_BATCH_USERS)
    return measured


def usage_p50_quota(lab: Lab) -> Measured:
    """The same for a user with a quota: recording settles the reservation of each request."""
    user = lab.small.user()
    return compare_p50(_settle(lab.small, user), _insert(lab.small, user))


def usage_rps_hot_user_quota(lab: Lab) -> Measured:
    """The same for one user, whose requests all update the counter of the quota."""
    user = lab.small.user()
    return compare_throughput(_settle(lab.small, user), _insert(lab.small, user), connections=_CONNECTIONS)


def usage_scale(lab: Lab) -> Measured:
    """The same in both projects, each time for another user."""
    sides = [
        project.in_turn([_record(project, user) for user in project.crowd(CROWD)])
        for project in (lab.large, lab.twin)
    ]
    measured = compare_p50(*sides)
    measured.detail.update(users=lab.scale.users, events=lab.scale.events)
    return measured


def _record(project: Project, user: User) -> Side:
    return project.request_with_new_id(user, "record_llm_usage", "p_request_id", **_event(user))


def _through(recorder: Recorder, event: dict[str, Any], token: AccessToken) -> Rate:
    """Events per second that a recorder records if requests at once have as many as it takes."""

    def run(seconds: float) -> float:
        recorded = 0
        room = threading.Semaphore(_WAITING)

        def then(_: Recording) -> None:
            nonlocal recorded
            recorded += 1
            room.release()

        def request(_: int) -> None:
            while time.perf_counter() < start + seconds:
                room.acquire()
                recorder.put({**event, "request_id": new_id().decode()}, token, then)

        start = time.perf_counter()
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            list(threads.map(request, range(_CONNECTIONS)))
        recorder.flush(60)
        return recorded / (time.perf_counter() - start)

    return run


def _insert(project: Project, user: User) -> Side:
    return project.request_with_new_id(user, "bench_insert_row", "p_request_id", **_event(user))


def _settle(project: Project, user: User) -> Side:
    set_quota(project, user)
    ids: deque[bytes] = deque()

    def reserve() -> None:
        """Reserve for more requests than a round can send, as their routes would."""
        new = [new_id().decode() for _ in range(_RESERVED_AHEAD - len(ids))]
        with project.stack.connect() as connection, connection.transaction():
            claims = json.dumps({"sub": user.id, "role": "authenticated"})
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            connection.execute("set local role authenticated")
            connection.execute(
                "select public.reserve_llm_attempt(id, 1, %s, %s, 'user', %s, 900, 200)"
                " from unnest(%s::uuid []) as id",
                [_EVENT["p_provider"], _EVENT["p_model"], _EVENT["p_task"], new],
            )
            connection.execute("reset role")
            # They were inserted at once, so autovacuum has not analyzed them yet.
            connection.execute("analyze llm_private.reservations, llm_private.quota_counters")
        ids.extend(one.encode() for one in new)

    reserve()
    side = project.request_with_new_id(user, "record_llm_usage", "p_request_id", ids.popleft, **_event(user))
    return Side(side.url, side.request, reserve)


def _ticket(user: User, secret: str) -> str:
    """The ticket of a route; the first call only leases the keys."""
    for _ in range(2):
        route = user.stack.rpc("resolve_llm_route", user.access_token, secret, p_task="speed").json()
    return str(route["ticket"])


def _event(user: User) -> dict[str, Any]:
    keys = user.rpc("list_llm_keys")
    return {**_EVENT, "p_key_id": next(key["id"] for key in keys if key["provider"] == _EVENT["p_provider"])}
