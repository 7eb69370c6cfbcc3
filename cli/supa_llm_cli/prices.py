"""`supa-llm prices`: the prices of models, and costs recalculated from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supa_llm.errors import NotFoundError
from supa_llm.values.receipts import KeySource
from supa_llm_cli.amounts import counted, dollars
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, TIME, AsJson, Directory, DryRun, Url, Yes, read_time
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Price, PriceChange
    from supa_llm.client.price_lists import PriceList

app = typer.Typer(
    name="prices",
    help="Sync, set and list model prices, and recalculate costs.",
    no_args_is_help=True,
)

_SHOWN = 10


@app.command()
def sync(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Providers. Default: all enabled providers.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    yes: Yes = False,
    dry_run: DryRun = False,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all", help=f"Show all changes, not {_SHOWN} per provider, and why models are skipped."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON. Apply only with --yes.")] = False,
) -> None:
    """Sync the catalog's prices with the price list of the installed genai-prices.

    Recorded usage keeps its cost. A changed price applies from now, or from the date in the price list.
    Prices that you set yourself stay and take precedence.
    """
    with administrator(url, directory) as admin:
        lists, unknown = _price_lists(admin, providers or [])
        changes = {it: admin.sync_prices(it, prices.entries) for it, prices in lists.items()}
        if as_json:
            print_json({it: [asdict(line) for line in found] for it, found in changes.items()})
        else:
            _show(changes, None if show_all else _SHOWN)
            _show_missing(lists, unknown, show_all)
        if dry_run or (as_json and not yes):
            return
        changed = [provider for provider, found in changes.items() if found]
        if changed:
            confirm("apply these changes", yes)
        # Unchanged providers too: the entry that a model name matches can change when no price does.
        for provider, prices in lists.items():
            admin.sync_prices(provider, prices.entries, apply=True)
    if not as_json:
        typer.echo(f"Synced: {', '.join(changed)}." if changed else "All prices are up to date.")


@app.command("list")
def list_(
    provider: Annotated[str | None, typer.Argument(help="Show only this provider.")] = None,
    model: Annotated[
        str | None, typer.Argument(help="Show only this model. * marks the price in force.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List current and future prices, in US dollars per million tokens."""
    with administrator(url, directory) as admin:
        prices = admin.list_prices(provider, model)
    if as_json:
        print_json([asdict(price) for price in prices])
    elif prices:
        print_table(
            ("", "id", "provider", "model", "source", "key", "tier", "when", "rates"), [*map(_row, prices)]
        )
    else:
        typer.echo("No prices. Add prices for known models: supa-llm prices sync")


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument(help="Provider ID.")],
    model: Annotated[str, typer.Argument(help="Model name. A trailing * matches any ending.")],
    input_: Annotated[float | None, typer.Option("--input", help="Price of input tokens.")] = None,
    output: Annotated[float | None, typer.Option(help="Price of output tokens.")] = None,
    cached_input: Annotated[float | None, typer.Option(help="Price of cached input tokens.")] = None,
    cache_write: Annotated[float | None, typer.Option(help="Price of tokens written to the cache.")] = None,
    request: Annotated[float | None, typer.Option(help="Price of a request, in US dollars.")] = None,
    rates: Annotated[
        str | None,
        typer.Option(help='Rates as JSON: \'{"input": {"base": 1.25, "above": {"200000": 2.5}}}\'.'),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Set a price of 0.")] = False,
    from_: Annotated[
        datetime | None,
        typer.Option(
            "--from", parser=read_time, metavar=TIME, help="Start of the price (UTC). Default: now."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=read_time, metavar=TIME, help="End of the price (UTC). Default: no end."),
    ] = None,
    key_source: Annotated[KeySource | None, typer.Option(help="Apply only to usage of these keys.")] = None,
    tier: Annotated[str | None, typer.Option(help="Apply only to this service tier, such as flex.")] = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Set a model's price, in US dollars per million tokens. It overrides the catalog's price."""
    named = {
        "input": input_,
        "output": output,
        "cached_input": cached_input,
        "cache_write": cache_write,
        "request": request,
    }
    stated = _parsed(rates) | {unit: rate for unit, rate in named.items() if rate is not None}
    if free and stated:
        raise typer.BadParameter("--free cannot be combined with rates.")
    rates_ = {"input": 0, "output": 0} if free else stated
    with administrator(url, directory) as admin:
        if dry_run:
            scope = {"provider": provider, "model": model, "key_source": key_source, "service_tier": tier}
            span = {"valid_from": _utc(from_), "valid_until": _utc(until)}
            _preview(admin, scope, span, rates_, as_json)
            return
        price = admin.set_price(
            provider,
            model,
            rates_,
            valid_from=_utc(from_),
            valid_until=_utc(until),
            key_source=key_source,
            service_tier=tier,
        )
    report(
        asdict(price),
        would="",
        done=f"Price {price.id}: {price.provider}/{price.model} costs {_rates(price.rates)}{_since(price)}.",
        dry_run=False,
        as_json=as_json,
    )


@app.command()
def end(
    price_id: Annotated[int, typer.Argument(metavar="ID", help="Price ID from `supa-llm prices list`.")],
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """End a price that you set. Recorded usage keeps its cost."""
    with administrator(url, directory) as admin:
        price = _own(admin, price_id) if dry_run else admin.end_price(price_id)
    report(
        asdict(price),
        would=f"Would end price {price.id} of {price.provider}/{price.model}, {_rates(price.rates)}.",
        done=f"Ended price {price.id} of {price.provider}/{price.model}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def recalculate(
    since: Annotated[
        datetime,
        typer.Option(
            "--from", parser=read_time, metavar=TIME, help="First request time (UTC).", show_default=False
        ),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=read_time,
            metavar=TIME,
            help="End of the request times (UTC). Default: now.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Recalculate recorded costs at the prices now known for the time of each request.

    Use it after correcting a price or adding a missing one. Recorded events stay as they are: corrections are
    appended, and reports include them. You can interrupt the command; the same command resumes it. Running it
    again changes nothing. A priced event never becomes unpriced.
    """
    first, last = since.replace(tzinfo=UTC), _utc(until)
    span = (
        f"the costs of requests from {first:%Y-%m-%d %H:%M} to {f'{last:%Y-%m-%d %H:%M}' if last else 'now'}"
    )
    if dry_run:
        fields = {"since": first, "until": last}
        report(fields, would=f"Would recalculate {span} (UTC).", done="", dry_run=True, as_json=as_json)
        return
    confirm(f"recalculate {span} (UTC)", yes)
    with administrator(url, directory) as admin, progress("Recalculating …") as show_progress:
        for state in admin.recalculate_costs(first, last):
            expected = max(state.expected, state.events)
            show_progress(
                f"{state.events:,} of about {counted(expected, 'attempt')}, {state.changed:,} changed …"
            )
    if as_json:
        print_json({"dry_run": False, **asdict(state)})
        return
    typer.echo(f"Checked {counted(state.events, 'attempt')}, changed {state.changed:,}.")
    if state.newly_priced:
        typer.echo(f"{counted(state.newly_priced, 'attempt')} had no price before.")
    if state.changed:
        typer.echo(f"Total cost: {dollars(state.cost_before)} before, {dollars(state.cost_after)} now.")


def _own(admin: Admin, price_id: int) -> Price:
    """Return the operator's price with this ID."""
    for price in admin.list_prices():
        if price.id == price_id and price.source == "operator":
            return price
    raise NotFoundError(
        f"You have not set a price {price_id} that is in force or will be.",
        code="price_not_found",
        hint="List the prices: supa-llm prices list",
    )


def _preview(
    admin: Admin,
    scope: Mapping[str, Any],
    span: Mapping[str, datetime | None],
    rates: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Let the database check a price, and print what it would replace. Nothing is changed."""
    times = {name: at and at.isoformat() for name, at in span.items()}
    price = {name: value for name, value in {**scope, **times, "rates": rates}.items() if value is not None}
    changes = admin.set_configuration({"format": 1, "prices": [price]})
    before = next((change.before for change in changes), None)
    instead = f", instead of {_rates(before)}" if before else ""
    would = f"{scope['provider']}/{scope['model']} would cost {_rates(rates)}{instead}."
    fields = {**scope, **span, "rates": rates, "rates_before": before}
    report(fields, would=would, done="", dry_run=True, as_json=as_json)


def _price_lists(admin: Admin, wanted: Sequence[str]) -> tuple[dict[str, PriceList], list[str]]:
    """Return the price lists of the providers, and the providers without one."""
    from supa_llm.client.price_lists import price_list

    catalog = {provider.id: provider for provider in admin.list_providers()}
    if unknown := sorted(set(wanted) - catalog.keys()):
        raise NotFoundError(
            f"Provider {unknown[0]} does not exist or is disabled.",
            code="unknown_provider",
            hint=f"Enabled providers: {', '.join(sorted(catalog))}.",
        )
    lists = {it: price_list(it, catalog[it].base_url) for it in wanted or catalog}
    known = {it: prices for it, prices in lists.items() if prices is not None}
    return known, [it for it in lists if it not in known]


def _parsed(rates: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(rates or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("--rates must be a JSON object.")
    return parsed


def _utc(at: datetime | None) -> datetime | None:
    return at and at.replace(tzinfo=UTC)


# Output -----------------------------------------------------------------------------------------------------


def _show(changes: Mapping[str, Sequence[PriceChange]], most: int | None) -> None:
    # Changes to existing prices come before new prices.
    lines = {it: sorted(found, key=lambda line: line.change == "added") for it, found in changes.items()}
    rows = [
        (line.change, provider, line.model, line.service_tier or "", _when(line), _difference(line))
        for provider, found in lines.items()
        for line in found[:most]
    ]
    if rows:
        print_table(("change", "provider", "model", "tier", "when", "rates"), rows)
    for provider, found in lines.items():
        if most is not None and len(found) > most:
            typer.echo(f"… and {counted(len(found) - most, 'more change')} for {provider}. Show all: --all")


def _show_missing(lists: Mapping[str, PriceList], unknown: Sequence[str], show_all: bool) -> None:
    for provider in unknown:
        typer.echo(f"genai-prices has no prices for {provider}. Set your own: supa-llm prices set")
    for provider, prices in lists.items():
        if prices.skipped and not show_all:
            typer.echo(f"Skipped {counted(len(prices.skipped), 'model')} of {provider}. Show why: --all")
        for model, reason in prices.skipped.items() if show_all else ():
            typer.echo(f"Skipped {provider}/{model}: {reason}")


def _row(price: Price) -> tuple[object, ...]:
    return (
        "*" if price.in_force else "",
        price.id,
        price.provider,
        price.model,
        price.source,
        price.key_source or "",
        price.service_tier or "",
        _when(price),
        _rates(price.rates),
    )


def _when(it: Price | PriceChange) -> str:
    parts = [
        f"from {_day(it.valid_from)}" if it.valid_from else "",
        f"until {_day(it.valid_until)}" if it.valid_until else "",
        f"daily {it.daily_from:%H:%M}-{it.daily_until:%H:%M}" if it.daily_from and it.daily_until else "",
    ]
    return " ".join(filter(None, parts))


def _since(price: Price) -> str:
    return f", {when}" if (when := _when(price)) else ""


def _day(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d}" if at.hour == at.minute == at.second == 0 else f"{at:%Y-%m-%d %H:%M}"


def _difference(line: PriceChange) -> str:
    before, after = line.before or {}, line.after or {}
    if line.change != "changed":
        return _rates(after or before)
    units = [unit for unit in {**after, **before} if before.get(unit) != after.get(unit)]
    return ", ".join(
        f"{unit} {_rate(before.get(unit, 'none'))} → {_rate(after.get(unit, 'none'))}" for unit in units
    )


def _rates(rates: Mapping[str, Any]) -> str:
    return ", ".join(f"{unit} {_rate(rate)}" for unit, rate in rates.items())


def _rate(rate: Any) -> str:
    if isinstance(rate, Mapping):
        steps = ", ".join(f"{_rate(amount)} above {size}" for size, amount in rate["above"].items())
        return f"{_rate(rate['base'])} ({steps})"
    return rate if isinstance(rate, str) else f"{Decimal(str(rate)).normalize():f}"
