"""`supa-llm quotas`: limits on requests, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from supa_llm.errors import NotFoundError
from supa_llm.values.quotas import QuotaPeriod, QuotaUnit
from supa_llm.values.receipts import KeySource
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.people import TheUser, names, optional_team_id, optional_user_id, user_id
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Quota

app = typer.Typer(
    name="quotas",
    help="Limit requests, tokens or cost: for a user, a group, a team, or everyone.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    user: Annotated[
        str | None,
        typer.Option(
            metavar="USER",
            help="Show only the quotas that apply to this user (email address or ID), with their usage.",
        ),
    ] = None,
    team: Annotated[
        str | None,
        typer.Option(
            metavar="TEAM", help="Show only the quotas of this team: name or ID.", show_default=False
        ),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List quotas. Without --user, only shared quotas show their usage."""
    with administrator(url, directory) as admin:
        quotas = admin.list_quotas(optional_user_id(admin, user), team_id=optional_team_id(admin, team))
        emails = {} if as_json else names(admin, (quota.user_id for quota in quotas))
    if as_json:
        print_json([asdict(quota) for quota in quotas])
    elif quotas:
        print_quotas(quotas, emails)
    else:
        typer.echo("No quotas. Set one: supa-llm quotas set 5 cost month --key-source operator")


