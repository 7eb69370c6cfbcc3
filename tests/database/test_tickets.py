"""Tickets and batches: a runtime records what it ran for many users, also after their tokens have expired."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from tests.database.metering import assert_exact, counter, prices, reservations, resolves, sets
from tests.database.support import (
    Caller,
    Http,
    Refused,
    Transaction,
    new_user,
    owner,
    refused,
    request_id,
    usage_event,
)
from tests.support import unique


@pytest.fixture
def runtime(tx: Transaction) -> dict[str, Any]:
    return dict(tx.admin.rpc("register_llm_runtime", p_name=unique("app")))


@pytest.fixture
def process(tx: Transaction, runtime: dict[str, Any]) -> Caller:
    """The runtime, without any user's token."""
    return tx.anon.through(runtime["secret"])


@pytest.fixture
def user(tx: Transaction, runtime: dict[str, Any]) -> Caller:
    """A user with a key, through the runtime."""
    return holder(tx, runtime)


def holder(tx: Transaction, runtime: dict[str, Any]) -> Caller:
    user = new_user(tx)
    user.holds_key("groq")
    return user.through(runtime["secret"])


def ticket(user: Caller) -> str:
    return str(resolves(user)[1]["ticket"])


def event(ticket: str | None = None, **changes: Any) -> dict[str, Any]:
    fields = {name.removeprefix("p_"): value for name, value in usage_event(**changes).items()}
    return fields | ({"ticket": ticket} if ticket else {})


def batch(caller: Caller, *events: Any) -> list[dict[str, Any]]:
    return list(caller.rpc("record_llm_usage_batch", p_events=list(events)))


def outcomes(answers: list[dict[str, Any]]) -> list[str]:
    return [answer.get("code", answer["status"]) for answer in answers]


# Tickets ------------------------------------------------------------------------------------------


def test_only_a_runtime_gets_a_ticket(tx: Transaction) -> None:
    user = new_user(tx)
    user.holds_key("groq")
    assert resolves(user)[1]["ticket"] is None


def test_a_runtime_records_with_a_ticket_and_without_the_users_token(
    tx: Transaction, runtime: dict[str, Any], process: Caller, user: Caller
) -> None:
    assert batch(process, event(ticket(user), input_tokens=7)) == [{"status": "recorded", "version": "1.1"}]
    (line,) = tx.sql("select * from public.llm_usage_events where user_id = %s", user.id)
    assert (str(line["recorder"]), line["input_tokens"]) == (runtime["id"], 7)


def test_a_ticket_alone_does_nothing(tx: Transaction, user: Caller) -> None:
    with refused("not_signed_in", 401):
        batch(tx.anon, event(ticket(user)))
    other = new_user(tx)
    assert outcomes(batch(other, event(ticket(user)))) == ["runtime_required"]


def test_a_runtimes_secret_alone_does_nothing(process: Caller) -> None:
    assert outcomes(batch(process, event())) == ["not_signed_in"]


def test_a_ticket_is_bound_to_its_runtime(tx: Transaction, user: Caller) -> None:
    other = tx.admin.rpc("register_llm_runtime", p_name=unique("other"))["secret"]
    assert outcomes(batch(tx.anon.through(other), event(ticket(user)))) == ["ticket_invalid"]


def test_a_changed_ticket_is_refused(tx: Transaction, process: Caller, user: Caller) -> None:
    good = ticket(user)
    victim = uuid.UUID(new_user(tx).id).hex
    later = f"{int(time.time()) + 10**6:016x}"
    for forged in (
        victim + good[32:],
        good[:32] + later + good[48:],
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.upper(),
        good[:-1],
        good + "0",
        "x" * 112,
        "f" * 100_000,
    ):
        assert outcomes(batch(process, event(forged))) == ["ticket_invalid"]
    assert outcomes(batch(process, event(good))) == ["recorded"]


