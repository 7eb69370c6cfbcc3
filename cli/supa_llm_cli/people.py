"""Users and teams on the command line: named by email address, name or ID."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from supa_llm.errors import NotFoundError

if TYPE_CHECKING:
    from supa_llm import Admin, Team

#: A user whose data or quotas a command is about.
OneUser = Annotated[
    str | None, typer.Option("--user", metavar="USER", help="Only this user: email address or ID.")
]
#: A team whose keys paid for the usage, or that a quota is for.
OneTeam = Annotated[
    str | None, typer.Option("--team", metavar="TEAM", help="Only this team: name or ID.", show_default=False)
]
TheUser = Annotated[str, typer.Argument(metavar="USER", help="Email address or ID.")]

_AT_ONCE = 500


def user_id(admin: Admin, user: str) -> UUID:
    """Return the ID of the user with this email address or ID. An ID need not have an account.

    Raises:
        NotFoundError: code ``unknown_user``: no user has this email address.
    """
    try:
        return UUID(user)
    except ValueError:
        pass
    found = [it for it in admin.list_users(user, limit=_AT_ONCE) if (it.email or "").lower() == user.lower()]
    if len(found) == 1:
        return found[0].id
    if found:  # Supabase Auth allows one address for several single sign-on accounts
        ids = ", ".join(str(it.id) for it in found)
        raise NotFoundError(
            f"{len(found)} users have the email address {user}.", code="unknown_user", hint=f"IDs: {ids}."
        )
    raise NotFoundError(
        f"No user has the email address {user}.",
        code="unknown_user",
        hint="Search for a part of it: supa-llm users list TEXT",
    )


def optional_user_id(admin: Admin, user: str | None) -> UUID | None:
    """Return :func:`user_id`, or None without a user."""
    return None if user is None else user_id(admin, user)


def team_id(admin: Admin, team: str) -> UUID:
    """Return the ID of the team with this name or ID. An ID need not be of a team that still exists.

    Raises:
        NotFoundError: code ``team_not_found``: no team has this name, or several do.
    """
    try:
        return UUID(team)
    except ValueError:
        pass
    found = [it.id for it in _teams(admin) if it.name.lower() == team.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(map(str, found))
        raise NotFoundError(
            f"{len(found)} teams have the name {team}.", code="team_not_found", hint=f"IDs: {ids}."
        )
    raise NotFoundError(
        f"No team has the name {team}.", code="team_not_found", hint="List the teams: supa-llm teams list"
    )


def _teams(admin: Admin) -> Iterator[Team]:
    page = admin.teams.list_teams(_AT_ONCE)
    while page:
        yield from page
        page = admin.teams.list_teams(_AT_ONCE, page[-1].id) if len(page) == _AT_ONCE else []


def optional_team_id(admin: Admin, team: str | None) -> UUID | None:
    """Return :func:`team_id`, or None without a team."""
    return None if team is None else team_id(admin, team)


def names(admin: Admin, ids: Iterable[UUID | None]) -> Mapping[UUID, str]:
    """Return the email address of each user who has one."""
    wanted = sorted({it for it in ids if it is not None})
    pages = (wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE))
    return {
        it.id: it.email for page in pages for it in admin.list_users(ids=page, limit=_AT_ONCE) if it.email
    }
