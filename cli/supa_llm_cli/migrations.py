"""`supa-llm migrations`: supa-llm's tables and functions for your own Supabase project."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from supa_llm.errors import ConfigurationError
from supa_llm_cli.amounts import counted

app = typer.Typer(
    name="migrations",
    help="Copy supa-llm's migrations into your own Supabase project.",
    no_args_is_help=True,
)

#: A project's migrations, in the folder of the project.
FOLDER = Path("supabase/migrations")


@app.callback()
def _group() -> None:
    pass


@app.command()
def copy(
    to: Annotated[
        Path | None,
        typer.Option(
            help=f"Your project's migrations folder, created if missing. Default: {FOLDER}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Copy supa-llm's migrations into your project. Apply them with `supabase db push`.

    One file per release, including the provider catalog, so no seed is needed. After upgrading supa-llm, run
    the command again to add new migrations. If you changed a file, it stops without copying anything.

    The tests of supa-llm's policies go into tests/supa_llm beside the migrations, for `supabase test db`.
    Each copy replaces them.
    """
    folder = target(to)
    packaged = _contents(packaged_files())
    existing = {file.name: file for file in folder.glob("*.sql")} if folder.is_dir() else {}
    _refuse_clashes(folder, packaged, existing)
    new = [name for name in packaged if name not in existing]
    _write(folder, {name: packaged[name] for name in new})
    for name in packaged:
        typer.echo(f"{'new' if name in new else 'unchanged':<9}  {folder / name}")
    _copy_tests(folder.parent / "tests" / "supa_llm")
    if not new:
        return
    typer.echo("Apply the migrations: supabase db push")
    if any(name > min(new) for name in existing if name not in packaged):
        typer.echo(
            "Some of your own migrations are newer. If they are applied, run: supabase db push --include-all"
        )


def target(to: Path | None) -> Path:
    """The folder for the migrations."""
    if to is not None:
        return to
    if not FOLDER.parent.is_dir():
        raise ConfigurationError(
            f"Folder not found: {FOLDER.parent}.",
            hint="Run this in your Supabase project (create one: supabase init), or pass a folder with --to.",
        )
    return FOLDER


def packaged_files() -> list[Path]:
    """supa-llm's migrations, in order."""
    from supa_llm.local.project_files import packaged_project

    return sorted((packaged_project() / "supabase" / "migrations").glob("*.sql"))


def _contents(files: Iterable[Path]) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files}


def _copy_tests(folder: Path) -> None:
    from supa_llm.local.policies import policy_tests

    # Unlike migrations, tests change with a release, so that the folder is supa-llm's own.
    packaged, existing = _contents(policy_tests()), _contents(folder.glob("*.sql"))
    _write(folder, packaged)
    state = "new" if not existing else "unchanged" if packaged.items() <= existing.items() else "updated"
    typer.echo(f"{state:<9}  {folder}, {counted(len(packaged), 'test')}")
    for name in sorted(existing.keys() - packaged.keys()):
        typer.echo(f"obsolete   {folder / name}")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, contents in files.items():
            # Rename complete files only, so that a partial migration is never pushed.
            draft = folder / f".{name}.draft"
            draft.write_bytes(contents)
            draft.replace(folder / name)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write to {folder}: {error.strerror or error}.",
            hint="Check your write access, or choose another folder with --to.",
        ) from error


def _refuse_clashes(folder: Path, packaged: dict[str, bytes], existing: dict[str, Path]) -> None:
    changed = [
        name for name, file in existing.items() if name in packaged and file.read_bytes() != packaged[name]
    ]
    if changed:
        differ = "differs" if len(changed) == 1 else "differ"
        raise ConfigurationError(
            f"Nothing was copied. In {folder}, {', '.join(sorted(changed))} {differ} from supa-llm's.",
            code="migrations_changed",
            hint="Move your changes into your own migration, delete the changed files, and run this again.",
        )
    versions = {_version(name): name for name in packaged}
    taken = [name for name in existing if name not in packaged and _version(name) in versions]
    if taken:
        use = "uses a version" if len(taken) == 1 else "use versions"
        raise ConfigurationError(
            f"Nothing was copied. In {folder}, {', '.join(sorted(taken))} {use} of supa-llm's migrations.",
            code="migrations_clash",
            hint="Rename your migrations to other versions (the number at the start of the name).",
        )


def _version(name: str) -> str:
    return name.partition("_")[0]
