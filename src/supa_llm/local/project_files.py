"""Finds supabase/: in the current project, the wheel or a checkout."""

from __future__ import annotations

from pathlib import Path

from supa_llm.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_project() -> Path:
    """Return the folder of the `supabase/` that supa-llm ships.

    A wheel has it inside the package, a checkout at its root.

    Raises:
        ConfigurationError: `project_files_missing` if the installation is incomplete.
    """
    for folder in (_PACKAGE, _PACKAGE.parent.parent):
        if (folder / "supabase" / "migrations").is_dir():
            return folder
    raise ConfigurationError(
        "The installation of supa-llm is incomplete: supabase/migrations is missing.",
        code="project_files_missing",
        hint="Run: pip install --force-reinstall supa-llm",
    )


def find_project(start: Path) -> Path:
    """Return `start` if it has `supabase/migrations`, else the project that supa-llm ships."""
    if (start / "supabase" / "migrations").is_dir():
        return start
    return packaged_project()
