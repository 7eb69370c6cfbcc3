"""Options that several commands share."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

HOME = Path(".supa-llm")
DAY = "YYYY-MM-DD"
TIME = "YYYY-MM-DD[THH:MM:SS]"


def read_day(text: str) -> datetime:
    """Read a day. Typer's own error shows the format in strptime's notation."""
    try:
        return datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise typer.BadParameter(f"{text} is not a date. Pass a date, such as 2026-01-31.") from None


def read_time(text: str) -> datetime:
    """Read a day, or a time to the second."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"):
        with suppress(ValueError):
            return datetime.strptime(text, form)
    raise typer.BadParameter(
        f"{text} is not a time. Pass a date, such as 2026-01-31, or a time, such as 2026-01-31T12:30:00."
    )


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=["SUPABASE_URL", "API_URL"],
        help="URL of the project. Set its secret key in SUPABASE_SECRET_KEY. "
        "Default: the running local stack.",
        show_default=False,
    ),
]
#: Of commands that act for users, with a publishable key.
UsersUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=["SUPABASE_URL", "API_URL"],
        help="URL of the project. Set its publishable key in SUPABASE_PUBLISHABLE_KEY, and the secret of a "
        "runtime in SUPA_LLM_RUNTIME_SECRET. Default: the running local stack.",
        show_default=False,
    ),
]
Directory = Annotated[
    Path,
    typer.Option(
        "--directory", "-d", envvar="SUPA_LLM_HOME", help="Directory of the local stack's data and secrets."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the changes without applying them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")]
FirstDay = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=read_day,
        metavar=DAY,
        help="First day (UTC). Default: the oldest event.",
        show_default=False,
    ),
]
LastDay = Annotated[
    datetime | None,
    typer.Option(
        "--until", parser=read_day, metavar=DAY, help="Last day (UTC). Default: today.", show_default=False
    ),
]
