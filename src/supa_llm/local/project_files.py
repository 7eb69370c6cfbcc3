"""Where the SQL of this project is: in the wheel, in a checkout, or in the adopter's own project."""

from __future__ import annotations

from pathlib import Path

from supa_llm.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_project() -> Path:
    """Return the folder that holds the `supabase/` that comes with supa-llm.

    A wheel carries it inside the package; in a checkout it is the repository's own.

    Raises:
        ConfigurationError: `project_files_missing`, when the installation is incomplete.
    """
    for folder in (_PACKAGE, _PACKAGE.parent.parent):
        if (folder / "supabase" / "migrations").is_dir():
            return folder
    raise ConfigurationError(
        "This installation of supa-llm has no supabase/migrations.",
        code="project_files_missing",
        hint="Run: pip install --force-reinstall supa-llm",
    )


def find_project(start: Path) -> Path:
    """Return `start` if it has `supabase/migrations`, else the project that supa-llm brings along."""
    if (start / "supabase" / "migrations").is_dir():
        return start
    return packaged_project()
