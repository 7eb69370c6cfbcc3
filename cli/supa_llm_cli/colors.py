"""Colors and bold text, on a terminal only and never with NO_COLOR."""

from __future__ import annotations

import os
from typing import IO, Any

import typer


def styled(text: str, stream: IO[str], **style: Any) -> str:
    """Return text with ANSI codes for a stream that shows them; see https://no-color.org."""
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return typer.style(text, **style)