def test_a_ticket_expires_after_a_day(
    tx: Transaction, runtime: dict[str, Any], process: Caller, user: Caller
) -> None:
    good = ticket(user)
    assert int(good[32:48], 16) == pytest.approx(time.time() + 24 * 3600, abs=120)
    old = tx.value(
        "select llm_private.sign_ticket(%s, %s, extract(epoch from now())::bigint - 1, t.secret)"
        " from llm_private.ticket_keys as t where t.valid_until is null",
        user.id,
        runtime["id"],
    )
    assert outcomes(batch(process, event(old), event(good))) == ["ticket_expired", "recorded"]


def test_a_revoked_runtime_records_what_it_ran_but_gets_no_route(
    tx: Transaction, runtime: dict[str, Any], process: Caller, user: Caller
) -> None:
    good = ticket(user)
    tx.admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
    assert outcomes(batch(process, event(good))) == ["recorded"]
    with refused("runtime_unknown"):
        resolves(user)
    with refused("runtime_unknown"):
        user.records()
    # Without a ticket, nothing proves that it ran something before.
    assert outcomes(batch(user, event())) == ["runtime_unknown"]


def test_a_ticket_opens_nothing_but_recording(http: Http) -> None:
    """As anon, a runtime may call a single RPC."""
    secret = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    process = http.anon.through(secret)
    for name in ("resolve_llm_route", "reveal_llm_key", "list_llm_keys", "get_llm_usage", "record_llm_usage"):
        response = http.send(process, "POST", f"rpc/{name}", content="{}")
        assert response.status_code in (401, 404), (name, response.text)


def test_usage_is_recorded_after_the_token_has_expired(http: Http) -> None:
    """The user's own token is refused by then."""
    secret = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    user = new_user(http).through(secret)
    user.holds_key("groq")
    _, route = resolves(user)
    expired = user.with_claims(exp=int(time.time()) - 3600)
    with pytest.raises(Refused) as error:
        expired.records()
    assert error.value.status == 401
    assert outcomes(batch(http.anon.through(secret), event(route["ticket"]))) == ["recorded"]
    assert user.rpc("get_llm_usage")[0]["attempts"] == 1


# Batches ------------------------------------------------------------------------------------------


def test_a_batch_has_events_of_many_users(tx: Transaction, runtime: dict[str, Any], process: Caller) -> None:
    users = [holder(tx, runtime) for _ in range(5)]
    tickets = [ticket(user) for user in users]
    answers = batch(process, *(event(tickets[number % 5], input_tokens=number) for number in range(20)))
    assert outcomes(answers) == ["recorded"] * 20
    for number, user in enumerate(users):
        (line,) = user.rpc("get_llm_usage")
        assert (line["attempts"], line["input_tokens"]) == (4, sum(range(number, 20, 5)))


def test_a_signed_in_user_records_a_batch_of_their_own(tx: Transaction) -> None:
    user = new_user(tx)
    assert outcomes(batch(user, event(), event())) == ["recorded", "recorded"]
    assert user.rpc("get_llm_usage")[0]["attempts"] == 2


def test_a_server_that_ignores_the_output_limit_raises_an_alert(
    tx: Transaction, process: Caller, user: Caller
) -> None:
    def alerts(caller: Caller) -> list[Any]:
        rows = caller.rpc("list_llm_alerts")
        return [it["detail"] for it in rows if it["kind"] == "output_limit_ignored"]

    ignored = {"output_tokens": 90, "ignored_limit": 50}
    batch(process, {**event(ticket(user)), "output_tokens": 50, "ignored_limit": 50})
    assert alerts(user) == []
    for _ in range(2):
        batch(process, {**event(ticket(user)), **ignored})
    detail = {"provider": "groq", "model": event()["model"], "limit": 50, "used": 90}
    assert alerts(user) == [detail]
    assert alerts(tx.admin) == [detail]
    alone = new_user(tx)
    batch(alone, {**event(), **ignored, "model": "invented"})
    assert [it["model"] for it in alerts(alone)] == ["invented"]
    assert alerts(tx.admin) == [detail]


