"""Quotas of teams: who sets and sees them, what they count, and that no team spends more than its quota."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json

from tests.database.ledger import Team, joins, leaves
from tests.database.metering import (
    assert_exact,
    counter,
    expire,
    prices,
    reservations,
    reserves,
    resolves,
    sets,
)
from tests.database.support import (
    Caller,
    Connection,
    Http,
    Transaction,
    new_user,
    owner,
    refused,
    request_id,
    usage_event,
)
from tests.database.test_quota_concurrency import at_once
from tests.support import Stack, key_for, unique


@pytest.fixture
def team(tx: Transaction, runtime: str) -> Team:
    prices(tx, "groq", "openai")
    return Team(tx, tx.connection, runtime)


def limits(
    team: Team, limit: float, unit: str = "requests", caller: Caller | None = None, **fields: Any
) -> int:
    """Set a quota for a team, as its owner."""
    return int(sets(caller or team.owner, limit, unit, team_id=team.id, **fields)["id"])


def held(team: Team, user: Caller, request: str, **changes: Any) -> None:
    """Reserve for an attempt with the team's key."""
    reserves(user, request, **{"key_source": "team", "team_id": team.id, **changes})


def runs(team: Team, user: Caller, **changes: Any) -> None:
    """Run a request of 1000 tokens with the team's key, as a runtime does."""
    begun = request_id()
    held(team, user, begun, input_tokens=400, output_tokens=600, **changes)
    assert team.uses(user, request_id=begun, input_tokens=400, output_tokens=600, **changes)


def figures(team: Team, quota: int, caller: Caller, **arguments: Any) -> tuple[Any, Any]:
    (line,) = [it for it in team.quotas(caller, **arguments) if it["id"] == quota]
    return line.get("used"), line.get("reserved")


# Who sets and sees them ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_owners_and_admins_set_list_and_remove_quotas(tx: Transaction, team: Team, role: str) -> None:
    caller = getattr(team, role)
    quota = sets(caller, 20, "cost", "month", team_id=team.id, shared=True, provider="groq")
    assert quota | {"id": 0, "created_at": ""} == {
        "id": 0,
        "created_at": "",
        "set_by": "team",
        "team_id": team.id,
        "user_id": None,
        "group": None,
        "shared": True,
        "key_source": "team",
        "provider": "groq",
        "task": None,
        "unit": "cost",
        "period": "month",
        "clock": "utc",
        "limit": 20,
        "enforced": True,
        "unpriced": "refuse",
        "used": 0,
        "reserved": 0,
        "starts_at": quota["starts_at"],
        "resets_at": quota["resets_at"],
    }
    assert (
        sets(caller, 30, "cost", "month", team_id=team.id, shared=True, provider="groq")["id"] == quota["id"]
    )
    assert [it["limit"] for it in team.quotas(caller)] == [30]
    # It is no quota of the users' own.
    assert caller.rpc("list_llm_quotas") == []
    caller.rpc("remove_llm_quota", p_id=quota["id"])
    assert team.quotas(caller) == []
    log = tx.sql("select action, detail from public.llm_audit_log where user_id = %s order by id", team.id)
    assert [(it["action"], it["detail"]["by"]) for it in log] == [
        ("quota_set", caller.id),
        ("quota_set", caller.id),
        ("quota_removed", caller.id),
    ]


def test_members_see_a_teams_quotas_with_their_own_figures(team: Team) -> None:
    shared, each = limits(team, 10, shared=True), limits(team, 5)
    runs(team, team.member)
    runs(team, team.other)
    runs(team, team.other)
    assert (figures(team, shared, team.member), figures(team, each, team.member)) == ((None, None), (1, 0))
    # Another member's figures are not theirs to see.
    assert figures(team, each, team.member, p_user_id=team.other.id) == (1, 0)
    for caller in (team.owner, team.admin):
        assert (figures(team, shared, caller), figures(team, each, caller)) == ((3, 0), (0, 0))
        assert figures(team, each, caller, p_user_id=team.other.id) == (2, 0)


