"""`supa-llm usage`: reports of usage and cost, an export of events, and a check of the totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args
from uuid import UUID

import typer

from supa_llm.errors import InvalidInputError
from supa_llm.values.usage import Bucket, Dimension, Order, Reporter
from supa_llm_cli.amounts import compact, counted, dollars, seconds, sparkline
from supa_llm_cli.options import DAY, HOME, AsJson, Directory, FirstDay, LastDay, Url, read_day
from supa_llm_cli.people import OneTeam, OneUser, names, optional_team_id, optional_user_id
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import UsageCheck, UsageEvent, UsageLine

app = typer.Typer(
    name="usage",
    help="Report, export and check the usage and cost of all users.",
)

_DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
_NUMBERS = (
    "requests",
    "failed",
    "as fallback",
    "input",
    "cached",
    "output",
    "cost",
    "unpriced",
    "p50",
    "p95",
)
# Columns that a narrow terminal hides, the first one first. `unpriced` is last since it qualifies the cost.
_SPARE = ("as fallback", "cached", "p50", "p95", "failed", "by day", "input", "output", "unpriced")


_FORMS: dict[Bucket, str] = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "month": "%Y-%m"}


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=read_day, metavar=DAY, help="First day. Default: 30 days ago.", show_default=False
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=read_day, metavar=DAY, help="Last day. Default: today.", show_default=False),
    ] = None,
    by: Annotated[
        str, typer.Option(help=f"Group by: {', '.join(_DIMENSIONS)}. Separate with commas.", metavar="LIST")
    ] = "provider,model",
    bucket: Annotated[
        Bucket | None,
        typer.Option(help="Add a row per hour, day or month. Default: a sparkline.", show_default=False),
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Time zone of the days.")] = "UTC",
    order: Annotated[
        Order | None,
        typer.Option(
            help=f"Sort by: {', '.join(get_args(Order))}. Default: cost, or time with --bucket.",
            metavar="FIELD",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of rows.")] = 50,
    user: OneUser = None,
    team: OneTeam = None,
    recorded_by: Annotated[
        Reporter | None,
        typer.Option(help="Only usage recorded by: runtime, user.", metavar="WHO", show_default=False),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Report usage and cost.

    The cost covers priced attempts only. The column `unpriced` counts the attempts without a price or without
    reported tokens. `p50` and `p95` are latencies.
    """
    if context.invoked_subcommand is not None:
        return
    dimensions = _dimensions(by)
    chosen: Order = order or ("time" if bucket else "cost")
    span: dict[str, Any] = {
        "since": _day(since),
        "until": _day(until),
        "time_zone": time_zone,
        "recorded_by": recorded_by,
    }
    # A sparkline per user, team or key would fetch a row per day of each.
    curves = bucket is None and not as_json and not {"user", "team", "key_id"} & set(dimensions)
    with administrator(url, directory) as admin:
        span["user_id"] = optional_user_id(admin, user)
        span["team_id"] = optional_team_id(admin, team)
        found = admin.get_usage(**span, by=dimensions, bucket=bucket, order=chosen, limit=limit)
        over_time = admin.get_usage(**span, by=dimensions, bucket="day", limit=10_000) if curves else []
        total = admin.get_usage(**span, by=[], bucket=None)
        # A refused request used no team's key.
        refused = [] if team else admin.list_refusals(_day(since), _day(until), user_id=span["user_id"])
        emails = (
            names(admin, (line.user_id for line in found)) if "user" in dimensions and not as_json else {}
        )
    if as_json:
        print_json([asdict(line) for line in found])
    elif found:
        _show([*(found if dimensions or bucket else []), *total], dimensions, bucket, over_time, emails)
        if found[0].report_lines > limit:
            typer.echo(
                f"Showing the first {counted(limit, 'row')} of {found[0].report_lines:,}."
                " Use --limit to show more."
            )
        _show_missing(total[0])
    else:
        typer.echo("No usage in this period.")
    if refused and not as_json:
        count = counted(sum(it.refusals for it in refused), "request")
        typer.echo(f"{count} refused before reaching a provider. See why: supa-llm usage refusals")


