"""`supa-llm doctor`: what is wrong with a project's installation, each with what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from supa_llm_cli.amounts import counted
from supa_llm_cli.colors import styled
from supa_llm_cli.migrations import FOLDER, changed, packaged
from supa_llm_cli.options import HOME, AsJson, Directory, Url
from supa_llm_cli.project import PUBLISHABLE_KEYS, RUNTIME_SECRET, url_and_key
from supa_llm_cli.tables import print_json

if TYPE_CHECKING:
    import httpx

    from supa_llm import Admin, Problem

_SECONDS = 5.0
#: Seconds by which clocks may differ: PostgREST accepts tokens for so long after they expire.
_SKEW = 30.0


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Skip the checks that connect to the providers.")
    ] = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Find problems of the installation: in the database, its API, and this environment.

    Exit code: 0 without problems, 1 if there are only warnings, 2 if there is an error.
    """
    from supa_llm import Admin, SupaLLMError

    try:
        address, key = url_and_key(url, directory)
        with Admin(address, key) as admin:
            found = list(_problems(admin, address.rstrip("/"), key, offline=offline))
    except SupaLLMError as error:  # such as an invalid URL
        found = [_error(error.code, "project", error.args[0], error.hint)]
    if as_json:
        print_json([asdict(problem) for problem in found])
    else:
        _print(found)
    if found:
        raise typer.Exit(2 if any(problem.severity == "error" for problem in found) else 1)


def _print(found: list[Problem]) -> None:
    for problem in found:
        severity = styled(problem.severity, sys.stdout, fg="red" if problem.severity == "error" else "yellow")
        typer.echo(f"{severity}  {problem.subject}: {problem.message} [{problem.code}]")
        typer.echo(f"  {problem.hint}")
    errors = sum(problem.severity == "error" for problem in found)
    warnings = len(found) - errors
    typer.echo(
        f"{counted(errors, 'error')}, {counted(warnings, 'warning')}." if found else "No problems found."
    )


def _problems(admin: Admin, url: str, key: str, *, offline: bool) -> Iterator[Problem]:
    import httpx

    from supa_llm import SupaLLMError

    yield from _environment()
    yield from _migration_files()
    with httpx.Client(timeout=_SECONDS, headers={"apikey": key}) as http:
        yield from _auth(http, url)
        try:
            yield from _version(admin)
            yield from admin.list_problems()
            yield from _plain_calls(admin)
        except SupaLLMError as error:
            yield _error(error.code, "project", error.args[0], error.hint)
            return
        yield from _exposed_schema(http, url)
        yield from _runtime_secret(http, url)
    if not offline:
        yield from _providers(admin)


def _error(code: str, subject: str, message: str, hint: str) -> Problem:
    from supa_llm import Problem

    return Problem(code, "error", subject, message, hint)


def _warning(code: str, subject: str, message: str, hint: str) -> Problem:
    from supa_llm import Problem

    return Problem(code, "warning", subject, message, hint)


def _environment() -> Iterator[Problem]:
    """Keys in variables where they do not belong."""
    for name in PUBLISHABLE_KEYS:
        if _is_secret(os.environ.get(name, "")):
            yield _error(
                "secret_key_published",
                f"variable {name}",
                "It holds a secret key, and publishable keys reach browsers.",
                "Put the publishable key there. If the secret key was in a browser, replace it.",
            )
    secret = os.environ.get(RUNTIME_SECRET, "slr_")
    if not secret.startswith("slr_"):
        yield _error(
            "runtime_secret_invalid",
            f"variable {RUNTIME_SECRET}",
            "It does not hold the secret of a runtime, which begins with slr_.",
            "Register a runtime, and put its secret there.",
        )


def _is_secret(key: str) -> bool:
    from supa_llm.values.credentials import kind_of

    return kind_of(key) == "a secret key"


def _migration_files() -> Iterator[Problem]:
    """Copies of supa-llm's migrations in this folder's project that were edited."""
    for file in changed(FOLDER):
        yield _error(
            "migration_changed",
            str(file),
            "It is not the file that this version of supa-llm has.",
            "Restore it, and move your changes into a migration of your own.",
        )


