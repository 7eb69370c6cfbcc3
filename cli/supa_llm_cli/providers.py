"""`supa-llm providers`: the catalog of providers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from supa_llm.errors import NotFoundError
from supa_llm_cli.amounts import counted
from supa_llm_cli.changes import confirm, differences, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.progress import progress
from supa_llm_cli.project import administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Provider
    from supa_llm.client.key_check import KeyCheckResult
    from supa_llm.client.operator_keys import OperatorKeys

app = typer.Typer(
    name="providers",
    help="Add, change, check and remove providers.",
    no_args_is_help=True,
)

OneProvider = Annotated[str, typer.Argument(metavar="PROVIDER", help="Provider ID, such as openai.")]


@app.command("list")
def list_(url: Url = None, directory: Directory = HOME, as_json: AsJson = False) -> None:
    """List all providers in catalog order, also the disabled ones."""
    with administrator(url, directory) as admin:
        providers = admin.list_providers(disabled=True)
    if as_json:
        print_json([asdict(provider) for provider in providers])
        return
    rows = [
        (it.id, it.name, it.wire_format, it.base_url, it.default_model, "" if it.enabled else "disabled")
        for it in providers
    ]
    print_table(("id", "name", "format", "address", "default model", "status"), rows)


@app.command("set")
def set_(
    provider: OneProvider,
    base_url: Annotated[
        str | None, typer.Option(help="Address of its API, without a trailing slash. Keys are sent there.")
    ] = None,
    default_model: Annotated[
        str | None, typer.Option(help="Model for tasks without one of their own.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name that users see.")] = None,
    wire_format: Annotated[
        str | None, typer.Option(help="Format of its API: openai, anthropic or google.")
    ] = None,
    key_url: Annotated[str | None, typer.Option(help="Page where users create a key.")] = None,
    position: Annotated[int | None, typer.Option(help="Position in the catalog; lower comes first.")] = None,
    fields: Annotated[
        str | None,
        typer.Option(help='Other fields as JSON: \'{"task_models": {"speed": "small-1"}}\'.'),
    ] = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Add a provider, or change fields of an existing one. Other fields stay as they are.

    A new OpenAI-compatible provider needs --base-url and --default-model.
    """
    named = {
        "base_url": base_url,
        "default_model": default_model,
        "name": name,
        "wire_format": wire_format,
        "key_url": key_url,
        "position": position,
    }
    columns = _parsed(fields) | {column: value for column, value in named.items() if value is not None}
    with administrator(url, directory) as admin:
        before = _find(admin, provider)
        after = {**before, **columns} if dry_run else asdict(admin.set_provider(provider, **columns))
    _report(provider, before, after, dry_run, as_json)