@app.command()
def refusals(
    since: FirstDay = None,
    until: LastDay = None,
    user: OneUser = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Show how many requests were refused before they reached a provider, by error code.

    The app's servers report them in the background, usually within a minute. 30 days are kept.
    """
    first, last = _day(since), _day(until)
    _in_order(first, last)
    with administrator(url, directory) as admin:
        found = admin.list_refusals(first, last, user_id=optional_user_id(admin, user))
    if as_json:
        print_json([asdict(it) for it in found])
    elif found:
        rows = [
            (it.code, f"{it.refusals:,}", f"{it.users:,}", f"{it.last_at:%Y-%m-%d %H:%M}") for it in found
        ]
        print_table(("error", "requests", "users", "last (UTC)"), rows, right=("requests", "users"))
        typer.echo("docs/errors.md explains each error.")
    else:
        typer.echo("No refused requests in this period.")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Output file: .csv, .jsonl or .parquet.", show_default=False)],
    since: FirstDay = None,
    until: LastDay = None,
    user: OneUser = None,
    team: OneTeam = None,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Export the usage events of all users to a file, one row per attempt: IDs, models, tokens, costs.

    The file is written only once the export is complete. An existing file is replaced.
    """
    first, last = _day(since), _day(until)
    _in_order(first, last)
    with administrator(url, directory) as admin:
        events = admin.list_usage_events(
            first,
            last and last + timedelta(days=1),
            user_id=optional_user_id(admin, user),
            team_id=optional_team_id(admin, team),
        )
        write_events(events, file)


def write_events(events: Iterable[UsageEvent], file: Path) -> None:
    """Write usage events to a file, and show the progress."""
    from supa_llm import export_events

    with progress("Exporting …") as show:
        written = export_events(
            events, file, progress=lambda count: show(f"Exported {counted(count, 'event')} …")
        )
    typer.echo(f"Wrote {counted(written, 'event')} to {file}.")


@app.command()
def check(
    since: FirstDay = None,
    until: LastDay = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Check that the totals match the events, day by day. Exits with 1 if any total differs."""
    with administrator(url, directory) as admin, progress("Checking …") as show:
        today = datetime.now(UTC).date()
        newest = admin.check_usage(today, today + timedelta(days=1))
        first, last = _day(since) or newest.first_day or today, _day(until) or today
        _in_order(first, last)
        checks = []
        for day in (first + timedelta(days=number) for number in range((last - first).days + 1)):
            show(f"Checking {day} …")
            checks.append(newest if day == today else admin.check_usage(day, day))
    differing = sum(found.differing for found in checks)
    if as_json:
        shown = [dict(line) for found in checks for line in found.differences]
        print_json({"since": first, "until": last, "differing": differing, "differences": shown})
    elif differing:
        _show_differences(checks)
        wrong = f"{counted(differing, 'total')} {'differs' if differing == 1 else 'differ'}"
        typer.echo(f"{wrong} from the events between {first} and {last}.")
    else:
        typer.echo(f"All totals from {first} to {last} match the events.")
    if differing:
        raise typer.Exit(1)


def _show(
    lines: Sequence[UsageLine],
    dimensions: Sequence[str],
    bucket: Bucket | None,
    over_time: Sequence[UsageLine],
    emails: Mapping[UUID, str],
) -> None:
    """Print a table that ends with the total."""
    curves = _curves(over_time, dimensions)
    headings = (*([bucket] if bucket else []), *dimensions)
    names = [_names(line, dimensions, bucket, emails) for line in lines[:-1]]
    names.append(("total", *[""] * len(headings[1:])) if headings else ())
    rows = [
        (*name, *_numbers(line), curves.get(_key(line, dimensions), ""))
        for name, line in zip(names, lines, strict=True)
    ]
    print_table((*headings, *_NUMBERS, "by day"), rows, right=_NUMBERS, spare=_SPARE)


def _show_missing(total: UsageLine) -> None:
    if total.unpriced:
        attempts = counted(total.unpriced, "attempt")
        typer.echo(f"{attempts} {_have(total.unpriced)} no price. Run: supa-llm prices sync, or prices set")
    if total.unreported:
        attempts = counted(total.unreported, "attempt")
        typer.echo(f"{attempts} {_have(total.unreported)} no usage reported by the provider.")


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _names(
    line: UsageLine, dimensions: Sequence[str], bucket: Bucket | None, emails: Mapping[UUID, str]
) -> tuple[str, ...]:
    begin = [line.starts_at.strftime(_FORMS[bucket])] if bucket and line.starts_at else []
    user = emails.get(line.user_id) if line.user_id else None
    return (
        *begin,
        *(
            user if user and name == "user" else key
            for name, key in zip(dimensions, _key(line, dimensions), strict=True)
        ),
    )


def _key(line: UsageLine, dimensions: Sequence[str]) -> tuple[str, ...]:
    fields = ("user_id" if name == "user" else name for name in dimensions)
    return tuple(str(getattr(line, name) or "-") for name in fields)


def _numbers(line: UsageLine) -> tuple[str, ...]:
    return (
        f"{line.requests:,}",
        f"{line.failures / line.attempts:.1%}" if line.failures else "",
        f"{line.fallbacks:,}" if line.fallbacks else "",
        compact(line.input_tokens),
        compact(line.cached_input_tokens) if line.cached_input_tokens else "",
        compact(line.output_tokens),
        _cost(line),
        f"{line.unpriced + line.unreported:,}" if line.unpriced + line.unreported else "",
        seconds(line.latency_p50_ms),
        seconds(line.latency_p95_ms),
    )


def _cost(line: UsageLine) -> str:
    if line.cost is None:
        return "unpriced" if line.unpriced else "not reported"
    # The sum is a lower bound while some attempts have no cost.
    return f"{'≥' if line.unpriced + line.unreported else ''}{dollars(line.cost)}"


def _curves(lines: Sequence[UsageLine], dimensions: Sequence[str]) -> Mapping[tuple[str, ...], str]:
    """Draw each group's cost by day, or its requests if no cost is known."""
    # Count in dates, since days are not always 24 hours long.
    days = sorted({line.starts_at.date() for line in lines if line.starts_at})
    if len(days) < 2:
        return {}
    whole = [days[0] + timedelta(days=number) for number in range((days[-1] - days[0]).days + 1)]
    groups: dict[tuple[str, ...], dict[date, UsageLine]] = defaultdict(dict)
    for line in lines:
        if line.starts_at:
            groups[_key(line, dimensions)][line.starts_at.date()] = line
    curves = {}
    for key, found in groups.items():
        costs = [found[day].cost if day in found else Decimal(0) for day in whole]
        requests = [found[day].requests if day in found else 0 for day in whole]
        curves[key] = sparkline([float(cost or 0) for cost in costs] if any(costs) else requests)
    return curves


def _show_differences(checks: Sequence[UsageCheck]) -> None:
    rows = [
        (
            line["totals"],
            line["starts_at"],
            line["user_id"] or "",
            f"{line['provider']}/{line['model']}",
            line["task"] or "",
            line["key_source"],
            ", ".join(f"{name} {value:+}" for name, value in line["differences"].items()),
        )
        for found in checks
        for line in found.differences
    ]
    print_table(("totals", "from", "user", "model", "task", "key", "difference"), rows)


def _dimensions(text: str) -> list[Dimension]:
    named: list[Any] = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in named if name not in _DIMENSIONS]:
        raise InvalidInputError(
            f"Usage cannot be grouped by {unknown[0]}.", hint=f"Group by: {', '.join(_DIMENSIONS)}."
        )
    return named


def _in_order(first: date | None, last: date | None) -> None:
    if first and last and first > last:
        raise InvalidInputError(
            f"--since {first} is after --until {last}.", hint="Pass an earlier --since or a later --until."
        )


def _day(at: datetime | None) -> date | None:
    return at and at.date()
