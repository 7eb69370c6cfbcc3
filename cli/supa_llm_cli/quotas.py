"""`supa-llm quotas`: how much users may use."""

from __future__ import annotations

import enum
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from supa_llm_cli.project import HOME, Directory, KeySource, Url, administrator
from supa_llm_cli.tables import AsJson, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Quota

app = typer.Typer(
    name="quotas",
    help="How much may be used: by one user, each user of a group, everybody, or all together.",
    no_args_is_help=True,
)


class Unit(enum.StrEnum):
    """What a quota is counted in."""

    requests = "requests"
    tokens = "tokens"
    cost = "cost"


class Period(enum.StrEnum):
    """How long a quota lasts."""

    minute = "minute"
    day = "day"
    month = "month"
    lifetime = "lifetime"


@app.command("list")
def list_(
    user: Annotated[
        UUID | None, typer.Option(help="Only those that bind this user, with what is used of each.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List the quotas. Without --user, only those that all share show what is used of them."""
    with administrator(url, directory) as admin:
        quotas = admin.list_quotas(user)
    if as_json:
        print_json([asdict(quota) for quota in quotas])
    elif quotas:
        headings = ("id", "for", "limit", "counts", "used", "reserved", "resets (UTC)", "set by", "")
        print_table(headings, [*map(_row, quotas)])
    else:
        typer.echo("There are none. `supa-llm quotas set 5 cost month --key-source operator` sets one.")


@app.command("set")
def set_(
    limit: Annotated[float, typer.Argument(help="In the unit; 0 allows nothing.", min=0)],
    unit: Annotated[Unit, typer.Argument(help="requests that do not fail, tokens, or cost in US dollars.")],
    period: Annotated[Period, typer.Argument()],
    user: Annotated[UUID | None, typer.Option(help="For this user.")] = None,
    group: Annotated[str | None, typer.Option(help="For each user of this group.")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="All whom it binds use it up together, not each by themselves.")
    ] = False,
    key_source: Annotated[KeySource | None, typer.Option(help="Count only what such keys paid for.")] = None,
    provider: Annotated[str | None, typer.Option(help="Count only this provider.")] = None,
    task: Annotated[str | None, typer.Option(help="Count only this task.")] = None,
    soft: Annotated[bool, typer.Option("--soft", help="Only warn; refuse nothing.")] = False,
    user_clock: Annotated[
        bool, typer.Option("--user-clock", help="Days and months begin in the user's time zone, not in UTC.")
    ] = False,
    allow_unpriced: Annotated[
        bool,
        typer.Option("--allow-unpriced", help="A quota of cost lets models without a price pass, uncounted."),
    ] = False,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Set a quota, or change the one that counts the same for the same whom.

    Without --user and --group it is for each user. Of those that differ only in whom they bind, the closest
    holds: a user's, their group's, everybody's. What users set for themselves holds beside it.
    """
    with administrator(url, directory) as admin:
        quota = admin.set_quota(
            Decimal(str(limit)),
            unit.value,
            period.value,
            user_id=user,
            group=group,
            shared=shared,
            key_source=key_source.value if key_source else None,
            provider=provider,
            task=task,
            enforced=not soft,
            clock="user" if user_clock else "utc",
            unpriced="allow" if allow_unpriced else "refuse",
        )
    typer.echo(f"Quota {quota.id}: {_limit(quota)} for {_whom(quota)}{_counts(quota, ', ')}.")


@app.command()
def remove(
    quota_id: Annotated[int, typer.Argument(metavar="ID", help="As `supa-llm quotas list` shows it.")],
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Remove a quota that the operator set. Users remove theirs themselves."""
    with administrator(url, directory) as admin:
        admin.remove_quota(quota_id)
    typer.echo(f"Quota {quota_id} is removed.")


@app.command()
def group(
    user: Annotated[UUID, typer.Argument(help="Id of the user.")],
    name: Annotated[str | None, typer.Argument(help="Their group; none takes them out of theirs.")] = None,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Put a user into a group, so that its quotas bind them."""
    with administrator(url, directory) as admin:
        admin.set_user_group(user, name)
    typer.echo(f"{user} is in {name}." if name else f"{user} is in no group.")


def _row(quota: Quota) -> tuple[object, ...]:
    return (
        quota.id,
        _whom(quota),
        _limit(quota),
        _counts(quota),
        "" if quota.used is None else _amount(quota, quota.used),
        "" if quota.reserved is None else _amount(quota, quota.reserved),
        f"{quota.resets_at:%Y-%m-%d %H:%M}" if quota.resets_at else "",
        quota.set_by,
        "" if quota.enforced else "warns only",
    )


def _whom(quota: Quota) -> str:
    if quota.user_id:
        return f"user {quota.user_id}"
    whom = f"group {quota.group}" if quota.group else "everybody"
    return f"{whom} together" if quota.shared else f"each of {whom}" if quota.group else "each user"


def _limit(quota: Quota) -> str:
    period = "in total" if quota.period == "lifetime" else f"a {quota.period}"
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
