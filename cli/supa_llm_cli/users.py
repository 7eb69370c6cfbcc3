"""`supa-llm users`: find, inspect, suspend and export users, and remove their data."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from supa_llm.errors import SupaLLMError
from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.people import TheUser, user_id
from supa_llm_cli.private_files import create_private
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.quotas import print_quotas
from supa_llm_cli.tables import as_json_text, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Refusal, Route, User, UserDetails

app = typer.Typer(
    name="users",
    help="Find users, show what decides their requests, suspend them, and export or remove their data.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    search: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="Show users with this text in their email address.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Show only the members of this group.")] = None,
    suspended: Annotated[bool, typer.Option("--suspended", help="Show only suspended users.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of users.")] = 50,
    after: Annotated[
        UUID | None, typer.Option(help="Show users after this one, an ID from an earlier page.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List users with their email address, group and state."""
    with administrator(url, directory) as admin:
        users = admin.list_users(search, group=group, suspended=suspended, limit=limit, after=after)
    if as_json:
        print_json([asdict(it) for it in users])
    elif users:
        rows = [
            (it.email or "", _time(it.last_sign_in_at), it.group or "", _state(it), it.id) for it in users
        ]
        print_table(("email", "last sign-in (UTC)", "group", "state", "id"), rows)
    else:
        typer.echo("No users found.")


