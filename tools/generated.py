"""Pages of the guides that a tool writes and `make check` compares."""

from __future__ import annotations

from pathlib import Path

_DOCS = Path(__file__).resolve().parent.parent / "docs"


def write_or_check(page: str, content: str, arguments: list[str]) -> int:
    """Write a page or, with ``--check``, compare it. Returns the exit status."""
    path = _DOCS / page
    if arguments != ["--check"]:
        path.write_text(content)
    elif not path.exists() or path.read_text() != content:
        print(f"docs/{page} differs from its source. Run: make docs")
        return 1
    return 0