def test_members_cannot_change_quotas_of_their_team(tx: Transaction, team: Team) -> None:
    quota = limits(team, 10)
    with refused("team_role_required", 403):
        limits(team, 100, caller=team.member)
    with refused("not_found", 404):
        team.member.rpc("remove_llm_quota", p_id=quota)
    assert [it["limit"] for it in team.quotas(team.member)] == [10]


def test_admins_of_another_team_can_neither_set_list_nor_remove_quotas(
    tx: Transaction, runtime: str, team: Team
) -> None:
    quota = limits(team, 10, shared=True)
    others = Team(tx, tx.connection, runtime, "Sales")
    messages = set()
    for stranger in (others.owner, others.admin, new_user(tx).through(runtime)):
        for id_ in (team.id, request_id()):
            with refused("team_not_found", 404) as error:
                sets(stranger, 0, team_id=id_)
            messages.add(error.value.message)
            with refused("team_not_found", 404) as error:
                stranger.rpc("list_llm_quotas", p_team_id=id_)
            messages.add(error.value.message)
        with refused("not_found", 404):
            stranger.rpc("remove_llm_quota", p_id=quota)
    assert len(messages) == 1
    assert len(team.quotas(team.owner)) == 1


@pytest.mark.parametrize(
    ("aal", "error"),
    [("aal2", None), ("aal1", "second_factor_required"), (None, "second_factor_unknown")],
)
def test_the_operator_can_require_a_second_factor_to_change_quotas_of_a_team(
    tx: Transaction, team: Team, aal: str | None, error: str | None
) -> None:
    quota = limits(team, 10)
    required = {"keys_readable_by": "runtime", "require_second_factor": True}
    tx.admin.rpc("set_llm_operator_settings", p_changes=required)
    owner = team.owner.with_claims(aal=aal)
    # Users' own quotas need none.
    owner.rpc("remove_llm_quota", p_id=sets(owner, 5)["id"])
    if error is None:
        assert limits(team, 20, caller=owner) == quota
        owner.rpc("remove_llm_quota", p_id=quota)
    else:
        with refused(error, 403):
            limits(team, 20, caller=owner)
        with refused(error, 403):
            owner.rpc("remove_llm_quota", p_id=quota)
        assert [it["limit"] for it in team.quotas(owner)] == [10]
    # Whoever may not remove it does not learn whether it exists.
    with refused("not_found", 404):
        team.member.with_claims(aal=aal).rpc("remove_llm_quota", p_id=quota)
    cap = limits(team, 2, caller=tx.admin, shared=True)
    tx.admin.rpc("remove_llm_quota", p_id=cap)


def test_an_ended_session_changes_no_quota_of_a_team(tx: Transaction, team: Team) -> None:
    quota = limits(team, 10)
    tx.sql(
        "update auth.sessions set not_after = now() - interval '1 second' where user_id = %s", team.owner.id
    )
    with refused("session_ended", 401):
        limits(team, 20)
    with refused("session_ended", 401):
        team.owner.rpc("remove_llm_quota", p_id=quota)
    assert [it["limit"] for it in team.quotas(team.admin)] == [10]


def test_administrators_set_quotas_for_a_team_that_its_owners_cannot_change(
    tx: Transaction, team: Team
) -> None:
    cap = limits(team, 2, caller=tx.admin, shared=True)
    own = limits(team, 100, shared=True)
    with refused("not_found", 404):
        team.owner.rpc("remove_llm_quota", p_id=cap)
    assert [(it["id"], it["set_by"]) for it in team.quotas(team.owner)] == [(cap, "operator"), (own, "team")]
    for user in (team.member, team.other):
        runs(team, user)
    with refused("quota_exceeded", 429) as error:
        runs(team, team.owner)
    assert "The operator's quota of 2 requests a day (team keys)" in error.value.message
    listed = {it["id"]: it for it in tx.admin.rpc("list_llm_quotas")}
    assert (listed[cap]["used"], listed[own]["used"]) == (2, 2)
    assert figures(team, cap, tx.admin) == (2, 0)
    tx.admin.rpc("remove_llm_quota", p_id=cap)
    runs(team, team.owner)
    log = tx.sql(
        "select action from public.llm_audit_log where user_id = %s and actor = 'administrator' order by id",
        team.id,
    )
    assert [it["action"] for it in log] == ["quota_set", "quota_removed"]