@app.command()
def show(user: TheUser, url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """Show a user's settings, keys, teams, quotas, last errors and refused requests. Keys are never shown."""
    with administrator(url, directory) as admin:
        found = admin.get_user(user_id(admin, user))
        quotas = admin.list_quotas(found.id)
        refusals = admin.list_refusals(user_id=found.id)
    if as_json:
        more = {"quotas": [*map(asdict, quotas)], "refusals": [*map(asdict, refusals)]}
        print_json({**asdict(found), **more})
        return
    _print_user(found)
    if found.keys:
        typer.echo("\nKeys")
        rows = [(it.provider, it.hint, it.status, _time(it.last_used_at)) for it in found.keys]
        print_table(("provider", "key", "status", "last used (UTC)"), rows)
    if found.teams:
        typer.echo("\nTeams")
        teams = [(it.team, it.role, _time(it.joined_at), it.team_id) for it in found.teams]
        print_table(("name", "role", "joined (UTC)", "id"), teams)
    if quotas:
        typer.echo("\nQuotas")
        print_quotas(quotas, {})
    if found.errors:
        typer.echo("\nLast errors")
        errors = [
            (
                _time(it.requested_at),
                f"{it.provider}/{it.model}",
                it.task or "",
                it.key_source,
                it.error_class,
            )
            for it in found.errors
        ]
        print_table(("time (UTC)", "model", "task", "key", "error"), errors)
    _print_refusals(refusals)


@app.command()
def explain(
    user: TheUser,
    task: Annotated[str | None, typer.Option(help="Task of the request.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Requested model: provider/model, or a bare name.")
    ] = None,
    needs: Annotated[
        str, typer.Option(help="Needed capabilities, such as tools,vision. Separate with commas.")
    ] = "",
    operator_keys: Annotated[
        str | None,
        typer.Option(
            help="Providers for which your server has a key, separated by commas. "
            "Default: those in the environment (OPENAI_API_KEY, …).",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Show the route of a user's request through your server, which providers are skipped and why, and the
    user's refused requests.

    Exits with 1 if no provider can serve the request.
    """
    from supa_llm.client.operator_keys import OperatorKeys

    providers = OperatorKeys().providers if operator_keys is None else _listed(operator_keys)
    with administrator(url, directory) as admin:
        chosen = user_id(admin, user)
        refusals = admin.list_refusals(user_id=chosen)
        try:
            route = admin.explain_user_route(
                chosen, task, model=model, needs=_listed(needs), operator_providers=providers
            )
        except SupaLLMError:
            if not as_json:
                _print_refusals(refusals)
            raise
    if as_json:
        print_json({**_route(route), "refusals": [asdict(it) for it in refusals]})
    else:
        _print_route(route)
        _print_refusals(refusals)
    if not route.candidates:
        raise typer.Exit(1)


@app.command()
def suspend(
    user: TheUser,
    reason: Annotated[
        str | None, typer.Option(help="A note for administrators. The user does not see it.")
    ] = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Give a user no more routes. They can still sign in and see their data.

    Requests on a route that is on lease are served until the lease ends.
    """
    with administrator(url, directory) as admin:
        chosen = admin.get_user(user_id(admin, user)).id
        if not dry_run:
            admin.suspend_user(chosen, reason)
    report(
        {"user_id": chosen, "suspended": True, "reason": reason},
        would=f"Would suspend user {user} ({chosen}).",
        done=f"User {user} is suspended.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def resume(
    user: TheUser,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """End a user's suspension."""
    with administrator(url, directory) as admin:
        chosen = admin.get_user(user_id(admin, user)).id
        if not dry_run:
            admin.resume_user(chosen)
    report(
        {"user_id": chosen, "suspended": False},
        would=f"Would resume user {user} ({chosen}).",
        done=f"User {user} is no longer suspended.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def export(
    user: TheUser,
    file: Annotated[Path, typer.Argument(help="Output file. - is standard output.")] = Path("-"),
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Export all of a user's data as JSON: settings, key hints, quotas, prices, alerts, teams, audit log,
    refusals, usage.
    """
    with administrator(url, directory) as admin:
        found = admin.get_user(user_id(admin, user))
        if str(file) == "-":
            _write(admin, found, sys.stdout)
            return
        with progress("Exporting …"), create_private(file) as output:
            _write(admin, found, output)
    typer.echo(f"Wrote the data of {user} to {file}.")


@app.command()
def remove_data(
    user: TheUser,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Remove all of a user's data from supa-llm, and show what was removed.

    It also works for an account that is already deleted: pass its ID. The account itself, a suspension and
    the operator's audit log stay. Reports of the project no longer count the user's usage.
    """
    removed: Counter[str] = Counter()
    with administrator(url, directory) as admin:
        chosen = user_id(admin, user)
        if dry_run:
            would = f"Would remove all data of {user} ({chosen}). See it: supa-llm users export {chosen}"
            report({"user_id": chosen}, would=would, done="", dry_run=True, as_json=as_json)
            return
        confirm(f"permanently remove all data of {user} ({chosen})", yes)
        with progress("Removing …") as show_progress:
            for batch in admin.remove_user_data(chosen):
                removed.update(batch.removed)
                show_progress(f"Removed {counted(removed.total(), 'row')} …")
    if as_json:
        print_json({"dry_run": False, "user_id": chosen, "removed": removed})
        return
    typer.echo(f"Removed all data of {user}: {counted(removed.total(), 'row')}.")
    print_table(("data", "rows"), [(kind, rows) for kind, rows in removed.items() if rows], right=("rows",))


def _print_user(user: UserDetails) -> None:
    lines: dict[str, object] = {
        "email": user.email,
        "id": user.id,
        "state": _state(user),
        "reason": user.suspended_reason,
        "group": user.group,
        "signed up (UTC)": _time(user.created_at),
        "last sign-in (UTC)": _time(user.last_sign_in_at),
    }
    if (settings := user.settings) is None:
        lines["settings"] = "none: the user has not used supa-llm"
    else:
        lines |= {
            "default provider": settings.default_provider,
            "fallbacks": "on" if settings.enable_fallbacks else "off",
            "operator's keys": "allowed" if settings.allow_operator_keys else "declined",
            "preferences": json.dumps(settings.provider_preferences)
            if settings.provider_preferences
            else None,
            "task overrides": json.dumps(settings.task_overrides) if settings.task_overrides else None,
            "requests": settings.total_requests,
            "last used (UTC)": _time(settings.last_used_at),
        }
    shown = {name: value for name, value in lines.items() if value not in (None, "")}
    width = max(map(len, shown))
    for name, value in shown.items():
        typer.echo(f"{name.ljust(width)}  {value}")


def _print_route(route: Route) -> None:
    if route.candidates:
        rows = [
            (number, it.provider, it.model, it.key_source, it.key_hint or "", it.reason)
            for number, it in enumerate(route.candidates, 1)
        ]
        print_table(("", "provider", "model", "key of", "key", "reason"), rows)
    else:
        typer.echo(f"No provider can serve this request. {route.advice}")
    if route.skipped:
        typer.echo("\nSkipped")
        skipped = [(it.provider, it.key_source, it.reason, it.message) for it in route.skipped]
        print_table(("provider", "key of", "reason", "message"), skipped)


def _print_refusals(refusals: Sequence[Refusal]) -> None:
    if refusals:
        typer.echo("\nRefused requests of the last 30 days")
        rows = [(_time(it.last_at), it.code, f"{it.refusals:,}") for it in refusals]
        print_table(("last (UTC)", "error", "requests"), rows, right=("requests",))


def _route(route: Route) -> dict[str, Any]:
    fields = ("provider", "model", "reason", "key_source", "key_id", "key_hint", "metered")
    return {
        "task": route.task,
        "candidates": [{name: getattr(it, name) for name in fields} for it in route.candidates],
        "skipped": [asdict(it) for it in route.skipped],
        "advice": route.advice,
    }


def _export(admin: Admin, user: UserDetails) -> Iterator[tuple[str, Iterable[Any]]]:
    """Yield the arrays of an export. Long ones are read while they are written."""
    yield "quotas", (asdict(it) for it in admin.list_quotas(user.id) if it.user_id == user.id)
    yield "audit_log", map(asdict, admin.list_audit_log(user_id=user.id))
    yield "refusals", map(asdict, admin.list_refusals(user_id=user.id))
    yield "usage_events", map(asdict, admin.list_usage_events(user_id=user.id))


def _write(admin: Admin, user: UserDetails, file: IO[str]) -> None:
    """Write one JSON object, row by row."""
    file.write(f'{{\n"user": {as_json_text(asdict(user))}')
    for name, rows in _export(admin, user):
        file.write(f",\n{json.dumps(name)}: [")
        comma = ""
        for row in rows:
            file.write(f"{comma}\n{as_json_text(row)}")
            comma = ","
        file.write("\n]")
    file.write("\n}\n")


def _state(user: User) -> str:
    states = [
        f"suspended {user.suspended_at:%Y-%m-%d}" if user.suspended_at else "",
        f"banned until {user.banned_until:%Y-%m-%d %H:%M}" if user.banned_until else "",
    ]
    return ", ".join(filter(None, states))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
