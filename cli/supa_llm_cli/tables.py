"""JSON and aligned text tables. Cells are never truncated, so that output can be searched and piped."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Container, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer

from supa_llm_cli.colors import styled


def print_json(value: object) -> None:
    """Print JSON with amounts as numbers and times in ISO 8601."""
    typer.echo(as_json_text(value, indent=2))


def as_json_text(value: object, indent: int | None = None) -> str:
    """Return JSON as :func:`print_json` prints it, by default in one line."""
    return json.dumps(value, indent=indent, default=_plain)


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Container[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows under headings, without empty columns.

    Args:
        right: headings of right-aligned columns.
        spare: headings of columns to hide on a narrow terminal, the first one first.
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
    for number, line in enumerate(zip(*(cells for _, cells in columns), strict=True)):
        aligned = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, (heading, _) in zip(line, widths, columns, strict=True)
        )
        text = "  ".join(aligned).rstrip()
        typer.echo(text if number else styled(text, sys.stdout, bold=True))


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
    """Return the terminal's columns. A file or a pipe has no limit."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return float("inf")
