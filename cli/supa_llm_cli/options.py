"""Options that several commands share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

#: Days, and moments to the second, as the options for dates and times accept them.
DAYS = ["%Y-%m-%d"]
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
HOME = Path(".supa-llm")

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
        "--since", formats=DAYS, help="First day (UTC). Default: the oldest event.", show_default=False
    ),
]
LastDay = Annotated[
    datetime | None,
    typer.Option("--until", formats=DAYS, help="Last day (UTC). Default: today.", show_default=False),
]