def test_configurations_have_no_quotas_of_teams(tx: Transaction, team: Team) -> None:
    """The ids of teams differ between projects."""
    before = tx.admin.rpc("get_llm_configuration")
    limits(team, 2, caller=tx.admin, shared=True)
    limits(team, 2, shared=True)
    assert tx.admin.rpc("get_llm_configuration") == before


@pytest.mark.parametrize(
    "fields",
    [
        {"key_source": "user"},
        {"key_source": "operator"},
        {"user_id": request_id()},
        {"group": "staff"},
        {"shared": True, "clock": "user"},
        {"team_id": "research"},
        {"team_id": 7},
    ],
)
def test_a_quota_of_a_team_counts_its_keys_only(team: Team, fields: dict[str, Any]) -> None:
    with refused("invalid_quota", 400):
        sets(team.owner, 1, **{"team_id": team.id, **fields})


def test_users_cannot_share_a_quota_without_a_team(team: Team) -> None:
    with refused("invalid_quota", 400):
        sets(team.owner, 1, shared=True)


def test_a_team_has_at_most_50_quotas(tx: Transaction, team: Team) -> None:
    for number in range(50):
        limits(team, 1, task=f"task-{number}")
    with refused("invalid_quota", 400):
        limits(team, 1, task="one more")
    # An administrator's quota does not count against it.
    limits(team, 1, caller=tx.admin, task="one more")


def test_a_removed_team_gets_no_quota(tx: Transaction, team: Team) -> None:
    tx.sql("update llm_private.teams set removed_at = now() where id = %s", team.id)
    with refused("team_not_found", 404):
        limits(team, 1, caller=tx.admin)


# What they count ----------------------------------------------------------------------------------


def test_a_shared_quota_binds_the_team_as_a_whole(team: Team) -> None:
    quota = limits(team, 3, shared=True)
    for user in (team.member, team.other, team.owner):
        runs(team, user)
    for user in (team.member, team.admin):
        with refused("quota_exceeded", 429) as error:
            runs(team, user)
        # It shows no figures, from which a member could compute what others used.
        assert error.value.message.startswith(
            "The team's quota of 3 requests a day has too little left; it resets"
        )
        assert "ask an owner or admin of the team" in error.value.hint
    assert figures(team, quota, team.owner) == (3, 0)


def test_a_quota_that_is_not_shared_binds_each_member(team: Team) -> None:
    limits(team, 2)
    for user in (team.member, team.other):
        for _ in range(2):
            runs(team, user)
        with refused("quota_exceeded", 429) as error:
            runs(team, user)
        assert (
            "The team's quota of 2 requests a day has too little left: 2 requests used" in error.value.message
        )


@pytest.mark.parametrize("shared", [True, False])
def test_only_attempts_with_the_teams_keys_count(
    tx: Transaction, runtime: str, team: Team, shared: bool
) -> None:
    others = Team(tx, tx.connection, runtime, "Sales")
    joins(tx.connection, others.id, team.member)
    quota = limits(team, 1, shared=shared)
    team.member.records()
    team.member.records(key_source="operator")
    runs(others, team.member)
    reserves(team.member, request_id())
    reserves(team.member, request_id(), key_source="operator")
    assert figures(team, quota, team.owner, p_user_id=team.member.id) == (0, 0)
    runs(team, team.member)
    assert figures(team, quota, team.owner, p_user_id=team.member.id) == (1, 0)
    # A quota of one team refuses nothing else.
    runs(others, team.member)
    reserves(team.member, request_id())
    with refused("quota_exceeded", 429):
        runs(team, team.member)


