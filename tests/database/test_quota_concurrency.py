"""Quotas under concurrent requests over HTTP: none is exceeded, no usage is lost, no call deadlocks."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.database.metering import (
    RATES,
    assert_exact,
    counter,
    expire,
    figures,
    reservations,
    reserves,
    resolves,
    sets,
)
from tests.database.support import Caller, Connection, Http, Refused, new_user, owner, request_id
from tests.support import Stack, unique

OPERATOR = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def db(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture
def operator(http: Http) -> Iterator[Callable[..., dict[str, Any]]]:
    """A function that sets operator quotas, which are removed at the end."""
    quotas: list[dict[str, Any]] = []

    def set_one(limit: float, unit: str = "requests", **fields: Any) -> dict[str, Any]:
        quotas.append(sets(http.admin, limit, unit, **fields))
        return quotas[-1]

    yield set_one
    for quota in quotas:
        http.admin.rpc("remove_llm_quota", p_id=quota["id"])


def account(http: Http) -> Caller:
    """Create a user with keys for models that cost a dollar per million tokens."""
    user = new_user(http)
    for provider in ("groq", "openai"):
        user.holds_key(provider)
        user.rpc("set_llm_price", p_provider=provider, p_model="*", p_rates=RATES)
    return user


@pytest.fixture
def operator_prices(http: Http) -> Iterator[None]:
    """The same prices for the operator's quotas."""
    set_ = [
        http.admin.rpc("set_llm_price", p_provider=provider, p_model="*", p_rates=RATES)["id"]
        for provider in ("groq", "openai")
    ]
    yield
    for price in set_:
        http.admin.rpc("end_llm_price", p_id=price)


def at_once(actions: Iterable[Callable[[], Any]]) -> Counter[str]:
    """Run all actions concurrently. Count how many passed, and the error codes of the others."""

    def run(action: Callable[[], Any]) -> str:
        try:
            action()
        except Refused as error:
            return error.code
        return "passed"

    with ThreadPoolExecutor(64) as pool:
        return Counter(pool.map(run, list(actions)))


def request(user: Caller, **arguments: Any) -> None:
    """Run a request of 1000 tokens as a runtime does."""
    begun, route = resolves(user, input_tokens=400, output_tokens=600, **arguments)
    first = route["candidates"][0]
    assert user.records(
        request_id=begun,
        provider=first["provider"],
        model=first["model"],
        task=route["task"],
        input_tokens=400,
        output_tokens=600,
    )


@pytest.mark.parametrize(("unit", "limit"), [("requests", 10), ("tokens", 10_000), ("cost", 0.01)])
def test_exactly_as_many_concurrent_requests_pass_as_the_quota_allows(
    http: Http, db: Connection, unit: str, limit: float
) -> None:
    user = account(http)
    quota = sets(user, limit, unit)
    assert at_once([partial(request, user)] * 64) == {"passed": 10, "quota_exceeded": 54}
    assert counter(db, quota["id"], user.id) == (limit, 0)
    assert_exact(db)


@pytest.mark.parametrize("first_use", [True, False])
def test_concurrent_requests_that_create_a_counter_do_not_exceed_the_quota(
    http: Http, db: Connection, operator: Callable[..., dict[str, Any]], first_use: bool
) -> None:
    """A user's first request creates their counter in an operator's quota."""
    user = account(http)
    if not first_use:
        for _ in range(4):
            user.records()
    quota = operator(10, user_id=user.id)
    passed = at_once([partial(request, user)] * 64)["passed"]
    assert passed == (10 if first_use else 6)
    assert counter(db, quota["id"], user.id) == (10, 0)
    assert_exact(db)


@pytest.mark.usefixtures("operator_prices")
def test_concurrent_requests_of_several_users_exceed_no_quota(
    http: Http, db: Connection, operator: Callable[..., dict[str, Any]]
) -> None:
    task = f"mixed-{uuid.uuid4()}"
    runtime = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    users = [account(http) for _ in range(4)]
    shared = operator(30, shared=True, task=task)
    spent = operator(0.032, "cost", shared=True, task=task)
    for user in users:
        sets(user, 12)
        sets(user, 8, provider="groq")
        sets(user, 8_000, "tokens", provider="openai")
    outcome = at_once([partial(request, user.through(runtime), task=task) for user in users * 24])
    assert outcome == {"passed": 30, "quota_exceeded": 66}
    assert counter(db, shared["id"], OPERATOR) == (30, 0)
    assert counter(db, spent["id"], OPERATOR) == (0.03, 0)
    for user in users:
        for quota in user.rpc("list_llm_quotas"):
            if not quota["shared"]:
                assert quota["used"] <= quota["limit"]
                assert quota["reserved"] == 0
    assert_exact(db)


