"""supa-llm's migrations in a project's folder: finds them, and adds the new ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import typer

from supa_llm.errors import ConfigurationError
from supa_llm_cli.amounts import counted

#: A project's migrations, in the folder of the project.
FOLDER = Path("supabase/migrations")

# The timestamp at the start of a name may differ between projects: see next_version().
_NAME = re.compile(r"\d+_supa_llm_(\w+)\.sql")


def project_folder(to: Path | None) -> Path:
    """The folder of the project's migrations.

    Raises:
        ConfigurationError: the current folder is not a Supabase project, and no other folder is given.
    """
    if to is not None:
        return to
    if not FOLDER.parent.is_dir():
        raise ConfigurationError(
            f"Folder not found: {FOLDER.parent}.",
            hint="Run this in your Supabase project (create one: supabase init), or pass a folder with --to.",
        )
    return FOLDER


def packaged() -> dict[str, Path]:
    """Release → its migration in this installation of supa-llm, in order."""
    from supa_llm.local.project_files import packaged_project

    return _by_release((packaged_project() / "supabase" / "migrations").glob("*.sql"))


def copied(folder: Path) -> dict[str, Path]:
    """Release → supa-llm's migration in a project's folder, in order."""
    return _by_release(folder.glob("*.sql"))


def changed(folder: Path) -> list[Path]:
    """supa-llm's migrations in a project's folder that were edited."""
    sources = packaged()
    return [
        file
        for release, file in copied(folder).items()
        if release in sources and file.read_bytes() != sources[release].read_bytes()
    ]


def copy(folder: Path, *, dry_run: bool = False) -> list[Path]:
    """Add the migrations that a project's folder lacks, and print a line for each. Returns the new ones.

    supa-llm's tests go into the folder tests/supa_llm beside it, where each copy replaces them.

    Raises:
        ConfigurationError: `migrations_changed`, `client_outdated`, `file_unwritable`. Nothing was copied.
    """
    sources, existing = packaged(), copied(folder)
    if edited := changed(folder):
        differ = "differs" if len(edited) == 1 else "differ"
        raise ConfigurationError(
            f"Nothing was copied. {', '.join(map(str, edited))} {differ} from supa-llm's.",
            code="migrations_changed",
            hint="Move your changes into your own migration, delete the changed files, and run this again.",
        )
    if newer := [file for release, file in existing.items() if release not in sources]:
        raise ConfigurationError(
            f"Nothing was copied. {newer[-1]} is of a newer supa-llm than this one, {list(sources)[-1]}.",
            code="client_outdated",
            hint="Upgrade the Python package: pip install --upgrade supa-llm",
        )
    new = []
    for release, source in sources.items():
        file = existing.get(release)
        if file is None:
            file = folder / _name(source, folder)
            if not dry_run:
                _write(folder, {file.name: source.read_bytes()})
            new.append(file)
        typer.echo(f"{'new' if file in new else 'unchanged':<9}  {file}")
    _copy_tests(folder.parent / "tests" / "supa_llm", dry_run=dry_run)
    return new


def next_version(folder: Path) -> str:
    """The timestamp for a new migration: later than all others, or `db push` would need --include-all."""
    return max(f"{datetime.now(UTC):%Y%m%d%H%M%S}", str(int(_newest(folder) or "0") + 1))


def _by_release(files: Iterable[Path]) -> dict[str, Path]:
    found = ((_NAME.fullmatch(file.name), file) for file in sorted(files))
    return {match[1].replace("_", "."): file for match, file in found if match}


def _name(source: Path, folder: Path) -> str:
    if _version(source) > _newest(folder):
        return source.name
    return f"{next_version(folder)}_{source.name.partition('_')[2]}"


def _newest(folder: Path) -> str:
    return max((_version(file) for file in folder.glob("*.sql")), default="")


def _version(file: Path) -> str:
    """The timestamp at the start of a name, or an empty text."""
    match = re.match(r"\d{14}", file.name)
    return match[0] if match else ""


def _copy_tests(folder: Path, *, dry_run: bool) -> None:
    from supa_llm.local.policies import policy_tests

    # Unlike migrations, tests change with a release, so that the folder is supa-llm's own.
    packaged_tests = {file.name: file.read_bytes() for file in policy_tests()}
    existing = {file.name: file.read_bytes() for file in folder.glob("*.sql")}
    if not dry_run:
        _write(folder, packaged_tests)
    state = (
        "new" if not existing else "unchanged" if packaged_tests.items() <= existing.items() else "updated"
    )
    typer.echo(f"{state:<9}  {folder}, {counted(len(packaged_tests), 'test')}")
    for name in sorted(existing.keys() - packaged_tests.keys()):
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
            code="file_unwritable",
            hint="Check your write access, or choose another folder with --to.",
        ) from error
