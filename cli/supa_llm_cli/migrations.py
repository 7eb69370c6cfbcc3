"""`supa-llm migrations`: our tables and functions for an adopter's own Supabase project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError

app = typer.Typer(
    name="migrations",
    help="The tables and functions of supa-llm, for your own Supabase project.",
    no_args_is_help=True,
)

_DEFAULT = Path("supabase/migrations")


@app.callback()
def _group() -> None:
    pass


@app.command()
def copy(
    to: Annotated[
        Path | None,
        typer.Option(
            help=f"Your project's migrations folder; made if missing. Default: {_DEFAULT} of this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Copy the migrations into your project, for `supabase db push` to apply.

    One file a release; they bring the provider catalogue along, so no seed is needed. After an upgrade of
    supa-llm run it again: it adds what is new. A file that differs from ours is never overwritten: then
    nothing is copied at all.
    """
    folder = _target(to)
    ours = {file.name: file.read_bytes() for file in _packaged()}
    theirs = {file.name: file for file in folder.glob("*.sql")} if folder.is_dir() else {}
    _refuse_clashes(folder, ours, theirs)
    new = [name for name in ours if name not in theirs]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in new:
            # Under its own name only when it is complete, so that no half migration is ever pushed.
            draft = folder / f".{name}.draft"
            draft.write_bytes(ours[name])
            draft.replace(folder / name)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write to {folder}: {error.strerror or error}.",
            hint="Give yourself write access, or name another folder with --to.",
        ) from error
    for name in ours:
        typer.echo(f"{'new' if name in new else 'unchanged':<9}  {folder / name}")
    if not new:
        return
    typer.echo("Apply with: supabase db push")
    if any(name > min(new) for name in theirs if name not in ours):
        typer.echo(
            "Some of your own migrations are newer; once applied, they need: supabase db push --include-all"
        )


def _target(to: Path | None) -> Path:
    if to is not None:
        return to
    if not _DEFAULT.parent.is_dir():
        raise ConfigurationError(
            f"There is no folder {_DEFAULT.parent} here.",
            hint="Run this in your Supabase project (`supabase init` makes one), or name a folder with --to.",
        )
    return _DEFAULT


def _packaged() -> list[Path]:
    from supa_llm.local.project_files import packaged_project

    return sorted((packaged_project() / "supabase" / "migrations").glob("*.sql"))


def _refuse_clashes(folder: Path, ours: dict[str, bytes], theirs: dict[str, Path]) -> None:
    changed = [name for name, file in theirs.items() if name in ours and file.read_bytes() != ours[name]]
    if changed:
        differ = "differs" if len(changed) == 1 else "differ"
        raise ConfigurationError(
            f"Nothing was copied: in {folder}, {', '.join(sorted(changed))} {differ} from ours.",
            code="migrations_changed",
            hint="Put your changes into a migration of your own, and move what differs away to get ours.",
        )
    versions = {_version(name): name for name in ours}
    taken = [name for name in theirs if name not in ours and _version(name) in versions]
    if taken:
        have = "has a version" if len(taken) == 1 else "have versions"
        raise ConfigurationError(
            f"Nothing was copied: in {folder}, {', '.join(sorted(taken))} {have} that ours have too.",
            code="migrations_clash",
            hint="Give each of them another version (the number at the start of the name).",
        )


def _version(name: str) -> str:
    return name.partition("_")[0]