# Lock order ---------------------------------------------------------------------------------------


def test_reserving_candidates_in_opposite_orders_does_not_deadlock(http: Http, db: Connection) -> None:
    user = account(http)
    for provider in ("groq", "openai"):
        for unit in ("requests", "tokens"):
            sets(user, 10**9, unit, provider=provider)
    sets(user, 10**9)

    def hops(orders: random.Random) -> None:
        begun = request_id()
        for _ in range(4):
            provider = orders.choice(["groq", "openai"])
            reserves(user, begun, provider=provider)
        user.records(request_id=begun, provider=provider, model="m", output_tokens=3)

    assert at_once([partial(hops, random.Random(seed)) for seed in range(128)]) == {"passed": 128}
    used = {
        (line["provider"], line["unit"]): (line["used"], line["reserved"])
        for line in user.rpc("list_llm_quotas")
    }
    assert used[(None, "requests")] == (128, 0)
    assert used[("groq", "tokens")][0] + used[("openai", "tokens")][0] == 3 * 128
    assert_exact(db)


def test_refusing_candidates_in_opposite_orders_does_not_deadlock(http: Http, db: Connection) -> None:
    user = account(http)
    for provider in ("groq", "openai"):
        sets(user, 0, provider=provider)
        sets(user, 10**9, "tokens", provider=provider)
    outcome = at_once([partial(resolves, user, model=f"{first}/m") for first in ("groq", "openai") * 64])
    assert outcome == {"quota_exceeded": 128}
    assert_exact(db)


def test_concurrent_reserving_settling_and_releasing_leaves_no_reservation(
    http: Http, db: Connection
) -> None:
    user = account(http)
    for provider in ("groq", "openai"):
        sets(user, 10**6, provider=provider)
    quota = sets(user, 10**6, "tokens")
    for _ in range(8):
        begun = request_id()
        outcome = at_once(
            [
                *[partial(reserves, user, begun, provider=provider) for provider in ("groq", "openai") * 4],
                *[partial(user.records, request_id=begun, output_tokens=5)] * 2,
                *[partial(user.rpc, "release_llm_request", p_request_id=begun)] * 4,
            ]
        )
        assert outcome == {"passed": 14}
        user.rpc("release_llm_request", p_request_id=begun)
        assert reservations(db, begun) == 0
    assert counter(db, quota["id"], user.id) == (40, 0)
    assert_exact(db)


def test_setting_and_removing_quotas_during_requests_loses_no_usage(http: Http, db: Connection) -> None:
    user = account(http)
    chance = random.Random(3)

    def change() -> None:
        fields = {"provider": chance.choice([None, "groq", "openai"]), "limit": 10**6}
        quota = user.rpc("set_llm_quota", p_quota={"unit": "requests", "period": "day", **fields})
        if chance.random() < 0.7:
            user.rpc("remove_llm_quota", p_id=quota["id"])

    actions = [partial(request_or_unmetered, user)] * 160 + [partial(change)] * 60
    chance.shuffle(actions)
    outcome = at_once(actions)
    # If two calls remove the same quota, one of them gets not_found.
    assert outcome.keys() <= {"passed", "not_found"}
    for provider in (None, "groq", "openai"):
        # A quota set now starts with the ledger's sum; one that still exists has counted every attempt.
        quota = sets(user, 10**6, provider=provider)
        counted = "select count(*) as n from public.llm_usage_events where user_id = %s"
        row = db.execute(
            counted + (" and provider = %s" if provider else ""), [user.id, *([provider] if provider else [])]
        ).fetchone()
        assert row is not None
        assert (quota["used"], quota["reserved"]) == (row["n"], 0)
    assert_exact(db)


def request_or_unmetered(user: Caller) -> None:
    """Run a request whose quota may be set or removed while it runs."""
    begun = request_id()
    provider = random.choice(["groq", "openai"])
    reserves(user, begun, provider=provider)
    assert user.records(request_id=begun, provider=provider, model="m", input_tokens=1)


def test_a_quota_set_during_requests_counts_each_of_them_once(http: Http, db: Connection) -> None:
    for _ in range(5):
        user = account(http)
        actions: list[Callable[[], Any]] = [user.records] * 40
        actions.insert(20, partial(sets, user, 10**6))
        assert at_once(actions) == {"passed": 41}
        (quota,) = user.rpc("list_llm_quotas")
        assert counter(db, quota["id"], user.id) == (40, 0)