def test_a_teams_quota_applies_beside_the_users_and_the_operators(tx: Transaction, team: Team) -> None:
    limits(team, 100)
    tx.admin.rpc("set_llm_quota", p_quota={"limit": 3, "unit": "requests", "period": "day"})
    sets(tx.admin, 2, user_id=team.member.id)
    for _ in range(2):
        runs(team, team.member)
    with refused("quota_exceeded", 429) as error:
        runs(team, team.member)
    assert error.value.message.startswith("The operator's quota of 2 requests")


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("unit", ["requests", "tokens", "cost"])
def test_a_new_quota_counts_what_the_team_has_used(team: Team, unit: str, shared: bool) -> None:
    for user in (team.member, team.member, team.other):
        team.uses(user, input_tokens=400, output_tokens=600)
    team.member.records(input_tokens=400, output_tokens=600)
    quota = limits(team, 100, unit, shared=shared)
    one = {"requests": 1, "tokens": 1000, "cost": 0.001}[unit]
    found = figures(team, quota, team.owner, p_user_id=team.member.id)
    assert found == (one * (3 if shared else 2), 0)
    if unit == "requests":
        runs(team, team.member)
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (one * (4 if shared else 3), 0)


def test_a_users_own_price_makes_a_teams_key_no_cheaper(team: Team) -> None:
    team.member.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 0, "output": 0})
    quota = limits(team, 1, "cost", shared=True)
    runs(team, team.member)
    assert figures(team, quota, team.owner) == (0.001, 0)


def test_users_cannot_use_up_a_teams_quota_without_a_runtime(team: Team) -> None:
    quota, each = limits(team, 1, shared=True), limits(team, 1)
    alone = team.member.through(None)
    for call in (
        partial(team.uses, alone),
        partial(held, team, alone, request_id()),
    ):
        with refused("runtime_required", 403):
            call()
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}
    answers = alone.rpc(
        "record_llm_usage_batch", p_events=Json([event | {"key_source": "team", "team_id": team.id}])
    )
    assert [it["code"] for it in answers] == ["runtime_required"]
    alone.records()
    assert (figures(team, quota, team.owner), figures(team, each, team.owner)) == ((0, 0), (0, 0))


def test_only_members_reserve_in_a_teams_quota(tx: Transaction, runtime: str, team: Team) -> None:
    limits(team, 1, shared=True)
    stranger = new_user(tx).through(runtime)
    with refused("team_not_found", 404):
        held(team, stranger, request_id())
    with refused("invalid_argument", 400):
        held(team, team.member, request_id(), team_id=None)
    with refused("invalid_argument", 400):
        held(team, team.member, request_id(), key_source="user")


def test_one_request_takes_a_limited_share_of_a_shared_quota(team: Team) -> None:
    limits(team, 1000, "tokens", shared=True)
    held(team, team.member, request_id(), input_tokens=0, output_tokens=250)
    with refused("request_too_large", 422) as error:
        held(team, team.member, request_id(), input_tokens=0, output_tokens=251)
    assert (
        error.value.message
        == "The team's quota of 1000 tokens a day allows one request to reserve at most 250 tokens."
    )


def test_alerts_go_to_owners_and_admins_or_to_the_member(tx: Transaction, team: Team) -> None:
    shared, each = limits(team, 4, shared=True), limits(team, 2)
    for user in (team.member, team.member, team.other, team.other):
        runs(team, user)

    def alerts(caller: Caller) -> set[tuple[str, int]]:
        return {(it["kind"], it["detail"].get("id")) for it in caller.rpc("list_llm_alerts")}

    reached = {("quota_warning", shared), ("quota_reached", shared)}
    assert alerts(team.owner) == alerts(team.admin) == reached
    assert alerts(team.member) == alerts(team.other) == {("quota_warning", each), ("quota_reached", each)}
    for user in (team.owner, team.member):
        assert {it["detail"]["team"] for it in user.rpc("list_llm_alerts")} == {"Research"}
    assert not {it for it in alerts(tx.admin) if it[1] in (shared, each)}
    runs_out = limits(team, 4, caller=tx.admin, shared=True)
    team.uses(team.member)
    assert ("quota_reached", runs_out) in alerts(tx.admin) & alerts(team.owner)


