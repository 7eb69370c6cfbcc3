"""Routes with a team: its keys, its policy, and that a member's settings narrow it and never widen it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused, runtime_user
from tests.database.test_route import models, resolve, settle, skipped
from tests.support import key_for

OPERATOR = ["openai", "groq", "mistral", "anthropic", "google"]


class Team:
    """A team as its owner sees it."""

    def __init__(self, tx: Transaction, owner: Caller) -> None:
        self.tx, self.owner = tx, owner
        self.id: str = owner.rpc("create_llm_team", p_name="Lab")["id"]

    def joined_by(self, user: Caller, role: str = "member") -> None:
        self.tx.sql(
            "insert into llm_private.team_members (team_id, user_id, role) values (%s, %s, %s)",
            self.id,
            user.id,
            role,
        )

    def holds_key(self, provider: str, number: int = 0) -> dict[str, Any]:
        stored = self.owner.rpc(
            "set_llm_team_key", team_id=self.id, provider=provider, key=key_for(provider, number)
        )
        assert isinstance(stored, dict)
        return stored

    def settle(self, **changes: Any) -> None:
        self.owner.rpc("set_llm_team", p_team_id=self.id, p_changes=changes)


@pytest.fixture
def team(tx: Transaction) -> Team:
    """A team with keys for OpenAI and Groq."""
    team = Team(tx, new_user(tx))
    team.holds_key("openai", 71)
    team.holds_key("groq", 72)
    return team


@pytest.fixture
def member(tx: Transaction, team: Team) -> Caller:
    """A member who uses a runtime and has a key for Mistral."""
    member = runtime_user(tx)
    team.joined_by(member)
    member.holds_key("mistral", 73)
    settle(member, default_team=team.id)
    return member


def keys(user: Caller, **request: Any) -> dict[str, str]:
    """The keys of a route: source:provider → key."""
    named = {f"p_{name}": value for name, value in request.items()}
    route = user.rpc("resolve_llm_route", **named)
    return {f"{it['key_source']}:{it['provider']}": it["key"] for it in route["candidates"]}


# Keys ---------------------------------------------------------------------------------------------


def test_the_teams_keys_come_first_unless_the_team_says_otherwise(team: Team, member: Caller) -> None:
    assert resolve(member) == ["team:openai=team_key", "team:groq=team_key", "user:mistral=preference_order"]
    team.settle(keys_first="member")
    assert resolve(member) == ["user:mistral=preference_order", "team:openai=team_key", "team:groq=team_key"]


def test_a_runtime_gets_the_teams_keys_and_they_are_the_teams(team: Team, member: Caller) -> None:
    assert keys(member) == {
        "team:openai": key_for("openai", 71),
        "team:groq": key_for("groq", 72),
        "user:mistral": key_for("mistral", 73),
    }
    route = member.rpc("resolve_llm_route")
    assert [it["team_id"] for it in route["candidates"]] == [team.id, team.id, None]


def test_without_a_runtime_nobody_gets_a_key_of_the_team(tx: Transaction, team: Team, member: Caller) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
    alone = member.through(None)
    assert keys(alone) == {"user:mistral": key_for("mistral", 73)}
    assert skipped(alone)["team:openai"] == "runtime_required"
    owner = team.owner.in_new_session()
    with refused("no_usable_key"):
        owner.rpc("resolve_llm_route", p_team=team.id)


def test_each_member_has_leases_of_their_own(tx: Transaction, team: Team, member: Caller) -> None:
    other = new_user(tx).through(member.runtime)
    team.joined_by(other)
    keys(member)
    answer = other.once("resolve_llm_route", p_team=team.id)
    assert answer == {"again": True}
    assert tx.value("select count(*) from llm_private.leases where user_id = %s", other.id) == 2


def test_a_lease_of_a_teams_key_is_on_the_members_and_the_teams_log(
    tx: Transaction, team: Team, member: Caller
) -> None:
    keys(member)
    logged = tx.sql(
        "select user_id::text, detail ->> 'by' as by from public.llm_audit_log"
        " where action = 'lease' and provider = 'groq' and user_id = any (%s::uuid[]) order by user_id = %s",
        [team.id, member.id],
        member.id,
    )
    assert [(it["user_id"], it["by"]) for it in logged] == [(team.id, member.id), (member.id, None)]


@pytest.mark.parametrize("operator_providers", [[], OPERATOR])
def test_fallbacks_off_leaves_one_candidate(member: Caller, operator_providers: list[str]) -> None:
    settle(member, enable_fallbacks=False)
    assert resolve(member, operator_providers=operator_providers) == ["team:openai=team_key"]


# Which team ---------------------------------------------------------------------------------------


def test_a_request_names_its_team_or_none(tx: Transaction, team: Team, member: Caller) -> None:
    second = Team(tx, new_user(tx))
    second.joined_by(member)
    second.holds_key("anthropic", 81)
    assert resolve(member, team=second.id)[0] == "team:anthropic=team_key"
    assert resolve(member, team="none") == ["user:mistral=preference_order"]
    settle(member, default_team=None)
    assert resolve(member) == ["user:mistral=preference_order"]
    assert resolve(member, team=team.id)[0] == "team:openai=team_key"


@pytest.mark.parametrize(
    "name", ["stranger's", "0198a000-0000-7000-8000-000000000001", "x", "", "NONE", "a" * 36]
)
def test_a_team_of_others_cannot_be_named(tx: Transaction, member: Caller, name: str) -> None:
    named = Team(tx, new_user(tx)).id if name == "stranger's" else name
    for rpc in ("resolve_llm_route", "explain_llm_route"):
        with refused("team_not_found", status=404):
            member.rpc(rpc, p_team=named)


def test_who_left_gets_nothing_of_the_team(tx: Transaction, team: Team, member: Caller) -> None:
    assert "team:openai" in keys(member)
    tx.sql("delete from llm_private.team_members where user_id = %s", member.id)
    assert member.rpc("get_llm_settings")["default_team"] is None
    assert keys(member) == {"user:mistral": key_for("mistral", 73)}
    with refused("team_not_found"):
        member.rpc("resolve_llm_route", p_team=team.id)


# Policy -------------------------------------------------------------------------------------------


def test_only_allowed_providers_and_models_serve_whoever_pays(team: Team, member: Caller) -> None:
    team.settle(allowed_providers={"groq": True, "openai": ["gpt-5.5"]})
    assert models(member, operator_providers=OPERATOR) == [
        "openai/gpt-5.5",
        "groq/openai/gpt-oss-120b",
        "groq/openai/gpt-oss-120b",
        "openai/gpt-5.5",
    ]
    left_out = skipped(member, operator_providers=OPERATOR)
    assert left_out["user:mistral"] == left_out["operator:mistral"] == "team_policy"


def test_a_requested_model_that_the_team_does_not_allow_is_skipped(team: Team, member: Caller) -> None:
    team.settle(allowed_providers={"groq": True, "openai": ["gpt-5.5"]})
    assert "requested" not in str(resolve(member, model="openai/gpt-4o"))
    assert resolve(member, model="openai/gpt-5.5")[0] == "team:openai=requested"
    line = member.rpc("explain_llm_route", p_model="openai/gpt-4o")["skipped"][0]
    assert (line["reason"], line["message"]) == ("team_policy", "Your team does not allow gpt-4o at OpenAI.")


def test_with_nothing_allowed_the_error_says_so(team: Team, member: Caller) -> None:
    team.settle(allowed_providers={"anthropic": True})
    with refused("no_usable_key") as error:
        member.rpc("resolve_llm_route")
    assert "Your team does not allow" in error.value.hint


def test_the_teams_choices_apply_where_the_member_has_none(team: Team, member: Caller) -> None:
    team.settle(
        default_provider="groq",
        provider_preferences={"mistral": {"priority": 0, "model": "mistral-of-the-team"}},
        task_overrides={"code": {"provider": "openai", "model": "gpt-of-the-team"}},
    )
    assert resolve(member) == ["team:groq=team_policy", "team:openai=team_key", "user:mistral=team_policy"]
    assert models(member)[-1] == "mistral/mistral-of-the-team"
    assert resolve(member, task="code")[0] == "team:openai=team_policy"
    assert models(member, task="code")[0] == "openai/gpt-of-the-team"
    settle(
        member,
        default_provider="mistral",
        provider_preferences={"mistral": {"model": "mine"}},
        task_overrides={"code": {"provider": "groq"}},
    )
    assert resolve(member) == ["team:openai=team_key", "team:groq=team_key", "user:mistral=default_provider"]
    assert models(member)[-1] == "mistral/mine"
    assert resolve(member, task="code")[0] == "team:groq=task_override"


def test_a_members_settings_narrow_and_never_widen(team: Team, member: Caller) -> None:
    team.settle(
        allowed_providers={"groq": True, "openai": ["gpt-5.5"], "mistral": True},
        provider_preferences={"mistral": {"enabled": False}},
        task_overrides={"code": {"provider": "groq", "fallbacks": []}},
    )
    settle(
        member,
        default_provider="google",
        provider_preferences={"mistral": {"enabled": True}, "openai": {"model": "gpt-4o"}},
        task_overrides={"code": {"provider": "openai", "model": "gpt-4o"}},
    )
    assert models(member) == ["openai/gpt-5.5", "groq/openai/gpt-oss-120b"]
    assert skipped(member)["user:mistral"] == "team_policy"
    assert resolve(member, task="code") == ["team:groq=team_policy"]
    settle(member, provider_preferences={"groq": {"enabled": False}})
    assert models(member) == ["openai/gpt-5.5"]
    assert skipped(member)["team:groq"] == "provider_disabled"


def test_a_closed_override_of_the_team_is_closed_to_members(team: Team, member: Caller) -> None:
    team.settle(task_overrides={"diary": {"provider": "mistral", "fallbacks": [{"provider": "groq"}]}})
    assert resolve(member, task="diary") == ["team:groq=team_policy", "user:mistral=team_policy"]
    assert skipped(member, task="diary")["team:openai"] == "not_in_task_fallbacks"


def test_the_policy_ends_with_the_team(team: Team, member: Caller) -> None:
    team.settle(allowed_providers={"groq": True})
    assert resolve(member, team="none", model="mistral/small") == ["user:mistral=requested"]


# Key states ---------------------------------------------------------------------------------------


def test_messages_say_that_the_key_is_the_teams(team: Team, member: Caller, tx: Transaction) -> None:
    tx.sql(
        "update public.llm_keys set status = 'rejected' where owner_id = %s and provider = 'groq'", team.id
    )
    lines = member.rpc("explain_llm_route")["skipped"]
    (line,) = [it for it in lines if it["reason"] == "key_rejected"]
    assert line["message"].startswith("Groq rejected the team's key ")
    assert line["message"].endswith("Ask an owner or admin of the team to replace it.")


def test_a_member_gets_the_newest_key_after_it_was_replaced(team: Team, member: Caller) -> None:
    before = member.rpc("resolve_llm_route")
    team.holds_key("groq", 99)
    after = member.rpc("resolve_llm_route")
    assert keys(member)["team:groq"] == key_for("groq", 99)
    assert before["version"] != after["version"]


# Versions -----------------------------------------------------------------------------------------


def test_a_change_while_a_route_is_resolved_outdates_it(tx: Transaction, team: Team, member: Caller) -> None:
    keys(member)
    signature = tx.value("select pg_get_function_identity_arguments('llm_private.keyed_route'::regproc)")
    tx.sql("alter function llm_private.keyed_route rename to keyed_route_before_a_change")
    tx.sql(f"""
        create function llm_private.keyed_route({signature}) returns llm_private.keyed_route
        language plpgsql as $$
        declare
          v_route constant llm_private.keyed_route := llm_private.keyed_route_before_a_change(
            p_user, p_holder, p_quotas, p_task, p_model, p_needs, p_operator_providers, p_team
          );
        begin
          update llm_private.key_owners set version = version + 1 where id = p_team;
          return v_route;
        end $$
    """)
    outdated = member.rpc("resolve_llm_route")["version"]
    tx.sql(f"drop function llm_private.keyed_route({signature})")
    tx.sql("alter function llm_private.keyed_route_before_a_change rename to keyed_route")
    assert member.rpc("resolve_llm_route")["version"] != outdated


def test_whatever_changes_a_route_changes_its_version(tx: Transaction, team: Team, member: Caller) -> None:
    seen = [member.rpc("resolve_llm_route")["version"]]
    assert member.rpc("resolve_llm_route")["version"] == seen[0]

    def changed() -> None:
        version = member.rpc("resolve_llm_route")["version"]
        assert version not in seen
        seen.append(version)

    settle(member, default_provider="groq")
    changed()
    member.holds_key("mistral", 74)
    changed()
    team.settle(keys_first="member")
    changed()
    team.owner.rpc("remove_llm_team_key", p_team_id=team.id, p_provider="groq")
    changed()
    team.owner.rpc("remove_llm_team_member", p_team_id=team.id, p_user_id=member.id)
    changed()
