"""`supa-llm runtimes`: the processes that run requests for users, and their secrets."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from supa_llm.errors import ConflictError, NotFoundError
from supa_llm_cli.changes import confirm, report
from supa_llm_cli.options import HOME, AsJson, Directory, DryRun, Url, Yes
from supa_llm_cli.private_files import require_writable, set_variable
from supa_llm_cli.project import RUNTIME_SECRET, administrator
from supa_llm_cli.tables import print_json, print_table

if TYPE_CHECKING:
    from supa_llm import Admin, Runtime, RuntimeSecret

app = typer.Typer(
    name="runtimes",
    help="Register the servers that run requests for users, and rotate or revoke their secrets.",
    no_args_is_help=True,
)

OneRuntime = Annotated[
    str, typer.Argument(metavar="RUNTIME", help="Name or ID from `supa-llm runtimes list`.")
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        help=f"Set {RUNTIME_SECRET} in this file (mode 0600) instead of printing the secret.",
        show_default=False,
    ),
]


@app.command("list")
def list_(
    show_all: Annotated[bool, typer.Option("--all", help="Include revoked runtimes.")] = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """List runtimes, with the time of their last request."""
    with administrator(url, directory) as admin:
        runtimes = [it for it in admin.list_runtimes() if show_all or it.revoked_at is None]
    if as_json:
        print_json([asdict(it) for it in runtimes])
    elif runtimes:
        print_table(("name", "registered (UTC)", "last seen (UTC)", "status", "id"), [*map(_row, runtimes)])
    else:
        typer.echo("No runtimes. Register your server: supa-llm runtimes add NAME")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name, such as app-server. Each runtime has its own.")],
    env_file: EnvFile = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Register a runtime. Its secret is shown only once."""
    if env_file:
        require_writable(env_file)
    with administrator(url, directory) as admin:
        if dry_run:
            _refuse_taken(admin, name)
            report(
                {"name": name},
                would=f"Would register the runtime {name}.",
                done="",
                dry_run=True,
                as_json=as_json,
            )
            return
        _show(register(admin, name), env_file, as_json, f"Registered the runtime {name}.")


@app.command()
def rotate(
    runtime: OneRuntime,
    overlap: Annotated[
        float, typer.Option(min=0, max=720, help="Hours for which the previous secret stays valid.")
    ] = 24,
    env_file: EnvFile = None,
    dry_run: DryRun = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Give a runtime a new secret. It is shown only once.

    Its processes may use the previous secret for --overlap hours. After a leak, pass --overlap 0.
    """
    if env_file:
        require_writable(env_file)
    with administrator(url, directory) as admin:
        found = _find(admin, runtime)
        if dry_run:
            would = f"Would rotate the secret of the runtime {found.name} ({found.id})."
            report({"id": found.id, "name": found.name}, would=would, done="", dry_run=True, as_json=as_json)
            return
        rotated = admin.rotate_runtime(found.id, overlap=timedelta(hours=overlap))
        until = f"{rotated.previous_until:%Y-%m-%d %H:%M}"
        _show(
            rotated,
            env_file,
            as_json,
            f"Rotated the secret of the runtime {found.name}. The previous one is valid until {until} UTC.",
        )


@app.command()
def revoke(
    runtime: OneRuntime,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    directory: Directory = HOME,
    as_json: AsJson = False,
) -> None:
    """Revoke a runtime. It may use the keys that it holds until their lease ends."""
    with administrator(url, directory) as admin:
        found = _find(admin, runtime)
        if not dry_run:
            confirm(f"revoke the runtime {found.name} ({found.id})", yes)
            admin.revoke_runtime(found.id)
    report(
        {"id": found.id, "name": found.name},
        would=f"Would revoke the runtime {found.name} ({found.id}).",
        done=f"Revoked the runtime {found.name}.",
        dry_run=dry_run,
        as_json=as_json,
    )


def register(admin: Admin, name: str) -> RuntimeSecret:
    """Register a runtime. If its name is taken, the error's hint is the command that rotates the secret."""
    try:
        return admin.register_runtime(name)
    except ConflictError as error:
        error.hint = _taken_hint(name)
        raise


def _taken_hint(name: str) -> str:
    return f"Choose another name, or rotate its secret: supa-llm runtimes rotate {shlex.quote(name)}"


def _refuse_taken(admin: Admin, name: str) -> None:
    if any(it.name == name and it.revoked_at is None for it in admin.list_runtimes()):
        raise ConflictError(
            "A runtime of this name is registered.", code="runtime_exists", hint=_taken_hint(name)
        )


def _find(admin: Admin, runtime: str) -> Runtime:
    """Return the runtime with this name or ID that is not revoked."""
    active = [it for it in admin.list_runtimes() if it.revoked_at is None]
    for it in active:
        if it.name == runtime or str(it.id) == runtime.lower():
            return it
    names = ", ".join(it.name for it in active) or "none"
    raise NotFoundError(f"Runtime {runtime} does not exist.", hint=f"Runtimes: {names}.")


def _show(registered: RuntimeSecret, env_file: Path | None, as_json: bool, done: str) -> None:
    secret = registered.secret.reveal()
    if env_file:
        set_variable(env_file, RUNTIME_SECRET, secret)
    if as_json:
        shown = {"id": registered.id, "name": registered.name, "previous_until": registered.previous_until}
        print_json(shown if env_file else {**shown, "secret": secret})
        return
    # Standard output has only the variable, so that it can be appended to a file.
    typer.echo(done, err=env_file is None)
    typer.echo(f"{RUNTIME_SECRET} is set in {env_file}." if env_file else f"{RUNTIME_SECRET}={secret}")


def _row(runtime: Runtime) -> tuple[object, ...]:
    if runtime.revoked_at:
        status = f"revoked {runtime.revoked_at:%Y-%m-%d}"
    elif runtime.previous_until:
        status = f"previous secret until {runtime.previous_until:%Y-%m-%d %H:%M}"
    else:
        status = ""
    return (
        runtime.name,
        f"{runtime.created_at:%Y-%m-%d %H:%M}",
        f"{runtime.last_seen_at:%Y-%m-%d %H:%M}" if runtime.last_seen_at else "never",
        status,
        runtime.id,
    )