# Reservations -------------------------------------------------------------------------------------


def test_a_reservation_is_settled_with_the_usage(team: Team) -> None:
    shared, each = limits(team, 10_000, "tokens", shared=True), limits(team, 10_000, "tokens")
    begun = request_id()
    held(team, team.member, begun)
    for quota in (shared, each):
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (0, 1000)
    # Again, because the response was lost.
    held(team, team.member, begun)
    team.uses(team.member, request_id=begun, input_tokens=0, output_tokens=300)
    for quota in (shared, each):
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (300, 0)


def test_a_reservation_is_freed_when_another_key_answered(tx: Transaction, team: Team) -> None:
    """The candidate with the team's key could not be tried, and no quota counts the next one."""
    shared, each = limits(team, 10, shared=True), limits(team, 10)
    for fate in ("settled", "replaced", "released"):
        begun = request_id()
        held(team, team.member, begun)
        if fate == "settled":
            team.member.records(request_id=begun)
        elif fate == "replaced":
            reserves(team.member, begun)
        else:
            team.member.rpc("release_llm_request", p_request_id=begun)
        for quota in (shared, each):
            assert figures(team, quota, team.owner, p_user_id=team.member.id) == (0, 0)
        assert reservations(tx.connection, begun) == 0
    assert_exact(tx.connection)


def test_a_reservation_moves_to_another_teams_quota(tx: Transaction, runtime: str, team: Team) -> None:
    others = Team(tx, tx.connection, runtime, "Sales")
    joins(tx.connection, others.id, team.member)
    quota, theirs = limits(team, 10, shared=True), limits(others, 10, shared=True)
    begun = request_id()
    held(team, team.member, begun)
    held(others, team.member, begun)
    assert (figures(team, quota, team.owner), figures(others, theirs, others.owner)) == ((0, 0), (0, 1))
    team.uses(team.member, request_id=begun)
    assert (figures(team, quota, team.owner), figures(others, theirs, others.owner)) == ((1, 0), (0, 0))
    assert_exact(tx.connection)


def reserved_ahead(tx: Transaction, team: Team, user: Caller, request: str, requests: int) -> int:
    """Reserve for several requests, as a route does whose first candidate has the team's key."""
    candidate = {
        "provider": "groq",
        "model": "m",
        "key_source": "team",
        "team_id": team.id,
        "metered": True,
        "reason": "team_key",
    }
    runtime = tx.value("select id from llm_private.runtimes order by created_at desc limit 1")
    return int(
        tx.value(
            "select requests from llm_private.reserve_route(%s, %s,"
            " array(select q from llm_private.binding_quotas(%s, %s) as q), null, %s, %s, 0, 100, %s, null)",
            user.id,
            runtime,
            user.id,
            team.id,
            Json([candidate]),
            request,
            requests,
        )
    )


def test_requests_that_were_reserved_ahead_are_settled_one_by_one(tx: Transaction, team: Team) -> None:
    shared, each = limits(team, 10_000, "tokens", shared=True), limits(team, 8_000, "tokens")
    begun = request_id()
    # An eighth of what is left in the quota for each member.
    assert reserved_ahead(tx, team, team.member, begun, 100) == 10
    assert figures(team, shared, team.owner) == (0, 1000)
    team.uses(team.member, request_id=begun, input_tokens=0, output_tokens=40)
    for _ in range(5):
        team.uses(team.member, reservation=begun, input_tokens=0, output_tokens=40)
    for quota in (shared, each):
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (240, 400)
    team.member.rpc("release_llm_request", p_request_id=begun, p_requests=1)
    assert figures(team, shared, team.owner) == (240, 300)
    team.member.rpc("release_llm_request", p_request_id=begun)
    assert figures(team, shared, team.owner) == (240, 0)
    assert reservations(tx.connection, begun) == 0
    assert_exact(tx.connection)