@app.command("set")
def set_(
    limit: Annotated[float, typer.Argument(help="Limit in the unit. 0 allows nothing.", min=0)],
    unit: Annotated[QuotaUnit, typer.Argument(help="Successful requests, tokens, or cost in US dollars.")],
    period: Annotated[QuotaPeriod, typer.Argument(help="Period of the quota. lifetime never resets.")],
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Apply to this user: email address or ID.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Apply to each user in this group.")] = None,
    team: Annotated[
        str | None,
        typer.Option(
            metavar="TEAM",
            help="Apply to what the keys of this team (name or ID) pay for, of each member.",
            show_default=False,
        ),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Share the quota between all users it applies to.")
    ] = False,
    key_source: Annotated[KeySource | None, typer.Option(help="Count only usage paid by these keys.")] = None,
    provider: Annotated[str | None, typer.Option(help="Count only usage of this provider.")] = None,
    task: Annotated[str | None, typer.Option(help="Count only usage for this task.")] = None,
    alert_only: Annotated[
        bool, typer.Option("--alert-only", help="Raise alerts without refusing requests.")
    ] = False,
    user_clock: Annotated[
        bool, typer.Option("--user-clock", help="Reset in the user's time zone, not in UTC.")
    ] = False,
    allow_unpriced: Annotated[
        bool,
        typer.Option("--allow-unpriced", help="Allow unpriced models under a cost quota, uncounted."),
    ] = False,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Set a quota, or update the quota with the same scope.

    Without --user, --group or --team, the quota applies to every user. The most specific scope wins: user,
    then group, then everyone. Quotas for a team and those that users set for themselves also apply.
    """
    scope: dict[str, Any] = {
        "group": group,
        "shared": shared,
        "key_source": key_source,
        "provider": provider,
        "task": task,
    }
    rules: dict[str, Any] = {
        "enforced": not alert_only,
        "clock": "user" if user_clock else "utc",
        "unpriced": "allow" if allow_unpriced else "refuse",
    }
    with administrator(url, directory) as admin:
        scope["user_id"] = optional_user_id(admin, user)
        scope["team_id"] = optional_team_id(admin, team)
        if dry_run:
            _preview(
                admin,
                {"limit": Decimal(str(limit)).normalize(), "unit": unit, "period": period, **scope, **rules},
                as_json,
            )
            return
        quota = admin.set_quota(Decimal(str(limit)), unit, period, **scope, **rules)
        emails = names(admin, [quota.user_id])
        empty = group is not None and not admin.list_users(group=group, limit=1)
    if as_json:
        print_json(asdict(quota))
    else:
        typer.echo(f"Quota {quota.id}: {_limit(quota)} for {_scope(quota, emails)}{_counts(quota, ', ')}.")
    if empty:
        typer.echo(f"Warning: the group {group} has no members.", err=True)


@app.command()
def remove(
    quota_id: Annotated[int, typer.Argument(metavar="ID", help="Quota ID from `supa-llm quotas list`.")],
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Remove a quota that the operator set. Only users can remove their own quotas."""
    with administrator(url, directory) as admin:
        quota = _find(admin, quota_id)
        emails = names(admin, [quota.user_id])
        text = f"quota {quota_id}: {_limit(quota)} for {_scope(quota, emails)}{_counts(quota, ', ')}"
        if not dry_run:
            confirm(f"remove {text}", yes)
            admin.remove_quota(quota_id)
    report(
        {"id": quota_id},
        would=f"Would remove {text}.",
        done=f"Removed quota {quota_id}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def set_group(
    user: TheUser,
    group: Annotated[
        str | None, typer.Argument(help="Group. Omit it to remove the user from their group.")
    ] = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Set a user's group. The group's quotas then apply to the user.

    `supa-llm users list --group GROUP` lists the members of a group.
    """
    with administrator(url, directory) as admin:
        chosen = user_id(admin, user)
        if not dry_run:
            admin.set_user_group(chosen, group)
        groups = sorted({quota.group for quota in admin.list_quotas() if quota.group})
    where = f"in group {group}" if group else "in no group"
    report(
        {"user_id": chosen, "group": group},
        would=f"User {user} would be {where}.",
        done=f"User {user} is {where}.",
        dry_run=dry_run,
        as_json=as_json,
    )
    if group and group not in groups:
        known = f" Groups with quotas: {', '.join(groups)}." if groups else ""
        typer.echo(f"Warning: no quota is set for the group {group}.{known}", err=True)


def _find(admin: Admin, quota_id: int) -> Quota:
    """Return the operator's quota with this ID."""
    for quota in admin.list_quotas():
        if quota.id == quota_id and quota.set_by == "operator":
            return quota
    raise NotFoundError(
        f"The operator has no quota {quota_id}.", hint="List the quotas: supa-llm quotas list"
    )


def _preview(admin: Admin, quota: Mapping[str, Any], as_json: bool) -> None:
    """Print which quota would be set, and the limit of the one that it would replace."""
    same = ("unit", "period", "user_id", "team_id", "group", "shared", "provider", "task")
    # The database checks every field that does not name a user or a team, and changes nothing.
    checked = {
        name: value
        for name, value in quota.items()
        if name not in ("user_id", "team_id") and value is not None
    }
    checked["limit"] = float(quota["limit"])
    admin.set_configuration({"format": 1, "quotas": [checked]})
    old = next(
        (
            it
            for it in admin.list_quotas()
            if it.set_by == "operator"
            and all(getattr(it, name) == quota[name] for name in same)
            and it.key_source == (quota["key_source"] or ("team" if quota["team_id"] else None))
        ),
        None,
    )
    instead = f", instead of {_limit(old)}" if old else ""
    fields = {**quota, "replaces": asdict(old) if old else None}
    period = "in total" if quota["period"] == "lifetime" else f"per {quota['period']}"
    amount = f"${quota['limit']:f}" if quota["unit"] == "cost" else f"{quota['limit']:f} {quota['unit']}"
    would = f"Would set a quota of {amount} {period}{instead}."
    report(fields, would=would, done="", dry_run=True, as_json=as_json)


def print_quotas(quotas: Sequence[Quota], emails: Mapping[UUID, str]) -> None:
    """Print quotas, with the email addresses of their users."""
    headings = ("id", "for", "limit", "counts", "used", "reserved", "resets (UTC)", "set by", "mode")
    print_table(headings, [_row(quota, emails) for quota in quotas])


def _row(quota: Quota, emails: Mapping[UUID, str]) -> tuple[object, ...]:
    return (
        quota.id,
        _scope(quota, emails),
        _limit(quota),
        _counts(quota),
        "" if quota.used is None else _amount(quota, quota.used),
        "" if quota.reserved is None else _amount(quota, quota.reserved),
        f"{quota.resets_at:%Y-%m-%d %H:%M}" if quota.resets_at else "",
        quota.set_by,
        "" if quota.enforced else "alert-only",
    )


def _scope(quota: Quota, emails: Mapping[UUID, str]) -> str:
    if quota.user_id:
        return f"user {emails.get(quota.user_id, quota.user_id)}"
    if quota.team_id:
        return f"team {quota.team_id}" if quota.shared else f"each member of team {quota.team_id}"
    scope = f"group {quota.group}" if quota.group else "everyone"
    return f"{scope} (shared)" if quota.shared else f"each user in {scope}" if quota.group else "each user"


def _limit(quota: Quota) -> str:
    period = "in total" if quota.period == "lifetime" else f"per {quota.period}"
    return f"{_amount(quota, quota.limit)} {period}"


def _counts(quota: Quota, before: str = "") -> str:
    parts = [
        f"{quota.key_source} keys" if quota.key_source else "",
        quota.provider or "",
        f"task {quota.task}" if quota.task else "",
    ]
    counted = ", ".join(filter(None, parts))
    return f"{before}{counted}" if counted else ""


def _amount(quota: Quota, amount: Decimal) -> str:
    number = f"{amount.normalize():f}"
    if quota.unit == "cost":
        return f"${number}"
    return f"{number} {quota.unit.removesuffix('s') if amount == 1 else quota.unit}"
