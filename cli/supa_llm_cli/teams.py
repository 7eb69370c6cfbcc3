"""`supa-llm teams`: teams, their members and invitations, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from supa_llm.errors import ConflictError, NotFoundError
from supa_llm.values.teams import TeamRole
from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, report, short
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.people import TheUser, user_id
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, TeamDetails, TeamInvitation, TeamMember

app = typer.Typer(
    name="teams",
    help="Create and remove teams, and manage their members.",
    no_args_is_help=True,
)

TheTeam = Annotated[UUID, typer.Argument(metavar="TEAM", help="ID from `supa-llm teams list`.")]
Role = Annotated[
    TeamRole, typer.Argument(help="owner: everything. admin: members, keys, policy. member: uses them.")
]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=500, help="Maximum number of teams.")] = 100,
    before: Annotated[
        UUID | None, typer.Option(help="Show teams before this one, an ID from an earlier page.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List teams with their owners, the newest first."""
    with administrator(url, directory) as admin:
        teams = admin.teams.list_teams(limit, before)
    if as_json:
        print_json([asdict(it) for it in teams])
    elif teams:
        rows = [
            (it.name, str(it.members), ", ".join(filter(None, it.owners)), _time(it.created_at), it.id)
            for it in teams
        ]
        print_table(("name", "members", "owners", "created (UTC)", "id"), rows)
    else:
        typer.echo("No teams. Users create them, and so do you: supa-llm teams create NAME --owner USER")


@app.command()
def show(team: TheTeam, url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """Show a team's policy, members and open invitations."""
    with administrator(url, directory) as admin:
        found = admin.teams.get_team(team)
        members = admin.teams.list_members(team)
        invitations = admin.teams.list_invitations(team)
    if as_json:
        print_json(
            {
                "team": asdict(found),
                "members": [*map(asdict, members)],
                "invitations": [*map(asdict, invitations)],
            }
        )
        return
    typer.echo(
        f"Team          {found.name}\nID            {found.id}\nCreated       {_time(found.created_at)}"
    )
    typer.echo(f"Keys first    {found.keys_first}'s")
    for label, value in (
        ("Providers", found.allowed_providers),
        ("Default", found.default_provider),
        ("Preferences", found.provider_preferences or None),
        ("Tasks", found.task_overrides or None),
    ):
        if value is not None:
            typer.echo(f"{label:<13} {short(value)}")
    typer.echo("\nMembers")
    _print_members(members)
    if invitations:
        typer.echo("\nOpen invitations")
        _print_invitations(invitations)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the team.")],
    owner: Annotated[str, typer.Option(metavar="USER", help="The owner: email address or ID.")],
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Create a team for a user, who becomes its owner."""
    with administrator(url, directory) as admin:
        chosen = admin.get_user(user_id(admin, owner)).id
        team = None if dry_run else admin.teams.create_team(name, chosen)
    report(
        {"id": team.id if team else None, "name": name, "owner": chosen},
        would=f"Would create the team {name}, owned by {owner}.",
        done=f"Created the team {name}, owned by {owner}: {team.id if team else ''}",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def members(team: TheTeam, url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """List the members of a team, owners first."""
    with administrator(url, directory) as admin:
        found = admin.teams.list_members(team)
    if as_json:
        print_json([asdict(it) for it in found])
    else:
        _print_members(found)


@app.command()
def invitations(team: TheTeam, url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """List the open invitations to a team. Tokens are never shown."""
    with administrator(url, directory) as admin:
        found = admin.teams.list_invitations(team)
    if as_json:
        print_json([asdict(it) for it in found])
    elif found:
        _print_invitations(found)
    else:
        typer.echo("No open invitations.")


@app.command()
def add_member(
    team: TheTeam,
    user: TheUser,
    role: Role = "member",
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Add a user to a team, without an invitation."""
    with administrator(url, directory) as admin:
        found = admin.teams.get_team(team)
        chosen = admin.get_user(user_id(admin, user)).id
        if any(it.user_id == chosen for it in admin.teams.list_members(team)):
            raise ConflictError(
                f"User {user} is a member of the team {found.name} already.",
                code="already_member",
                hint=f"Change the role: supa-llm teams set-role {team} {user} {role}",
            )
        if not dry_run:
            admin.teams.set_member(team, chosen, role)
    report(
        {"team_id": team, "user_id": chosen, "role": role},
        would=f"Would add {user} to the team {found.name} as {role}.",
        done=f"Added {user} to the team {found.name} as {role}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def set_role(
    team: TheTeam,
    user: TheUser,
    role: Role,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Set the role of a team's member. Making somebody an owner hands the team over or shares it."""
    with administrator(url, directory) as admin:
        found, member = _member(admin, team, user)
        if not dry_run:
            admin.teams.set_member(team, member.user_id, role)
    report(
        {"team_id": team, "user_id": member.user_id, "old": member.role, "role": role},
        would=f"Would change the role of {user} in the team {found.name} from {member.role} to {role}.",
        done=f"Changed the role of {user} in the team {found.name} from {member.role} to {role}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def remove_member(
    team: TheTeam,
    user: TheUser,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Remove a member from a team, with the invitations that they made."""
    with administrator(url, directory) as admin:
        found, member = _member(admin, team, user)
        if not dry_run:
            confirm(f"remove {user} from the team {found.name}", yes)
            admin.teams.remove_member(team, member.user_id)
    report(
        {"team_id": team, "user_id": member.user_id},
        would=f"Would remove {user} from the team {found.name}.",
        done=f"Removed {user} from the team {found.name}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def remove(
    team: TheTeam,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Remove a team with its members, invitations, keys and quotas. Its recorded usage stays."""
    with administrator(url, directory) as admin:
        found = admin.teams.get_team(team)
        text = f"the team {found.name} with {counted(found.members, 'member')} and all its keys"
        if not dry_run:
            confirm(f"remove {text}", yes)
            admin.teams.remove_team(team)
    report(
        {"id": team, "name": found.name, "members": found.members},
        would=f"Would remove {text}.",
        done=f"Removed the team {found.name}.",
        dry_run=dry_run,
        as_json=as_json,
    )


def _member(admin: Admin, team: UUID, user: str) -> tuple[TeamDetails, TeamMember]:
    """Return a team, and its member with this email address or ID."""
    found = admin.teams.get_team(team)
    chosen = user_id(admin, user)
    for member in admin.teams.list_members(team):
        if member.user_id == chosen:
            return found, member
    raise NotFoundError(
        f"User {user} is not a member of the team {found.name}.",
        code="member_not_found",
        hint=f"Add the user: supa-llm teams add-member {team} {user}",
    )


def _print_members(members: Sequence[TeamMember]) -> None:
    rows = [(it.email or "", it.name or "", it.role, _time(it.joined_at), it.user_id) for it in members]
    print_table(("email", "name", "role", "joined (UTC)", "id"), rows)


def _print_invitations(invitations: Sequence[TeamInvitation]) -> None:
    rows = [(it.email or "by token", it.role, _time(it.expires_at), it.id) for it in invitations]
    print_table(("for", "role", "until (UTC)", "id"), rows)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