def test_a_quota_that_is_used_up_refuses_the_route(tx: Transaction, team: Team) -> None:
    limits(team, 1, shared=True)
    runs(team, team.other)
    with (
        pytest.raises(psycopg.Error, match="The team's quota of 1 request a day"),
        tx.connection.transaction(),
    ):
        reserved_ahead(tx, team, team.member, request_id(), 1)


def test_a_route_reserves_in_the_quotas_of_its_team(tx: Transaction, team: Team) -> None:
    team.owner.rpc("set_llm_team_key", team_id=team.id, provider="groq", key=key_for("groq"))
    shared, each = limits(team, 1, shared=True), limits(team, 5)
    begun, route = resolves(team.member, team=team.id)
    first = route["candidates"][0]
    assert (first["key_source"], first["team_id"], first["metered"]) == ("team", team.id, True)
    for quota in (shared, each):
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (0, 1)
    team.uses(team.member, request_id=begun, provider="groq", task="speed")
    assert figures(team, shared, team.owner) == (1, 0)
    with refused("quota_exceeded", 429):
        resolves(team.other, team=team.id)
    explained = team.other.rpc("explain_llm_route", p_task="speed", p_team=team.id)
    assert "quota_exceeded" in {it["reason"] for it in explained["skipped"]}
    # Their own key is bound by no quota of the team, with or without it.
    team.other.holds_key("groq")
    _, route = resolves(team.other, team=team.id)
    assert [(it["key_source"], it["metered"]) for it in route["candidates"]] == [("user", False)]
    _, route = resolves(team.other, team="none")
    assert [(it["key_source"], it["metered"]) for it in route["candidates"]] == [("user", False)]
    assert_exact(tx.connection)


def test_a_period_begins_with_nothing_used(tx: Transaction, team: Team) -> None:
    shared, each = limits(team, 1, shared=True), limits(team, 1)
    runs(team, team.member)
    with refused("quota_exceeded", 429):
        runs(team, team.member)
    tx.sql(
        "update llm_private.quota_counters set starts_at = starts_at - interval '2 days',"
        " ends_at = ends_at - interval '2 days' where quota_id in (%s, %s)",
        shared, each,
    )  # fmt: skip
    for quota in (shared, each):
        assert figures(team, quota, team.owner, p_user_id=team.member.id) == (0, 0)
    runs(team, team.member)
    assert figures(team, shared, team.owner) == (1, 0)
    assert_exact(tx.connection)


def test_what_a_member_had_reserved_counts_after_they_left(tx: Transaction, team: Team) -> None:
    shared, each = limits(team, 10_000, "tokens", shared=True), limits(team, 10_000, "tokens")
    begun = request_id()
    held(team, team.member, begun)
    leaves(tx.connection, team.id, team.member)
    assert figures(team, shared, team.owner) == (0, 1000)
    with refused("team_not_found", 404):
        held(team, team.member, begun, attempt=2)
    team.uses(team.member, request_id=begun, input_tokens=0, output_tokens=70)
    assert figures(team, shared, team.owner) == (70, 0)
    assert counter(tx.connection, each, team.member.id) == (70, 0)
    assert_exact(tx.connection)


def test_what_a_deleted_member_had_reserved_expires(tx: Transaction, team: Team) -> None:
    shared = limits(team, 10_000, "tokens", shared=True)
    begun = request_id()
    held(team, team.member, begun)
    tx.sql("delete from auth.users where id = %s", team.member.id)
    assert figures(team, shared, team.owner) == (0, 1000)
    expire(tx.connection, begun)
    # A runtime that does not report usage cannot make it free: see unsettled_reservations.
    assert figures(team, shared, team.owner) == (1000, 0)
    runs(team, team.other)
    assert figures(team, shared, team.owner) == (2000, 0)
    assert_exact(tx.connection)


