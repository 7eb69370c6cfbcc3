"""What a command that takes a while says meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(begin: str) -> Iterator[Callable[[str], None]]:
    """A line that changes, on a terminal's standard error; nothing anywhere else."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(begin) as status:
        yield status.update
