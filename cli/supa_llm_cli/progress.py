"""Progress of commands that take a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(begin: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner on a terminal's standard error. Print nothing if it is not a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(begin) as status:
        yield status.update
