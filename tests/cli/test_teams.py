"""`supa-llm teams`, on a real project."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.cli.conftest import Cli
from tests.support import Stack, User, unique


@pytest.fixture
def team(supa_llm: Cli, user: User) -> str:
    """The id of a team that the user owns."""
    made = json.loads(supa_llm("teams", "create", "Research", "--owner", user.email, "--json").stdout)
    assert (made["name"], made["owner"]) == ("Research", user.id)
    return str(made["id"])


def members(supa_llm: Cli, team: str) -> dict[str, str]:
    listed = json.loads(supa_llm("teams", "members", team, "--json").stdout)
    return {it["email"]: it["role"] for it in listed}


def test_a_team_is_created_listed_and_removed(supa_llm: Cli, user: User) -> None:
    name = unique("team")
    done = supa_llm("teams", "create", name, "--owner", user.email)
    assert done.stdout.startswith(f"Created the team {name}, owned by {user.email}: ")
    team = done.stdout.split()[-1]
    (line,) = [it for it in supa_llm("teams", "list").stdout.splitlines() if team in it]
    assert name in line
    assert user.email in line
    assert supa_llm("teams", "remove", team, "--dry-run").stdout == (
        f"Would remove the team {name} with 1 member and all its keys.\n"
    )
    assert supa_llm("teams", "remove", team, "--yes").stdout == f"Removed the team {name}.\n"
    gone = supa_llm("teams", "show", team)
    assert (gone.returncode, "[team_not_found]" in gone.stderr) == (1, True)
    assert team not in supa_llm("teams", "list").stdout


def test_members_are_added_changed_and_removed(supa_llm: Cli, stack: Stack, user: User, team: str) -> None:
    other = stack.sign_up()
    added = supa_llm("teams", "add-member", team, other.email)
    assert added.stdout == f"Added {other.email} to the team Research as member.\n"
    again = supa_llm("teams", "add-member", team, other.email, "admin")
    assert (again.returncode, "[already_member]" in again.stderr) == (1, True)
    changed = supa_llm("teams", "set-role", team, other.email, "owner")
    assert changed.stdout == (
        f"Changed the role of {other.email} in the team Research from member to owner.\n"
    )
    assert members(supa_llm, team) == {user.email: "owner", other.email: "owner"}
    removed = supa_llm("teams", "remove-member", team, user.email, "--yes")
    assert removed.stdout == f"Removed {user.email} from the team Research.\n"
    last = supa_llm("teams", "remove-member", team, other.email, "--yes")
    assert (last.returncode, "[last_owner]" in last.stderr) == (1, True)
    assert members(supa_llm, team) == {other.email: "owner"}
    stranger = supa_llm("teams", "set-role", team, user.email, "admin")
    assert (stranger.returncode, "[member_not_found]" in stranger.stderr) == (1, True)
    assert supa_llm("teams", "set-role", team, other.email, "boss").returncode == 2


def test_a_team_is_shown_with_its_policy_members_and_invitations(
    supa_llm: Cli, user: User, team: str
) -> None:
    policy = {"allowed_providers": {"groq": True}, "keys_first": "member", "default_provider": "groq"}
    user.rpc("set_llm_team", p_team_id=team, p_changes=policy)
    user.rpc("create_llm_team_invitation", p_team_id=team, p_role="admin", p_email="guest@teams.example")
    token = user.rpc("create_llm_team_invitation", p_team_id=team)["token"]
    shown = supa_llm("teams", "show", team).stdout
    for text in ("Research", 'Providers     {"groq": true}', "member's", user.email, "guest@teams.example"):
        assert text in shown
    listed = supa_llm("teams", "invitations", team).stdout
    assert "guest@teams.example" in listed
    assert "by token" in listed
    as_json = supa_llm("teams", "show", team, "--json").stdout
    found = json.loads(as_json)
    assert found["team"]["allowed_providers"] == {"groq": True}
    assert [it["email"] for it in found["members"]] == [user.email]
    assert len(found["invitations"]) == 2
    assert token not in shown + listed + as_json + supa_llm("teams", "invitations", team, "--json").stdout


def test_a_user_is_shown_and_exported_with_their_teams(supa_llm: Cli, user: User, team: str) -> None:
    (line,) = [it for it in supa_llm("users", "show", user.email).stdout.splitlines() if team in it]
    assert line.split()[:2] == ["Research", "owner"]
    for shown in (
        json.loads(supa_llm("users", "show", user.email, "--json").stdout),
        json.loads(supa_llm("users", "export", user.email).stdout)["user"],
    ):
        (membership,) = shown["teams"]
        assert (membership["team_id"], membership["team"], membership["role"]) == (team, "Research", "owner")
        assert membership["joined_at"]


def test_a_team_is_named_by_its_name_if_only_one_has_it(supa_llm: Cli, user: User) -> None:
    name = unique("Team")
    team = json.loads(supa_llm("teams", "create", name, "--owner", user.email, "--json").stdout)["id"]
    assert supa_llm("quotas", "set", "5", "cost", "month", "--team", name.upper()).returncode == 0
    (quota,) = json.loads(supa_llm("quotas", "list", "--team", name, "--json").stdout)
    assert quota["team_id"] == team
    report = supa_llm("usage", "--team", name, "--json")
    assert report.returncode == 0, report.stderr
    supa_llm("teams", "create", name, "--owner", user.email)
    for wrong, message in ((name, "2 teams have the name"), (unique("nobody"), "No team has the name")):
        done = supa_llm("usage", "--team", wrong)
        assert done.returncode == 1
        assert message in done.stderr
        assert "[team_not_found]" in done.stderr


def test_there_are_no_teams_beyond_the_first(supa_llm: Cli, team: str) -> None:
    page = supa_llm("teams", "list", "--before", "00000000-0000-0000-0000-000000000001")
    assert page.stdout.startswith("No teams.")
    assert supa_llm("teams", "invitations", team).stdout == "No open invitations.\n"


def test_an_unknown_owner_or_team_is_refused(supa_llm: Cli) -> None:
    for command, code in (
        (["create", "x", "--owner", "nobody@teams.example"], "unknown_user"),
        (["create", "x", "--owner", str(uuid4()), "--dry-run"], "unknown_user"),
        (["show", str(uuid4())], "team_not_found"),
        (["remove", str(uuid4()), "--dry-run"], "team_not_found"),
    ):
        done = supa_llm("teams", *command)
        assert (done.returncode, f"[{code}]" in done.stderr) == (1, True), done.stderr
