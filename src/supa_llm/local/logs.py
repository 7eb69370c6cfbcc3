"""Reads the services' logs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO


def tail(files: Mapping[str, Path], *, lines: int, follow: bool) -> Iterator[tuple[str, str]]:
    """Yield the last lines of each log of each service, and wait for new ones with `follow`."""
    opened: dict[str, TextIO] = {}
    try:
        for name, path in files.items():
            if path.exists():
                opened[name] = path.open(errors="replace")
                for line in deque(opened[name], lines):
                    yield name, line.rstrip("\n")
        while follow:
            added = False
            for name, file in opened.items():
                for line in file:
                    added = True
                    yield name, line.rstrip("\n")
            if not added:
                time.sleep(0.2)
    finally:
        for file in opened.values():
            file.close()
