"""Columns of text: aligned, never cut, so that they can be searched and piped on."""

from __future__ import annotations

from collections.abc import Sequence

import typer


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; a column without any text is left out."""
    texts = [[str(cell) for cell in row] for row in rows]
    used = [index for index in range(len(headings)) if any(row[index] for row in texts)]
    lines = [[row[index] for index in used] for row in [list(headings), *texts]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(used))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
