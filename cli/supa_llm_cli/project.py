"""The project and secret key that administrator commands use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from supa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from supa_llm import Admin

#: The secret of a runtime.
RUNTIME_SECRET = "SUPA_LLM_RUNTIME_SECRET"  # noqa: S105 - the name of a variable
#: The names that Supabase's own tools use. Their values reach browsers.
PUBLISHABLE_KEYS = ("SUPABASE_PUBLISHABLE_KEY", "PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "ANON_KEY")
# There is no option, since shells keep a history of their commands.
_KEYS = ("SUPABASE_SECRET_KEY", "SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SERVICE_ROLE_KEY")


def administrator(url: str | None, directory: Path) -> Admin:
    """Connect to the project at ``url`` with the environment's secret key, or to the running local stack.

    Raises:
        ConfigurationError: code ``project_unknown``: the URL or key is missing, or no local stack is running.
    """
    from supa_llm import Admin

    return Admin(*url_and_key(url, directory))


def url_and_key(url: str | None, directory: Path) -> tuple[str, str]:
    """The URL and secret key with which :func:`administrator` connects."""
    key = first_set(_KEYS)
    if url and key:
        return url, key
    if url or key:
        missing, hint = (
            ("secret key", "Set SUPABASE_SECRET_KEY.") if url else ("URL", "Set SUPABASE_URL or pass --url.")
        )
        raise ConfigurationError(f"The project's {missing} is missing.", code="project_unknown", hint=hint)
    env = stack_env(directory, "SUPABASE_URL and SUPABASE_SECRET_KEY")
    return env["API_URL"], env["SECRET_KEY"]


def project_of_users(url: str | None, directory: Path) -> tuple[str, str, str | None]:
    """The URL, publishable key and runtime secret of the environment, or of the running local stack.

    Raises:
        ConfigurationError: code ``project_unknown``: the key is missing, or no local stack is running.
    """
    key = first_set(PUBLISHABLE_KEYS)
    if url and key:
        return url, key, os.environ.get(RUNTIME_SECRET)
    if url:
        raise ConfigurationError(
            "The project's publishable key is missing.",
            code="project_unknown",
            hint="Set SUPABASE_PUBLISHABLE_KEY.",
        )
    env = stack_env(directory, "SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY")
    return env["API_URL"], env["PUBLISHABLE_KEY"], env[RUNTIME_SECRET]


def first_set(names: Iterable[str]) -> str | None:
    """Return the value of the first of these variables that is set and not empty."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def stack_env(directory: Path, variables: str, wanted: str = "project") -> Mapping[str, str]:
    """Return the running local stack's environment.

    Args:
        variables: what selects another one, for the error's hint.
        wanted: what the command needs of it.

    Raises:
        ConfigurationError: code ``project_unknown``: no local stack is running.
    """
    from supa_llm.local import LocalStack

    stack = LocalStack(directory)
    if not stack.status().running:
        raise ConfigurationError(
            f"No {wanted} selected.",
            code="project_unknown",
            hint=f"Set {variables}, or start a local stack: supa-llm local up",
        )
    return stack.env()