def _auth(http: httpx.Client, url: str) -> Iterator[Problem]:
    """Whether Supabase Auth answers with the keys that verify access tokens."""
    import httpx

    try:
        response = http.get(f"{url}/auth/v1/.well-known/jwks.json")
        problem = "" if response.status_code < 500 else f"It answered with status {response.status_code}."
    except httpx.HTTPError as error:
        problem = f"It cannot be reached ({type(error).__name__})."
    if problem:
        yield _error(
            "auth_unreachable",
            f"{url}/auth/v1",
            f"{problem} Nobody can sign in, and new signing keys are not found.",
            "Check the project's URL, and that its Auth service is running.",
        )


def _version(admin: Admin) -> Iterator[Problem]:
    sent = datetime.now(UTC)
    installed = admin.get_version()
    *_, newest = packaged()
    if installed.version != newest:
        yield _error(
            "versions_differ",
            "supa-llm",
            f"The database has version {installed.version}, this client is made for version {newest}.",
            "Update the older one: supa-llm upgrade and supabase db push, or the Python package.",
        )
    received = datetime.now(UTC)
    skew = max((sent - installed.now).total_seconds(), (installed.now - received).total_seconds())
    if skew > _SKEW:
        yield _warning(
            "clocks_differ",
            "clock",
            f"The clocks of the database and this machine differ by {skew:.0f} s.",
            "Set the clock of this machine. Access tokens expire too early or too late otherwise.",
        )


def _plain_calls(admin: Admin) -> Iterator[Problem]:
    """Whether the database recognizes how this version of PostgREST calls functions."""
    from supa_llm import SupaLLMError

    try:
        admin.dismiss_alerts([])
    except SupaLLMError as error:
        if error.code != "plain_call_required":
            raise
        yield _error(
            "postgrest_unknown",
            "PostgREST",
            "The database does not recognize this version's calls, so all functions that write refuse them.",
            'Update supa-llm. Until then, see "Locks end with the call" in docs/security.md.',
        )


def _exposed_schema(http: httpx.Client, url: str) -> Iterator[Problem]:
    response = http.get(
        f"{url}/rest/v1/operator_settings", params={"limit": 0}, headers={"accept-profile": "llm_private"}
    )
    # PostgREST knows only the exposed schemas: any other answer comes from the schema itself.
    if "PGRST106" not in response.text and response.status_code < 500:
        yield _error(
            "schema_exposed",
            "schema llm_private",
            "The API exposes it.",
            'Remove it from "Exposed schemas" in the API settings (db-schemas of PostgREST).',
        )


def _runtime_secret(http: httpx.Client, url: str) -> Iterator[Problem]:
    secret = os.environ.get(RUNTIME_SECRET, "")
    if not secret.startswith("slr_"):
        return
    response = http.post(
        f"{url}/rest/v1/rpc/record_llm_usage_batch", json={"p_events": []}, headers={"x-llm-runtime": secret}
    )
    if "runtime_unknown" in response.text:
        yield _error(
            "runtime_unknown",
            f"variable {RUNTIME_SECRET}",
            "The project has no runtime with this secret.",
            "Register a runtime in this project, and put its secret there.",
        )


def _providers(admin: Admin) -> Iterator[Problem]:
    """Providers that do not answer at all from this machine; without a key, most refuse the request."""
    import httpx

    def reach(address: str) -> str | None:
        try:
            httpx.get(address, timeout=_SECONDS, follow_redirects=False)
        except httpx.HTTPError as error:
            return type(error).__name__
        return None

    providers = admin.list_providers()
    with ThreadPoolExecutor(8) as threads:
        for provider, problem in zip(
            providers, threads.map(reach, [it.base_url for it in providers]), strict=True
        ):
            if problem:
                yield _warning(
                    "provider_unreachable",
                    f"provider {provider.id}",
                    f"{provider.base_url} cannot be reached from this machine ({problem}).",
                    "Check the address, or this machine's network and proxy.",
                )