@app.command()
def enable(
    provider: OneProvider,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Let a provider serve requests again."""
    with administrator(url, directory) as admin:
        _switch(admin, provider, True, dry_run, as_json)


@app.command()
def disable(
    provider: OneProvider,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Let a provider serve no more requests. Users' keys stay stored."""
    with administrator(url, directory) as admin:
        _switch(admin, provider, False, dry_run, as_json)


@app.command()
def remove(
    provider: OneProvider,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Remove a provider with its prices and quotas.

    Refused if keys of it are stored or usage is recorded: disable the provider instead.
    """
    with administrator(url, directory) as admin:
        _existing(admin, [provider])
        if not dry_run:
            confirm(f"remove the provider {provider} with its prices and quotas", yes)
            admin.remove_provider(provider)
    report(
        {"provider": provider},
        would=f"Would remove the provider {provider}, unless keys or usage refer to it.",
        done=f"Removed the provider {provider}.",
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def check(
    providers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER", help="Providers. Default: all enabled providers."),
    ] = None,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Check that providers respond, and that your own keys in the environment (OPENAI_API_KEY, …) work.

    The check is a free request. Exits with 1 if a provider does not respond or rejects a key.
    """
    from supa_llm.client.operator_keys import OperatorKeys

    keys = OperatorKeys()
    with administrator(url, directory) as admin:
        chosen = _existing(admin, providers or [])
    with progress(f"Checking {counted(len(chosen), 'provider')} …"):
        results = asyncio.run(_check(chosen, keys))
    lines = [_outcome(provider, keys, result) for provider, result in zip(chosen, results, strict=True)]
    if as_json:
        print_json(lines)
    else:
        print_table(
            ("provider", "address", "key", "details"),
            [(it["provider"], it["address"], it["key"], it["details"]) for it in lines],
        )
    if any(it["address"] != "responds" or it["key"] in ("rejected", "unknown") for it in lines):
        raise typer.Exit(1)


def _find(admin: Admin, provider: str) -> dict[str, Any]:
    """Return the fields of a provider; empty if it does not exist."""
    return next((asdict(it) for it in admin.list_providers(disabled=True) if it.id == provider), {})


def _existing(admin: Admin, wanted: Sequence[str]) -> list[Provider]:
    """Return the wanted providers; without any, the enabled ones."""
    catalog = {it.id: it for it in admin.list_providers(disabled=True)}
    if unknown := [it for it in wanted if it not in catalog]:
        raise NotFoundError(
            f"Provider {unknown[0]} does not exist.",
            code="unknown_provider",
            hint=f"Providers: {', '.join(catalog)}.",
        )
    return [catalog[it] for it in wanted] or [it for it in catalog.values() if it.enabled]


def _switch(admin: Admin, provider: str, enabled: bool, dry_run: bool, as_json: bool) -> None:
    _existing(admin, [provider])
    if not dry_run:
        admin.set_provider(provider, enabled=enabled)
    report(
        {"provider": provider, "enabled": enabled},
        would=f"Would {'enable' if enabled else 'disable'} the provider {provider}.",
        done=f"The provider {provider} is {'enabled' if enabled else 'disabled'}.",
        dry_run=dry_run,
        as_json=as_json,
    )


def _report(
    provider: str, before: Mapping[str, Any], after: Mapping[str, Any], dry_run: bool, as_json: bool
) -> None:
    if as_json:
        print_json(after)
    elif not before:
        typer.echo(f"{'Would add' if dry_run else 'Added'} the provider {provider}.")
    elif changed := differences(before, after):
        typer.echo(f"{'Would change' if dry_run else 'Changed'} the provider {provider}: {changed}.")
    else:
        typer.echo(f"The provider {provider} is unchanged.")


def _parsed(fields: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(fields or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("--fields must be a JSON object.")
    return parsed


async def _check(providers: Sequence[Provider], keys: OperatorKeys) -> list[KeyCheckResult]:
    import httpx

    from supa_llm.client.key_check import check_key
    from supa_llm.values.key_checks import KeyCheck
    from supa_llm.values.secrets import Secret

    async with httpx.AsyncClient() as http:
        return await asyncio.gather(
            *(
                check_key(
                    KeyCheck(
                        check_id=uuid4(),
                        provider=it.id,
                        base_url=it.base_url,
                        wire_format=it.wire_format,
                        key_header=it.key_header,
                        key_scheme=it.key_scheme,
                        key_check_path=it.key_check_path,
                        key=None,
                    ),
                    # Without a key, any answer shows that the address responds.
                    keys.get(it.id) or Secret("no-key"),
                    http,
                )
                for it in providers
            )
        )


def _outcome(provider: Provider, keys: OperatorKeys, result: KeyCheckResult) -> dict[str, str]:
    silent = result.reason in ("timeout", "connection", "unknown_wire_format")
    responds = "no response" if silent else "responds"
    if keys.get(provider.id) is None:
        details = result.message if silent else ""
        return {"provider": provider.id, "address": responds, "key": "not set", "details": details}
    details = "" if result.result == "works" else f"{result.message} {result.detail}".strip()
    return {"provider": provider.id, "address": responds, "key": result.result, "details": details}