def test_a_shared_quota_set_during_requests_counts_each_of_them_once(
    http: Http, db: Connection, operator: Callable[..., dict[str, Any]]
) -> None:
    runtime = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    users = [new_user(http).through(runtime) for _ in range(4)]
    for user in users:
        user.rpc("get_llm_settings")
    for _ in range(3):
        task = f"shared-{uuid.uuid4()}"
        actions: list[Callable[[], Any]] = [partial(user.records, task=task) for user in users * 10]
        actions.insert(20, partial(operator, 10**6, shared=True, task=task))
        assert at_once(actions) == {"passed": 41}
        (quota,) = [line for line in http.admin.rpc("list_llm_quotas") if line["task"] == task]
        assert counter(db, quota["id"], OPERATOR) == (40, 0)


# Killed callers -----------------------------------------------------------------------------------

CALLER = """
import sys, httpx
url, key, token, function = sys.argv[1:]
headers = {"apikey": key, "authorization": "Bearer " + token}
def call(name, **arguments):
    answer = httpx.post(f"{url}/rest/v1/rpc/{name}", json=arguments, headers=headers).raise_for_status()
    if b'"again"' in answer.content:
        call(name, **arguments)
for request in sys.stdin:
    request = request.strip()
    call("resolve_llm_route", p_task="speed", p_request_id=request, p_output_tokens=1000)
    print(request, flush=True)
    if sys.stdin.readline().strip() != "settle":
        break
    call("record_llm_usage", p_request_id=request, p_attempt=1, p_provider="groq", p_model="m",
         p_key_source="user", p_outcome="succeeded", p_output_tokens=250)
    print("settled", flush=True)
"""


def test_reservations_of_killed_callers_are_freed_when_they_expire(
    http: Http, stack: Stack, db: Connection
) -> None:
    user = new_user(http)
    user.holds_key("groq")
    enforced, tokens = sets(user, 8), sets(user, 8_000, "tokens")
    token = stack.sign(**dict(user.claims or {}))
    command = [sys.executable, "-c", CALLER, stack.api_url, stack.publishable_key, token, "speed"]
    callers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    begun = [request_id() for _ in callers]
    try:
        for caller, id_ in zip(callers, begun, strict=True):
            assert caller.stdin is not None
            print(id_, file=caller.stdin, flush=True)
        for caller, id_ in zip(callers, begun, strict=True):
            assert caller.stdout is not None
            assert caller.stdout.readline().strip() == id_
        assert counter(db, enforced["id"], user.id) == (0, 8)
        with pytest.raises(Refused, match="8 requests reserved"):
            resolves(user)
        for caller in callers[::2]:
            caller.kill()
        for caller in callers[1::2]:
            assert caller.stdin is not None
            assert caller.stdout is not None
            print("settle", file=caller.stdin, flush=True)
            assert caller.stdout.readline().strip() == "settled"
    finally:
        for caller in callers:
            caller.kill()
            caller.communicate()
    assert counter(db, enforced["id"], user.id) == (4, 4)
    assert counter(db, tokens["id"], user.id) == (1000, 4000)
    for id_ in begun[::2]:
        expire(db, id_)
    assert (figures(user, enforced["id"])["used"], figures(user, enforced["id"])["reserved"]) == (4, 0)
    assert at_once([partial(request, user)] * 16) == {"passed": 4, "quota_exceeded": 12}
    assert [reservations(db, id_) for id_ in begun] == [0] * 8
    assert counter(db, enforced["id"], user.id) == (8, 0)
    assert counter(db, tokens["id"], user.id) == (5000, 0)
    assert_exact(db)


# Reserving ahead ----------------------------------------------------------------------------------


def requests_ahead(user: Caller, together: int) -> None:
    """Resolve a route for several requests, and run all that it has reserved for."""
    begun, route = resolves(user, input_tokens=400, output_tokens=600, requests=together)
    first = route["candidates"][0]
    for number in range(route["reserved_requests"]):
        fate = random.random()
        if fate < 0.2:
            user.rpc("release_llm_request", p_request_id=begun, p_requests=1)
            continue
        user.records(
            request_id=begun if number == 0 else request_id(),
            reservation=begun,
            provider=first["provider"],
            model=first["model"],
            task=route["task"],
            input_tokens=400,
            output_tokens=None if fate < 0.3 else random.randint(0, 600),
        )


@pytest.mark.parametrize(("unit", "limit"), [("requests", 400), ("tokens", 400_000), ("cost", 0.4)])
def test_requests_that_were_reserved_ahead_exceed_no_quota(
    http: Http, db: Connection, unit: str, limit: float
) -> None:
    user = account(http)
    quota = sets(user, limit, unit)
    refused = 0
    while refused < 64:
        actions = [partial(requests_ahead, user, random.choice([1, 10, 100])) for _ in range(64)]
        refused = at_once(actions)["quota_exceeded"]
    used, reserved = counter(db, quota["id"], user.id)
    assert limit * 0.9 < used <= limit
    assert reserved == 0
    assert_exact(db)
