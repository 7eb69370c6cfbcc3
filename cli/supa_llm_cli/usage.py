"""`supa-llm usage`: what was used and what it cost, its events, and whether the sums are right."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supa_llm.errors import InvalidInputError
from supa_llm_cli.amounts import compact, counted, dollars, seconds, sparkline
from supa_llm_cli.progress import progress
from supa_llm_cli.project import HOME, Directory, Url, administrator
from supa_llm_cli.tables import AsJson, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import UsageCheck, UsageLine

app = typer.Typer(
    name="usage",
    help="What all users together used and what it cost: reports, export, and whether the sums are right.",
)

_DIMENSIONS = ("provider", "model", "task", "key_source", "key_id", "user")
_NUMBERS = (
    "requests",
    "failed",
    "as fallback",
    "input",
    "cached",
    "output",
    "cost",
    "not priced",
    "p50",
    "p95",
)
# What a narrow terminal goes without, the first one first: last what the cost beside it leaves out.
_SPARE = ("as fallback", "cached", "p50", "p95", "failed", "by day", "input", "output", "not priced")


class Bucket(enum.StrEnum):
    """How time is cut."""

    hour = "hour"
    day = "day"
    month = "month"


class Order(enum.StrEnum):
    """What comes first."""

    cost = "cost"
    requests = "requests"
    tokens = "tokens"
    time = "time"


_FORMS = {Bucket.hour: "%Y-%m-%d %H:%M", Bucket.day: "%Y-%m-%d", Bucket.month: "%Y-%m"}


def _date(help_: str) -> Any:
    return typer.Option(formats=["%Y-%m-%d"], help=help_, show_default=False)


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    since: Annotated[datetime | None, _date("First day; default: 30 days ago.")] = None,
    until: Annotated[datetime | None, _date("Last day; default: today.")] = None,
    by: Annotated[
        str, typer.Option(help=f"What each line is of; some of: {', '.join(_DIMENSIONS)}.", metavar="LIST")
    ] = "provider,model",
    bucket: Annotated[
        Bucket | None,
        typer.Option(help="A line for each of these too; default: a curve.", show_default=False),
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Where days begin.")] = "UTC",
    order: Annotated[
        Order | None, typer.Option(help="Default: cost, or with --bucket time.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Lines at most.")] = 50,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Report what was used and what it cost.

    A cost is what is known of it: attempts without a price, or whose tokens the provider did not count, are
    not in it but beside it, as not priced. p50 and p95 are latencies.
    """
    if context.invoked_subcommand is not None:
        return
    dimensions = _dimensions(by)
    chosen: Any = (order or (Order.time if bucket else Order.cost)).value
    asked: dict[str, Any] = {"since": _day(since), "until": _day(until), "time_zone": time_zone}
    # A curve of each user would take a line a day of each.
    curves = bucket is None and not as_json and not {"user", "key_id"} & set(dimensions)
    with administrator(url, directory) as admin:
        # One more than is shown tells whether there are more.
        found = admin.get_usage(
            **asked, by=dimensions, bucket=bucket.value if bucket else None, order=chosen, limit=limit + 1
        )
        over_time = admin.get_usage(**asked, by=dimensions, bucket="day") if curves else []
        total = admin.get_usage(**asked, by=[], bucket=None)
    lines = found[:limit]
    if as_json:
        print_json([asdict(line) for line in lines])
    elif lines:
        _show([*(lines if dimensions or bucket else []), *total], dimensions, bucket, over_time)
        if len(found) > limit:
            typer.echo(f"Only the first {counted(limit, 'line')}: --limit shows more.")
        _show_missing(total[0])
    else:
        typer.echo("Nothing was used in this time.")


