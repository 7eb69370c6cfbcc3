"""What is printed: JSON, and columns of text: aligned, never cut, so that one can search and pipe them on."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Container, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """Print JSON: amounts as numbers, times in ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=_plain))


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Container[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows under headings; a column without any text is left out.

    Args:
        right: headings of the columns that are aligned to the right.
        spare: headings of columns that may be left out where the terminal is too narrow, the first one first.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    columns = [
        (heading, [heading, *cells]) for heading, *cells in zip(headings, *texts, strict=True) if any(cells)
    ]
    for heading in spare:
        if _width(columns) <= _terminal_width():
            break
        columns = [column for column in columns if column[0] != heading]
    widths = [max(map(len, cells)) for _, cells in columns]
    for line in zip(*(cells for _, cells in columns), strict=True):
        aligned = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, (heading, _) in zip(line, widths, columns, strict=True)
        )
        typer.echo("  ".join(aligned).rstrip())


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


def _width(columns: Sequence[tuple[str, Sequence[str]]]) -> int:
    return sum(max(map(len, cells)) + 2 for _, cells in columns) - 2


def _terminal_width() -> float:
    """How many columns there are; no end of them in a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return float("inf")
