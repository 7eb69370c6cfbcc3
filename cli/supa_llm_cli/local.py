"""`supa-llm local`: a Supabase project on this machine, without Docker."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from types import FrameType

    from supa_llm.local import LocalStack, StackStatus

app = typer.Typer(
    name="local",
    help="A Supabase project on this machine, without Docker: PostgreSQL, PostgREST and Supabase Auth.",
    no_args_is_help=True,
)


class Output(enum.StrEnum):
    """How `status` prints."""

    pretty = "pretty"
    env = "env"
    json = "json"


class Privileges(enum.StrEnum):
    """Default grants on new objects in `public`."""

    old = "old"
    new = "new"


class Service(enum.StrEnum):
    """A service of the stack."""

    postgres = "postgres"
    rest = "rest"
    auth = "auth"


Directory = Annotated[
    Path,
    typer.Option(
        "--directory", "-d", envvar="SUPA_LLM_HOME", help="Where the stack keeps its data and secrets."
    ),
]
Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="The folder that holds supabase/ with migrations and seed. "
        "Default: this folder if it has one, else what comes with supa-llm.",
    ),
]
DefaultPrivileges = Annotated[
    Privileges | None,
    typer.Option(
        help="What new objects in `public` grant to the API roles: all, as in most projects (old, default), "
        "or nothing that the API can use, as in projects made since 2026 (new). Fixed until the next reset."
    ),
]
_HOME = Path(".supa-llm")


@app.command()
def up(
    directory: Directory = _HOME,
    project: Project = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_000,
            help="Port of the URL; PostgreSQL gets the next one. 0 picks free ones. "
            "Default: those of the last start, else 54321.",
        ),
    ] = None,
    default_privileges: DefaultPrivileges = None,
) -> None:
    """Start the stack and push pending migrations. Installs it on first use.

    Run it again at any time: what runs is left alone, what died is started, new migrations are pushed.
    """
    from supa_llm.local import LocalStack

    stack = LocalStack(directory, project=project, port=port, default_privileges=_value(default_privileges))
    before = stack.status().running
    with _terminable(), _progress() as progress:
        status = stack.up(progress)
    typer.echo("The stack was already running." if before else "The stack is running.")
    _print_pretty(stack, status)


@app.command()
def down(
    directory: Directory = _HOME,
    purge: Annotated[bool, typer.Option(help="Also delete the data, the secrets and the logs.")] = False,
) -> None:
    """Stop the stack. Its data stays, unless --purge is given."""
    stack = _stack(directory)
    if not stack.status().services:
        typer.echo("There is no stack here.")
    elif purge:
        stack.destroy()
        typer.echo("The stack is stopped and deleted.")
    else:
        stack.down()
        typer.echo("The stack is stopped.")


@app.command()
def status(
    directory: Directory = _HOME,
    output: Annotated[Output, typer.Option("--output", "-o", help="pretty, env (for a shell) or json.")] = (
        Output.pretty
    ),
) -> None:
    """Show the URLs and keys. Exits with 1 if the stack is not running."""
    from supa_llm.errors import LocalError

    stack = _stack(directory)
    current = stack.status()
    if output is Output.pretty:
        _print_pretty(stack, current)
        if not current.running:
            raise typer.Exit(1)
        return
    if not current.running:
        raise LocalError(
            f"The stack in {stack.directory} is not running.",
            code="local_not_running",
            hint="Run `supa-llm local up`.",
        )
    if output is Output.json:
        typer.echo(json.dumps(stack.env(), indent=2))
    else:
        typer.echo("\n".join(f'{name}="{value}"' for name, value in stack.env().items()))


@app.command()
def reset(
    directory: Directory = _HOME, project: Project = None, default_privileges: DefaultPrivileges = None
) -> None:
    """Delete the database and start anew with all migrations and the seed. URLs and keys stay."""
    from supa_llm.local import LocalStack

    stack = LocalStack(directory, project=project, default_privileges=_value(default_privileges))
    with _terminable(), _progress() as progress:
        state = stack.reset(progress)
    typer.echo("The database is new.")
    _print_pretty(stack, state)


@app.command()
def logs(
    service: Annotated[Service | None, typer.Argument(help="One service; default: all.")] = None,
    directory: Directory = _HOME,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many lines of each log.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing what is added.")] = False,
) -> None:
    """Print the services' logs. E-mails that Supabase Auth would send are in `logs auth`."""
    from supa_llm.local.logs import tail

    files = _stack(directory).log_files()
    chosen = {name: path for name, path in files.items() if service is None or name == service}
    try:
        for name, line in tail(chosen, lines=lines, follow=follow):
            typer.echo(line if service else f"{name:<8} | {line}")
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # Whoever read has enough. What is still to be written at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stack(directory: Path) -> LocalStack:
    from supa_llm.local import LocalStack

    return LocalStack(directory)


def _value(privileges: Privileges | None) -> Literal["old", "new"] | None:
    return None if privileges is None else privileges.value


def _print_pretty(stack: LocalStack, status: StackStatus) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    if not status.services:
        console.print(
            f"There is no stack in {stack.directory}. Start one with: supa-llm local up", highlight=False
        )
        return
    rows = [
        (service.name, f"running (pid {service.pid})" if service.running else "stopped")
        for service in status.services
    ]
    rows += list(stack.env().items()) if status.running else []
    if not console.is_terminal:
        for name, value in rows:
            typer.echo(f"{name}: {value}")
        return
    # Longer values than the terminal is wide are left to it to wrap: then they are copied in one piece.
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(
            Text.assemble((name.ljust(width), "bold"), "  ", value), soft_wrap=True, highlight=False
        )


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal; lines, on standard error, anywhere else."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: typer.echo(text, err=True)
        return
    with console.status("Looking …") as spinner:
        yield spinner.update


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that a start which is ended by it leaves nothing running."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
