"""Usage of a team's keys: who may record it, who sees whose, and that sums stay exact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from psycopg.types.json import Json

from tests.database.ledger import Team, attempts, joins, leaves, price
from tests.database.support import Transaction, refused, request_id, usage_event

YESTERDAY = (date.today() - timedelta(days=2)).isoformat()


@pytest.fixture
def team(tx: Transaction, runtime: str) -> Team:
    return Team(tx, tx.connection, runtime)


# Recording ----------------------------------------------------------------------------------------


def test_an_attempt_with_a_team_key_names_the_team(tx: Transaction, team: Team) -> None:
    assert team.uses(team.member)
    (event,) = team.member.rpc("list_llm_usage_events")
    assert (event["key_source"], str(event["team_id"]), event["team"]) == ("team", team.id, "Research")
    (request,) = team.member.rpc("list_llm_requests")
    assert (request["attempts"][0]["team_id"], request["attempts"][0]["team"]) == (team.id, "Research")
    assert tx.value(
        "select team_id::text from public.llm_usage_totals where user_id = %s", team.member.id
    ) == (team.id)


def test_other_attempts_name_no_team(team: Team) -> None:
    team.member.records()
    (event,) = team.member.rpc("list_llm_usage_events")
    assert (event["team_id"], event["team"]) == (None, None)


@pytest.mark.parametrize("key_source", ["user", "operator"])
def test_only_attempts_with_a_team_key_may_name_a_team(team: Team, key_source: str) -> None:
    with refused("invalid_argument", 400):
        team.member.records(key_source=key_source, team_id=team.id)


def test_an_attempt_with_a_team_key_must_name_an_existing_team(team: Team) -> None:
    for invalid in (None, request_id()):
        with refused("invalid_argument", 400):
            team.member.records(key_source="team", team_id=invalid)


def test_users_cannot_record_the_use_of_a_team_key_themselves(tx: Transaction, team: Team) -> None:
    with refused("runtime_required", 403):
        team.uses(team.member.through(None))
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}
    answers = team.member.through(None).rpc(
        "record_llm_usage_batch", p_events=Json([event | {"key_source": "team", "team_id": team.id}])
    )
    assert [it["code"] for it in answers] == ["runtime_required"]
    assert team.report(tx.admin) == []


def test_attempts_of_a_batch_name_their_teams(tx: Transaction, runtime: str, team: Team) -> None:
    other = Team(tx, tx.connection, runtime, "Sales")
    joins(tx.connection, other.id, team.member)
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}
    answers = team.member.rpc(
        "record_llm_usage_batch",
        p_events=Json(
            [
                event | {"request_id": request_id(), "key_source": "team", "team_id": team.id},
                event | {"request_id": request_id(), "key_source": "team", "team_id": other.id},
                event | {"request_id": request_id()},
                event | {"request_id": request_id(), "team_id": team.id},
                event | {"request_id": request_id(), "key_source": "team"},
            ]
        ),
    )
    assert [it["status"] for it in answers] == ["recorded"] * 3 + ["refused"] * 2
    lines = team.member.rpc("get_llm_usage", p_bucket=None, p_by=["team"])
    assert {line["team"]: line["attempts"] for line in lines} == {"Research": 1, "Sales": 1, None: 1}
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0


def test_an_attempt_counts_for_a_member_who_left_and_a_team_that_was_removed(
    tx: Transaction, team: Team
) -> None:
    """It may have begun before either."""
    leaves(tx.connection, team.id, team.member)
    assert team.uses(team.member)
    tx.sql("update llm_private.teams set removed_at = now() where id = %s", team.id)
    assert team.uses(team.member)
    assert attempts(team.report(tx.admin)) == 2


def test_the_same_model_with_keys_of_several_teams_is_summed_separately(
    tx: Transaction, runtime: str, team: Team
) -> None:
    other = Team(tx, tx.connection, runtime, "Sales")
    for _ in range(2):
        team.uses(team.member)
        other.uses(team.member)
    team.member.records()
    assert tx.value("select count(*) from public.llm_usage_totals where user_id = %s", team.member.id) == 3
    assert attempts(team.report(team.member)) == 2
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0


def test_a_recalculation_adds_to_the_totals_of_the_team(tx: Transaction, team: Team) -> None:
    team.uses(team.member)
    price(tx, input=1_000_000)
    tx.admin.rpc("recalculate_llm_costs")
    (line,) = team.report(team.owner)
    assert (line["cost"], line["unpriced"]) == (10, 0)
    assert tx.value("select count(*) from public.llm_usage_totals where user_id = %s", team.member.id) == 1
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0


@pytest.mark.parametrize("batch", [False, True])
def test_the_outcome_marks_the_teams_key_and_alerts_its_owners_and_admins(
    tx: Transaction, team: Team, batch: bool
) -> None:
    own = team.member.holds_key("groq")["id"]
    tx.sql("select llm_private.ensure_key_owner(%s, true)", team.id)
    key = tx.value(
        "insert into public.llm_keys (owner_id, provider, hint)"
        " values (%s, 'groq', 'gsk_…1') returning id::text",
        team.id,
    )
    event = {name.removeprefix("p_"): value for name, value in usage_event().items()}
    event |= {"key_source": "team", "team_id": team.id, "outcome": "failed", "error_class": "auth"}
    for named in (own, key):
        begun = {"request_id": request_id(), "key_id": named}
        if batch:
            team.member.rpc("record_llm_usage_batch", p_events=Json([event | begun]))
        else:
            team.member.records(**event | begun)
    marked = tx.sql("select id::text, status from public.llm_keys where id = any (%s::uuid[])", [own, key])
    assert {it["id"]: it["status"] for it in marked} == {own: "untested", key: "rejected"}
    for caller, kinds in ((team.owner, ["key_rejected"]), (team.admin, ["key_rejected"]), (team.member, [])):
        alerts = caller.rpc("list_llm_alerts")
        assert [it["kind"] for it in alerts] == kinds
        assert [(it["detail"]["team_id"], it["detail"]["team"]) for it in alerts] == [
            (team.id, "Research")
        ] * len(kinds)


# Reports by role ----------------------------------------------------------------------------------


@pytest.fixture
def used(team: Team) -> Team:
    """A team whose members used its keys; the member also has usage of other keys."""
    team.uses(team.member, task="code")
    team.uses(team.member)
    team.uses(team.other)
    team.uses(team.admin)
    team.member.records()
    team.member.records(key_source="operator")
    return team


def test_a_member_sees_their_own_usage_of_the_teams_keys(used: Team) -> None:
    for user_id in (None, used.other.id):
        assert attempts(used.report(used.member, p_user_id=user_id)) == 2
        events = used.events(used.member, p_user_id=user_id)
        assert [str(it["user_id"]) for it in events] == [used.member.id] * 2
    (line,) = used.report(used.member, p_by=["user", "team"])
    assert (line["user_id"], line["team"]) == (used.member.id, "Research")


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_owners_and_admins_see_the_usage_of_all_members(used: Team, role: str) -> None:
    caller = getattr(used, role)
    lines = used.report(caller, p_by=["user"])
    expected = {used.member.id: 2, used.other.id: 1, used.admin.id: 1}
    assert {line["user_id"]: line["attempts"] for line in lines} == expected
    assert attempts(used.report(caller, p_user_id=used.member.id)) == 2
    assert attempts(used.report(caller, p_bucket="day", p_since=YESTERDAY)) == 4
    events = used.events(caller)
    assert [it["user_id"] for it in events] == sorted(it["user_id"] for it in events)
    assert {str(it["team_id"]) for it in events} == {used.id}
    assert len(events) == 4
    assert len(used.events(caller, p_user_id=used.member.id)) == 2
    # Their other usage stays their own.
    assert {it["key_source"] for it in events} == {"team"}
    assert caller.rpc("get_llm_usage", p_user_id=used.member.id) == caller.rpc("get_llm_usage")


def test_administrators_see_the_usage_of_a_team_with_its_name(tx: Transaction, used: Team) -> None:
    lines = used.report(tx.admin, p_by=["team", "user"])
    assert {(line["team"], line["attempts"]) for line in lines} == {("Research", 2), ("Research", 1)}
    assert attempts(used.report(tx.admin, p_user_id=used.member.id)) == 2
    assert len(used.events(tx.admin)) == 4
    lines = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["team"])
    assert {line["team_id"]: line["attempts"] for line in lines}[used.id] == 4
    tx.sql("update llm_private.teams set removed_at = now() where id = %s", used.id)
    tx.sql("delete from llm_private.team_members where team_id = %s", used.id)
    (line,) = used.report(tx.admin, p_by=["team"])
    assert (line["team"], line["attempts"]) == ("Research", 4)


def test_strangers_get_the_same_answer_for_any_team(tx: Transaction, used: Team, runtime: str) -> None:
    stranger = Team(tx, tx.connection, runtime).owner
    messages = set()
    for team in (used.id, request_id()):
        for function in ("get_llm_usage", "list_llm_usage_events"):
            with refused("team_not_found", 404) as error:
                stranger.rpc(function, p_team_id=team)
            messages.add(error.value.message)
    assert len(messages) == 1
    with refused("team_not_found", 404):
        tx.admin.rpc("get_llm_usage", p_team_id=request_id())


def test_a_former_member_keeps_their_own_report_and_loses_the_teams(tx: Transaction, used: Team) -> None:
    for user in (used.member, used.admin):
        leaves(tx.connection, used.id, user)
        with refused("team_not_found", 404):
            used.report(user)
        with refused("team_not_found", 404):
            used.events(user)
    lines = used.member.rpc("get_llm_usage", p_bucket=None, p_by=["team"])
    assert {line["team"]: line["attempts"] for line in lines} == {"Research": 2, None: 2}
    # Owners still see what they used.
    assert attempts(used.report(used.owner, p_user_id=used.member.id)) == 2


def test_only_reports_of_a_team_are_grouped_by_user(used: Team) -> None:
    with refused("invalid_argument", 400):
        used.owner.rpc("get_llm_usage", p_by=["user"])


def test_the_events_of_a_team_come_in_pages(used: Team) -> None:
    found: list[Mapping[str, Any]] = []
    cursor = None
    while page := used.events(used.owner, p_limit=1, p_after=cursor):
        found += page
        cursor = page[-1]["cursor"]
    assert found == used.events(used.owner)


def test_a_project_report_is_exact_when_hours_with_team_usage_are_rolled_up(
    tx: Transaction, used: Team
) -> None:
    tx.sql("select llm_private.roll_up_span('hour', date_trunc('hour', now(), 'UTC'))")
    lines = tx.admin.rpc("get_llm_usage", p_bucket=None, p_by=["key_source"])
    assert {line["key_source"]: line["attempts"] for line in lines}["team"] >= 4
    assert tx.admin.rpc("check_llm_usage")["differing"] == 0


def test_reports_of_a_team_read_only_its_rows(tx: Transaction, used: Team) -> None:
    """Otherwise a report of a small team would take as long as one of the project."""
    tx.sql("set local enable_seqscan = off")
    for query in (
        "select * from public.llm_usage_totals as t where t.team_id = %s and t.hour > now()",
        "select * from llm_private.adjusted_events as e where e.team_id = %s"
        " order by e.user_id, e.request_id, e.attempt, e.recorder limit 10",
    ):
        plan = "\n".join(str(it["QUERY PLAN"]) for it in tx.sql(f"explain {query}", used.id))
        assert "team" in plan
        assert "Seq Scan" not in plan