def test_an_event_is_recorded_once(process: Caller, user: Caller) -> None:
    one, good = event(output_tokens=3), ticket(user)
    assert outcomes(batch(process, {**one, "ticket": good})) == ["recorded"]
    assert outcomes(batch(process, {**one, "ticket": good}, event(good))) == ["known", "recorded"]
    twice = event(good)
    batch(process, twice, twice)
    assert user.rpc("get_llm_usage")[0]["attempts"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"provider": "Groq!"},
        {"attempt": "first"},
        {"attempt": None},
        {"attempt": 10**12},
        {"request_id": "no-uuid"},
        {"request_id": None},
        {"input_tokens": -1},
        {"input_tokens": 1.5},
        {"key_id": "x"},
        {"streamed": "perhaps"},
        {"other_tokens": {"unknown": 1}},
        {"other_tokens": "x"},
        {"retry_after": "soon"},
        {"outcome": {"succeeded": True}},
        {"model": "x" * 10_000},
        {"release": "y" * 100},
        {"release": True, "requests": 0},
        {"release": True, "request_id": None},
    ],
)
def test_a_refused_event_fails_no_other(process: Caller, user: Caller, bad: dict[str, Any]) -> None:
    good = ticket(user)
    answers = batch(process, event(good), event(good) | bad, event(good))
    assert outcomes(answers) == ["recorded", "invalid_argument", "recorded"]
    assert user.rpc("get_llm_usage")[0]["attempts"] == 2


@pytest.mark.parametrize("bad", [None, 5, "text", [], [1]])
def test_an_event_that_is_no_object_fails_no_other(http: Http, bad: Any) -> None:
    user = new_user(http)
    assert outcomes(batch(user, event(), bad, event())) == ["recorded", "invalid_argument", "recorded"]


def test_a_refusal_quotes_no_value(process: Caller, user: Caller) -> None:
    (answer,) = batch(process, event(ticket(user), request_id="gsk_secret"))
    assert "gsk_secret" not in str(answer)


@pytest.mark.parametrize("events", [None, {}, "x", 7, [{}] * 501])
def test_a_batch_is_an_array_of_at_most_500_events(http: Http, events: Any) -> None:
    with refused("invalid_argument", 400):
        new_user(http).rpc("record_llm_usage_batch", p_events=events)


def test_an_empty_batch_records_nothing(http: Http) -> None:
    assert new_user(http).rpc("record_llm_usage_batch", p_events=[]) == []


