"""`supa-llm models`: the known models of each provider, with prices."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

import typer

from supa_llm_cli.options import HOME, AsJson, Directory, Url
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table


def models(
    provider: Annotated[
        str | None, typer.Argument(help="Show only this provider. Default: all enabled providers.")
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List the known models with their prices, in US dollars per million tokens.

    Requests may name other models too.
    """
    with administrator(url, directory) as admin:
        providers = [provider] if provider else [it.id for it in admin.list_providers()]
        found = [(it, known) for it in providers for known in admin.list_models(it)]
    if as_json:
        print_json([{"provider": it, **asdict(known)} for it, known in found])
        return
    rows = [(it, known.model, _price(known.input_price), _price(known.output_price)) for it, known in found]
    print_table(("provider", "model", "input", "output"), rows, right=("input", "output"))


def _price(price: Decimal | None) -> str:
    return "" if price is None else f"${price.normalize():f}"
