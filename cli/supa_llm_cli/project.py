"""Which project the administrator's commands are about, and the key to it."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from supa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from supa_llm import Admin

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=["SUPABASE_URL", "API_URL"],
        help="URL of the project; its secret key is read from SUPABASE_SECRET_KEY. "
        "Default: the local stack that is running.",
        show_default=False,
    ),
]
Directory = Annotated[
    Path, typer.Option("--directory", "-d", envvar="SUPA_LLM_HOME", help="Where the local stack is.")
]
HOME = Path(".supa-llm")


class KeySource(enum.StrEnum):
    """Whose key pays."""

    user = "user"
    team = "team"
    operator = "operator"


# As Supabase's own tools call them. On a command line, a key would stay in the shell's history.
_KEYS = ("SUPABASE_SECRET_KEY", "SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SERVICE_ROLE_KEY")


def administrator(url: str | None, directory: Path) -> Admin:
    """The project at ``url`` with the secret key of the environment, else the local stack, if it is running.

    Raises:
        ConfigurationError: code ``project_unknown``: there is no URL, no key, or no stack that runs.
    """
    from supa_llm import Admin
    from supa_llm.local import LocalStack

    key = next((value for name in _KEYS if (value := os.environ.get(name))), None)
    if url and key:
        return Admin(url, key)
    if url or key:
        missing = "secret key: set SUPABASE_SECRET_KEY" if url else "URL: give --url or set SUPABASE_URL"
        raise ConfigurationError(f"The project has no {missing}.", code="project_unknown")
    stack = LocalStack(directory)
    if not stack.status().running:
        raise ConfigurationError(
            "It is not known which project is meant.",
            code="project_unknown",
            hint="Set SUPABASE_URL and SUPABASE_SECRET_KEY, or start a local one: supa-llm local up.",
        )
    env = stack.env()
    return Admin(env["API_URL"], env["SECRET_KEY"])