def test_a_batch_leaves_the_same_ledger_as_single_calls(http: Http) -> None:
    """Totals, costs, key status and quotas."""
    secret = http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    one, other = (new_user(http).through(secret) for _ in range(2))
    for user in (one, other):
        user.holds_key("groq")
        user.holds_key("openai")
        user.rpc("set_llm_price", p_provider="groq", p_model="m", p_rates={"input": 1, "output": 2})
        for unit in ("requests", "tokens", "cost"):
            sets(user, 10**6, unit, unpriced="allow")
    _, route = resolves(other)

    def events(user: Caller) -> list[dict[str, Any]]:
        keys = {key["provider"]: key["id"] for key in user.rpc("list_llm_keys")}
        hour = 3600
        cases: list[tuple[int, dict[str, Any]]] = [
            (0, {"model": "m", "input_tokens": 10, "output_tokens": 5, "latency_ms": 120}),
            (0, {"model": "m", "input_tokens": 1000, "cached_input_tokens": 100, "latency_ms": 90}),
            (hour, {"model": "m", "task": "code", "outcome": "cancelled", "output_tokens": 1}),
            (hour, {"outcome": "failed", "error_class": "server_error", "attempt": 2, "latency_ms": 1}),
            (0, {"outcome": "failed", "error_class": "rate_limited", "retry_after": 90}),
            (0, {"model": "unpriced-model", "output_tokens": 9}),
            (0, {"key_source": "operator", "input_tokens": 4}),
        ]
        recorded = [
            event(request_id=request_id(time.time() - age), **{"key_id": keys["groq"], **changes})
            for age, changes in cases
        ]
        failed = event(provider="openai", key_id=keys["openai"], outcome="failed", error_class="auth")
        return [*recorded, failed]

    for fields in events(one):
        one.records(**fields)
    batch(http.anon.through(secret), *(fields | {"ticket": route["ticket"]} for fields in events(other)))

    def ledger(user: Caller) -> Any:
        with owner(http.stack) as connection:
            totals = connection.execute(
                "select provider, model, task, key_source, latency_counts, requests, attempts, fallbacks,"
                " failures, cancelled, input_tokens, cached_input_tokens, output_tokens, cost, unpriced,"
                " unreported from public.llm_usage_totals where user_id = %s order by 1, 2, 3, 4, hour",
                [user.id],
            ).fetchall()
            alerts = connection.execute(
                "select kind, subject from public.llm_alerts where user_id = %s and kind = 'price_missing'"
                " order by 1, 2",
                [user.id],
            ).fetchall()
        keys = [(key["provider"], key["status"]) for key in user.rpc("list_llm_keys")]
        quotas = [(quota["unit"], quota["used"], quota["reserved"]) for quota in user.rpc("list_llm_quotas")]
        return totals, alerts, keys, sorted(quotas)

    # The second user resolved a route, whose reservation is still there.
    held = {"requests": 1, "tokens": 8192, "cost": pytest.approx(0, abs=1)}
    totals, alerts, keys, quotas = ledger(one)
    assert (totals, alerts, keys) == ledger(other)[:3]
    for (unit, used, reserved), (_, same, more) in zip(quotas, ledger(other)[3], strict=True):
        assert same == used
        assert more - reserved == held[unit]


# Reservations -------------------------------------------------------------------------------------


def test_a_batch_settles_and_releases_reservations(tx: Transaction, process: Caller, user: Caller) -> None:
    quota = sets(user, 10)
    settled, route = resolves(user)
    dropped, _ = resolves(user)
    assert counter(tx.connection, quota["id"], user.id) == (0, 2)
    good = route["ticket"]
    release = {"ticket": good, "request_id": dropped, "release": True}
    assert outcomes(batch(process, event(good, request_id=settled), release)) == ["recorded", "released"]
    assert counter(tx.connection, quota["id"], user.id) == (1, 0)
    assert outcomes(batch(process, release)) == ["released"]
    assert reservations(tx.connection, dropped) == 0
    assert_exact(tx.connection)


def test_a_batch_settles_shared_quotas_of_several_users(
    tx: Transaction, runtime: dict[str, Any], process: Caller
) -> None:
    tx.sql("delete from public.llm_usage_totals")
    prices(tx, "groq")
    quota = sets(tx.admin, 1, "cost", shared=True)
    users = [holder(tx, runtime) for _ in range(3)]
    begun = [resolves(user, output_tokens=1000) for user in users]
    operator = "00000000-0000-0000-0000-000000000000"
    assert counter(tx.connection, quota["id"], operator) == (0, 0.003)
    batch(process, *(event(route["ticket"], request_id=id_, output_tokens=500) for id_, route in begun))
    assert counter(tx.connection, quota["id"], operator) == (0.0015, 0)
    assert_exact(tx.connection)


def test_nobody_settles_another_runtimes_reservation(tx: Transaction, process: Caller, user: Caller) -> None:
    quota = sets(user, 10)
    request, _ = resolves(user)
    other = tx.admin.rpc("register_llm_runtime", p_name=unique("other"))["secret"]
    theirs = ticket(user.through(other))
    before = counter(tx.connection, quota["id"], user.id)
    batch(tx.anon.through(other), {"ticket": theirs, "request_id": request, "release": True})
    assert counter(tx.connection, quota["id"], user.id) == before
    assert reservations(tx.connection, request) == 1