def test_a_request_in_flight_ends_after_its_team_was_removed(tx: Transaction, team: Team) -> None:
    cap = limits(team, 10, caller=tx.admin, shared=True)
    limits(team, 10, shared=True)
    limits(team, 10)
    own = sets(team.member, 10)["id"]
    begun, lost = request_id(), request_id()
    held(team, team.member, begun)
    held(team, team.other, lost)
    team.owner.rpc("remove_llm_team", p_team_id=team.id)
    assert team.uses(team.member, request_id=begun)
    assert reservations(tx.connection, begun) == reservations(tx.connection, lost) == 0
    assert counter(tx.connection, own, team.member.id) == (1, 0)
    assert not {it["id"] for it in tx.admin.rpc("list_llm_quotas")} & {cap}
    assert tx.value("select count(*) from llm_private.quotas where team_id = %s", team.id) == 0
    assert_exact(tx.connection)


def test_a_batch_settles_attempts_of_several_members_and_teams(
    tx: Transaction, runtime: str, team: Team
) -> None:
    others = Team(tx, tx.connection, runtime, "Sales")
    joins(tx.connection, others.id, team.member)
    ours, theirs = limits(team, 100, shared=True), limits(others, 100, shared=True)
    each, own = limits(team, 100), sets(team.member, 100)["id"]
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}
    events = []
    for paying in (team, others, team, others, None):
        begun = request_id()
        paid: dict[str, Any] = {"key_source": "team", "team_id": paying.id} if paying else {}
        reserves(team.member, begun, **paid)
        events.append(event | {"request_id": begun, **paid})
    released = request_id()
    held(team, team.member, released)
    assert figures(team, ours, team.owner) == (0, 3)
    events.append({"request_id": released, "release": True})
    answers = team.member.rpc("record_llm_usage_batch", p_events=Json(events))
    assert [it["status"] for it in answers] == ["recorded"] * 5 + ["released"]
    assert (figures(team, ours, team.owner), figures(others, theirs, others.owner)) == ((2, 0), (2, 0))
    assert counter(tx.connection, each, team.member.id) == (2, 0)
    assert counter(tx.connection, own, team.member.id) == (5, 0)
    assert_exact(tx.connection)


# At the same time ---------------------------------------------------------------------------------


