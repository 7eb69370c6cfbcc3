"""`supa-llm local`: a local Supabase project, without Docker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from supa_llm.local.postgres import DefaultPrivileges
from supa_llm_cli.options import HOME, Directory

if TYPE_CHECKING:
    from types import FrameType

    from supa_llm.local import LocalStack, StackStatus

app = typer.Typer(
    name="local",
    help="Run a local Supabase project without Docker: PostgreSQL, PostgREST and Supabase Auth.",
    no_args_is_help=True,
)


#: The formats of `status`, and the services that have a log.
Output = Literal["pretty", "env", "json"]
Service = Literal["postgres", "rest", "auth"]

Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Folder that contains supabase/ with migrations and seed. "
        "Default: this folder if it contains supabase/, else supa-llm's own project.",
    ),
]
Privileges = Annotated[
    DefaultPrivileges | None,
    typer.Option(
        help="Default grants to the API roles on new objects in `public`: all (old, the default) or none "
        "(new, as in projects created since 2026). Fixed until the next reset."
    ),
]


@app.command()
def up(
    directory: Directory = HOME,
    project: Project = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_000,
            help="Port of the API. PostgreSQL uses the next port. 0 picks free ports. "
            "Default: the ports of the last start, else 54321.",
        ),
    ] = None,
    default_privileges: Privileges = None,
) -> None:
    """Start the stack and push pending migrations. The first start also installs it.

    You can run it again at any time: it starts stopped services and pushes new migrations.
    """
    from supa_llm.local import LocalStack

    stack = LocalStack(directory, project=project, port=port, default_privileges=default_privileges)
    before = stack.status().running
    with _terminable(), _progress() as progress:
        status = stack.up(progress)
    typer.echo("The stack was already running." if before else "The stack is running.")
    _print_pretty(stack, status)


@app.command()
def down(
    directory: Directory = HOME,
    purge: Annotated[bool, typer.Option(help="Also delete the data, secrets and logs.")] = False,
) -> None:
    """Stop the stack. Keeps its data unless you pass --purge."""
    stack = _stack(directory)
    if not stack.status().services:
        typer.echo("No local stack found.")
    elif purge:
        stack.destroy()
        typer.echo("The stack is stopped and its data deleted.")
    else:
        stack.down()
        typer.echo("The stack is stopped.")


@app.command()
def status(
    directory: Directory = HOME,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Output format. env prints shell variables.")
    ] = "pretty",
) -> None:
    """Show the URLs and keys. Exits with 1 if the stack is not running."""
    from supa_llm.errors import LocalError

    stack = _stack(directory)
    current = stack.status()
    if output == "pretty":
        _print_pretty(stack, current)
        if not current.running:
            raise typer.Exit(1)
        return
    if not current.running:
        raise LocalError(
            f"The stack in {stack.directory} is not running.",
            code="local_not_running",
            hint="Start it: supa-llm local up",
        )
    if output == "json":
        typer.echo(json.dumps(stack.env(), indent=2))
    else:
        typer.echo("\n".join(f'{name}="{value}"' for name, value in stack.env().items()))


@app.command()
def reset(
    directory: Directory = HOME, project: Project = None, default_privileges: Privileges = None
) -> None:
    """Recreate the database with all migrations and the seed. Keeps URLs and keys."""
    from supa_llm.local import LocalStack

    stack = LocalStack(directory, project=project, default_privileges=default_privileges)
    with _terminable(), _progress() as progress:
        state = stack.reset(progress)
    typer.echo("The database was reset.")
    _print_pretty(stack, state)


@app.command()
def logs(
    service: Annotated[Service | None, typer.Argument(help="Service. Default: all.")] = None,
    directory: Directory = HOME,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Number of lines of each log.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep printing new lines.")] = False,
) -> None:
    """Print the services' logs. Emails from Supabase Auth appear in `logs auth`."""
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
        # The reader closed the pipe. Redirect stdout so that flushing it at exit does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stack(directory: Path) -> LocalStack:
    from supa_llm.local import LocalStack

    return LocalStack(directory)


def _print_pretty(stack: LocalStack, status: StackStatus) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    if not status.services:
        console.print(f"No local stack in {stack.directory}. Start one: supa-llm local up", highlight=False)
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
    # Let the terminal wrap long values, so that they can be copied in one piece.
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(
            Text.assemble((name.ljust(width), "bold"), "  ", value), soft_wrap=True, highlight=False
        )


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show a spinner on a terminal. Print lines to standard error if it is not a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: typer.echo(text, err=True)
        return
    with console.status("Starting …") as spinner:
        yield spinner.update


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Unwind on SIGTERM as on Ctrl-C, so that an interrupted start leaves nothing running."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
