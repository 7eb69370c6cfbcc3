"""The project and secret key that administrator commands use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from supa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from supa_llm import Admin

# The names that Supabase's own tools use. There is no option, since shells keep a history of their commands.
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
    from supa_llm.local import LocalStack

    key = next((value for name in _KEYS if (value := os.environ.get(name))), None)
    if url and key:
        return url, key
    if url or key:
        missing, hint = (
            ("secret key", "Set SUPABASE_SECRET_KEY.") if url else ("URL", "Set SUPABASE_URL or pass --url.")
        )
        raise ConfigurationError(f"The project's {missing} is missing.", code="project_unknown", hint=hint)
    stack = LocalStack(directory)
    if not stack.status().running:
        raise ConfigurationError(
            "No project selected.",
            code="project_unknown",
            hint="Set SUPABASE_URL and SUPABASE_SECRET_KEY, or start a local stack: supa-llm local up",
        )
    env = stack.env()
    return env["API_URL"], env["SECRET_KEY"]