@pytest.fixture
def db(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture
def priced(http: Http) -> Iterator[None]:
    set_ = [
        http.admin.rpc("set_llm_price", p_provider=provider, p_model="*", p_rates={"input": 1, "output": 1})[
            "id"
        ]
        for provider in ("groq", "openai")
    ]
    yield
    for price in set_:
        http.admin.rpc("end_llm_price", p_id=price)


def new_runtime(http: Http) -> str:
    return str(http.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"])


def callers(http: Http, team: Team) -> list[Caller]:
    """Return every member through each of several runtimes."""
    runtimes = [new_runtime(http) for _ in range(3)]
    return [
        user.through(runtime)
        for runtime in runtimes
        for user in (team.owner, team.admin, team.member, team.other)
    ]


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(("unit", "limit"), [("requests", 10), ("tokens", 10_000), ("cost", 0.01)])
def test_no_team_spends_more_than_its_quota_with_many_members_and_runtimes_at_once(
    http: Http, db: Connection, unit: str, limit: float
) -> None:
    team = Team(http, db, new_runtime(http))
    quota = limits(team, limit, unit, shared=True)
    outcome = at_once([partial(runs, team, user) for user in callers(http, team) * 8])
    assert outcome == {"passed": 10, "quota_exceeded": 86}
    assert counter(db, quota, team.id) == (limit, 0)
    assert_exact(db)


@pytest.mark.usefixtures("priced")
def test_no_member_spends_more_than_their_share_at_once(http: Http, db: Connection) -> None:
    """Their first requests open the counters."""
    team, others = Team(http, db, new_runtime(http)), Team(http, db, new_runtime(http))
    each, shared = limits(team, 5), limits(team, 18, shared=True)
    cap = limits(team, 0.5, "cost", caller=http.admin, shared=True)
    joins(db, others.id, team.member)
    theirs = limits(others, 7, shared=True)
    actions = [partial(runs, team, user) for user in callers(http, team) * 4]
    actions += [partial(runs, others, team.member)] * 12
    outcome = at_once(actions)
    assert outcome == {"passed": 18 + 7, "quota_exceeded": 48 - 18 + 5}
    assert counter(db, shared, team.id) == (18, 0)
    assert counter(db, cap, team.id) == (0.018, 0)
    assert counter(db, theirs, others.id) == (7, 0)
    for user in (team.owner, team.admin, team.member, team.other):
        used, reserved = counter(db, each, user.id)
        assert used <= 5
        assert reserved == 0
    assert_exact(db)
    http.admin.rpc("remove_llm_quota", p_id=cap)


def test_a_quota_that_is_set_during_requests_counts_each_of_them_once(http: Http, db: Connection) -> None:
    team = Team(http, db, new_runtime(http))
    users = callers(http, team)
    for task in ("one", "two", "three"):
        actions: list[Any] = [partial(team.uses, user, task=task) for user in users * 4]
        actions.insert(20, partial(limits, team, 10**6, shared=True, task=task))
        actions.insert(30, partial(limits, team, 10**6, task=task))
        assert at_once(actions) == {"passed": 50}
        found = {it["id"]: it for it in team.quotas(team.owner) if it["task"] == task}
        (shared,) = [it["id"] for it in found.values() if it["shared"]]
        assert counter(db, shared, team.id) == (48, 0)
        (each,) = [it["id"] for it in found.values() if not it["shared"]]
        assert [figures(team, each, team.owner, p_user_id=it.id)[0] for it in users[:4]] == [12] * 4
    assert_exact(db)


def test_batches_and_changes_of_quotas_at_once_lose_no_usage(http: Http, db: Connection) -> None:
    """They lock the counters of several teams and users, in batches of any order."""
    secret = new_runtime(http)
    teams = [Team(http, db, secret, name) for name in ("one", "two")]
    user = new_user(http).through(secret)
    for team in teams:
        joins(db, team.id, user)
        limits(team, 10**6, shared=True)
        limits(team, 10**6)
    sets(user, 10**6)
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}

    def batch(number: int) -> None:
        order = teams if number % 2 else teams[::-1]
        events = [
            event | {"request_id": request_id(), "key_source": "team", "team_id": team.id}
            for team in order * 3
        ]
        answers = user.rpc("record_llm_usage_batch", p_events=events)
        assert {it["status"] for it in answers} == {"recorded"}

    def change(number: int) -> None:
        team = teams[number % 2]
        quota = limits(team, 10**6, shared=True, task=f"task-{number}")
        team.owner.rpc("remove_llm_quota", p_id=quota)

    actions = [partial(batch, number) for number in range(40)]
    for number in range(20):
        actions.insert(number * 3, partial(change, number))
        actions.insert(number * 3, partial(runs, teams[number % 2], user))
    assert at_once(actions) == {"passed": 80}
    for team in teams:
        (shared,) = [it for it in team.quotas(team.owner) if it["shared"]]
        assert counter(db, shared["id"], team.id) == (40 * 3 + 10, 0)
        (each,) = [it for it in team.quotas(team.owner) if not it["shared"]]
        assert counter(db, each["id"], user.id) == (40 * 3 + 10, 0)
    assert_exact(db)


def test_setting_a_quota_of_a_team_holds_up_only_its_own_usage(http: Http, db: Connection) -> None:
    """Admins of a team are users, who must not hold up anyone else."""
    secret = new_runtime(http)
    team, others = Team(http, db, secret), Team(http, db, secret)
    with owner(http.stack) as setting, setting.transaction(force_rollback=True):
        tx = Transaction(setting)
        sets(Caller(tx, "authenticated", team.owner.claims), 10, team_id=team.id, shared=True)
        with owner(http.stack) as recording:
            recording.execute("set lock_timeout = '300ms'")

            def record(user: Caller, **paid: Any) -> None:
                with recording.transaction(force_rollback=True):
                    Caller(Transaction(recording), "authenticated", user.claims, secret).records(**paid)

            record(others.member, key_source="team", team_id=others.id)
            record(team.member)
            record(team.member, key_source="operator")
            with refused("55P03"):
                record(team.member, key_source="team", team_id=team.id)