@app.command()
def export(
    file: Annotated[
        Path, typer.Argument(help="By its ending: .csv, .jsonl or .parquet.", show_default=False)
    ],
    since: Annotated[datetime | None, _date("First day (UTC).")] = None,
    until: Annotated[datetime | None, _date("Last day (UTC).")] = None,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Write the usage events of all users to a file, a line an attempt: ids, models, tokens, costs.

    The file appears when it is complete, in the place of an older one.
    """
    from supa_llm import export_events

    first, last = _day(since), _day(until)
    _in_order(first, last)
    with administrator(url, directory) as admin, progress("Exporting …") as say:
        events = admin.list_usage_events(first, last and last + timedelta(days=1))
        written = export_events(events, file, progress=lambda count: say(f"{count:,} events …"))
    typer.echo(f"Wrote {written:,} events to {file}.")


@app.command()
def check(
    since: Annotated[datetime | None, _date("First day (UTC); default: all.")] = None,
    until: Annotated[datetime | None, _date("Last day (UTC); default: today.")] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Check that the totals are the sums of the events, day by day; exit code 1 where they are not."""
    with administrator(url, directory) as admin, progress("Checking …") as say:
        today = datetime.now(UTC).date()
        newest = admin.check_usage(today, today + timedelta(days=1))
        first, last = _day(since) or newest.first_day or today, _day(until) or today
        _in_order(first, last)
        checks = []
        for day in (first + timedelta(days=number) for number in range((last - first).days + 1)):
            say(f"Checking {day} …")
            checks.append(newest if day == today else admin.check_usage(day, day))
    differing = sum(found.differing for found in checks)
    if as_json:
        shown = [dict(line) for found in checks for line in found.differences]
        print_json({"since": first, "until": last, "differing": differing, "differences": shown})
    elif differing:
        _show_differences(checks)
        wrong = f"{counted(differing, 'total')} {'differs' if differing == 1 else 'differ'}"
        typer.echo(f"{wrong} from what they sum, from {first} to {last}.")
    else:
        typer.echo(f"All totals from {first} to {last} are exact.")
    if differing:
        raise typer.Exit(1)


@app.command()
def maintain(url: Url = None, directory: Directory = HOME) -> None:
    """Do what is to be done now and then: sum hours that are over, and drop events that are not kept.

    Reports are right without it; it keeps them quick. With pg_cron, the database does it by itself:
    `select cron.schedule('supa-llm', '*/15 * * * *', 'select public.run_llm_maintenance()');`
    """
    dropped: list[str] = []
    with administrator(url, directory) as admin, progress("Summing …") as say:
        while True:
            done = admin.run_maintenance()
            dropped += done.dropped_months or ()
            if done.done or done.hours_left is None or done.dropped_months is None:
                break
            say(f"{done.hours_left} hours left …")
    for month in dropped:
        typer.echo(f"Dropped the events of {month}; their totals stay.")
    if done.hours_left is None:
        typer.echo("Somebody else is at it.")
    elif done.dropped_months is None:
        typer.echo("Old events are being read: run it again to drop them.")
    else:
        typer.echo("Nothing is left to do.")


def _show(
    lines: Sequence[UsageLine],
    dimensions: Sequence[str],
    bucket: Bucket | None,
    over_time: Sequence[UsageLine],
) -> None:
    """Print a table; its last line is the total."""
    curves = _curves(over_time, dimensions)
    headings = (*(["from"] if bucket else []), *dimensions)
    names = [_names(line, dimensions, bucket) for line in lines[:-1]]
    names.append(("total", *[""] * len(headings[1:])) if headings else ())
    rows = [
        (*name, *_numbers(line), curves.get(_key(line, dimensions), ""))
        for name, line in zip(names, lines, strict=True)
    ]
    print_table((*headings, *_NUMBERS, "by day"), rows, right=_NUMBERS, spare=_SPARE)


def _show_missing(total: UsageLine) -> None:
    if total.unpriced:
        attempts = counted(total.unpriced, "attempt")
        typer.echo(f"No price is known for {attempts}: supa-llm prices sync, or prices set.")
    if total.unreported:
        typer.echo(f"Providers did not count the tokens of {counted(total.unreported, 'attempt')}.")


def _names(line: UsageLine, dimensions: Sequence[str], bucket: Bucket | None) -> tuple[str, ...]:
    begin = [line.starts_at.strftime(_FORMS[bucket])] if bucket and line.starts_at else []
    return (*begin, *_key(line, dimensions))


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
        return "unpriced" if line.unpriced else "unreported"
    # At least that: the rest of the line's attempts cost something, too.
    return f"{'≥' if line.unpriced + line.unreported else ''}{dollars(line.cost)}"


def _curves(lines: Sequence[UsageLine], dimensions: Sequence[str]) -> Mapping[tuple[str, ...], str]:
    """Of each group a curve of its cost by day; of its requests where no cost is known."""
    # Dates, since a day is not always 24 hours.
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
    print_table(("totals", "from", "user", "model", "task", "key", "more by"), rows)


def _dimensions(text: str) -> list[Any]:
    named = [name.strip() for name in text.split(",") if name.strip()]
    if strange := [name for name in named if name not in _DIMENSIONS]:
        raise InvalidInputError(
            f"A report cannot be by {strange[0]}.", hint=f"It can be by: {', '.join(_DIMENSIONS)}."
        )
    return named


def _in_order(first: date | None, last: date | None) -> None:
    if first and last and first > last:
        raise InvalidInputError(
            f"From {first} to {last} there are no days.",
            hint="Let --until be no earlier than --since.",
        )


def _day(at: datetime | None) -> date | None:
    return at and at.date()
