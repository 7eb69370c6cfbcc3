"""`supa-llm prices`: what models cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supa_llm.errors import NotFoundError
from supa_llm_cli.project import HOME, Directory, KeySource, Url, administrator
from supa_llm_cli.recalculate import recalculate
from supa_llm_cli.tables import AsJson, print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Price, PriceChange
    from supa_llm.client.price_lists import PriceList

app = typer.Typer(
    name="prices",
    help="What models cost: a synced price list, and prices of your own before it.",
    no_args_is_help=True,
)

_SHOWN = 10


app.command()(recalculate)


@app.command()
def sync(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Providers; default: all that are switched on.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    show_all: Annotated[
        bool,
        typer.Option("--all", help=f"Show more than {_SHOWN} changes a provider, and what has no price."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and apply only with --yes.")] = False,
) -> None:
    """Bring the catalogue's prices up to the price list of the installed genai-prices.

    What is recorded keeps its cost: a price that changed holds from now on, and one that the list gives a
    date from that date. Prices that you set yourself stay, and go first.
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
        if changed and not yes:
            typer.confirm("Apply?", abort=True)
        # All of them: which entry a model's name belongs to may differ where no price does.
        for provider, prices in lists.items():
            admin.sync_prices(provider, prices.entries, apply=True)
    if not as_json:
        typer.echo(f"Synced: {', '.join(changed)}." if changed else "All prices are up to date.")


@app.command("list")
def list_(
    provider: Annotated[str | None, typer.Argument(help="Only of this provider.")] = None,
    model: Annotated[
        str | None, typer.Argument(help="Only for this model; * marks what is paid now.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List the prices that hold now or later: the catalogue's and yours, in US dollars per million tokens."""
    with administrator(url, directory) as admin:
        prices = admin.list_prices(provider, model)
    if as_json:
        print_json([asdict(price) for price in prices])
    elif prices:
        print_table(
            ("", "id", "provider", "model", "source", "key", "tier", "when", "rates"), [*map(_row, prices)]
        )
    else:
        typer.echo("There are none. `supa-llm prices sync` brings those of known models.")


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument()],
    model: Annotated[str, typer.Argument(help="A model's name; * at its end stands for any ending.")],
    input_: Annotated[float | None, typer.Option("--input", help="Input tokens.")] = None,
    output: Annotated[float | None, typer.Option(help="Output tokens.")] = None,
    cached_input: Annotated[float | None, typer.Option(help="Input tokens read from a cache.")] = None,
    cache_write: Annotated[float | None, typer.Option(help="Input tokens written to a cache.")] = None,
    request: Annotated[float | None, typer.Option(help="US dollars for each request.")] = None,
    rates: Annotated[
        str | None,
        typer.Option(help='Any rates, as JSON: \'{"input": {"base": 1.25, "above": {"200000": 2.5}}}\'.'),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="It costs nothing.")] = False,
    from_: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC; default: now."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC; default: open.")
    ] = None,
    key_source: Annotated[KeySource | None, typer.Option(help="Only for what such keys pay.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only for this service tier, such as flex.")] = None,
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """Say what a model costs, in US dollars per million tokens. It goes before the catalogue's price."""
    named = {
        "input": input_,
        "output": output,
        "cached_input": cached_input,
        "cache_write": cache_write,
        "request": request,
    }
    stated = _parsed(rates) | {unit: rate for unit, rate in named.items() if rate is not None}
    if free and stated:
        raise typer.BadParameter("--free says that there are no rates.")
    with administrator(url, directory) as admin:
        price = admin.set_price(
            provider,
            model,
            {"input": 0, "output": 0} if free else stated,
            valid_from=_utc(from_),
            valid_until=_utc(until),
            key_source=key_source.value if key_source else None,
            service_tier=tier,
        )
    typer.echo(
        f"Price {price.id}: {price.provider}/{price.model} costs {_rates(price.rates)}{_since(price)}."
    )


@app.command()
def end(
    price_id: Annotated[int, typer.Argument(metavar="ID", help="As `supa-llm prices list` shows it.")],
    url: Url = None,
    directory: Directory = HOME,
) -> None:
    """End a price that you set. What was used until now keeps its cost."""
    with administrator(url, directory) as admin:
        price = admin.end_price(price_id)
    typer.echo(f"Price {price.id} of {price.provider}/{price.model} has ended.")


def _price_lists(admin: Admin, wanted: Sequence[str]) -> tuple[dict[str, PriceList], list[str]]:
    """The price lists of the providers, and which of them have none."""
    from supa_llm.client.price_lists import price_list

    catalogue = {provider.id: provider for provider in admin.list_providers()}
    if strange := sorted(set(wanted) - catalogue.keys()):
        raise NotFoundError(
            f"There is no provider {strange[0]} that is switched on.",
            code="unknown_provider",
            hint=f"Providers: {', '.join(sorted(catalogue))}.",
        )
    lists = {it: price_list(it, catalogue[it].base_url) for it in wanted or catalogue}
    known = {it: prices for it, prices in lists.items() if prices is not None}
    return known, [it for it in lists if it not in known]


def _parsed(rates: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(rates or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("--rates is no JSON object.")
    return parsed


def _utc(at: datetime | None) -> datetime | None:
    return at and at.replace(tzinfo=UTC)


# Output -----------------------------------------------------------------------------------------------------


def _show(changes: Mapping[str, Sequence[PriceChange]], most: int | None) -> None:
    # What changes what is there before what is new.
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
            typer.echo(f"… and {len(found) - most} more of {provider} (--all shows them)")


def _show_missing(lists: Mapping[str, PriceList], unknown: Sequence[str], show_all: bool) -> None:
    for provider in unknown:
        typer.echo(f"No prices of {provider}: genai-prices does not know it. Set some: supa-llm prices set")
    for provider, prices in lists.items():
        if prices.skipped and not show_all:
            typer.echo(f"No price of {len(prices.skipped)} models of {provider} (--all shows why)")
        for model, reason in prices.skipped.items() if show_all else ():
            typer.echo(f"No price of {provider}/{model}: {reason}")


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
