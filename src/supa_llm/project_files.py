"""Where the SQL of this project is: in the wheel, in a checkout, or in the adopter's own project."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def packaged_project() -> Path:
    """Return the folder that holds the `supabase/` that comes with supa-llm.

    A wheel carries it inside the package; in a checkout it is the repository's own.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (_PACKAGE, _PACKAGE.parent.parent):
        if (folder / "supabase" / "migrations").is_dir():
            return folder
    raise FileNotFoundError("this installation of supa-llm has no supabase/migrations")


def find_project(start: Path) -> Path:
    """Return `start` if it has `supabase/migrations`, else the project that supa-llm brings along."""
    if (start / "supabase" / "migrations").is_dir():
        return start
    return packaged_project()
