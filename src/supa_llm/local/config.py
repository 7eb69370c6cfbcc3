"""Reads the settings that the stack uses from `supabase/config.toml`, with the Supabase CLI's defaults."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supa_llm.errors import LocalError

# The settings of [auth] that the local auth service supports. The others (MFA, SMS, most OAuth providers) are
# ignored, because the same file configures a hosted project.
_AUTH = (
    "site_url",
    "additional_redirect_urls",
    "jwt_expiry",
    "enable_signup",
    "enable_refresh_token_rotation",
    "refresh_token_reuse_interval",
    "minimum_password_length",
    "password_requirements",
)
_AUTH_EMAIL = ("enable_signup", "enable_confirmations", "double_confirm_changes", "otp_length", "otp_expiry")


@dataclass(frozen=True)
class ProjectConfig:
    """Settings of a project that affect the services."""

    schemas: tuple[str, ...] = ("public", "graphql_public")
    extra_search_path: tuple[str, ...] = ("public", "extensions")
    max_rows: int = 1000
    seed: bool = True
    auth: dict[str, Any] = field(default_factory=dict)


def read_config(project: Path) -> ProjectConfig:
    """Read `supabase/config.toml`. A project without the file gets the defaults.

    Raises:
        LocalError: `local_config_invalid`.
    """
    path = project / "supabase" / "config.toml"
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ProjectConfig()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LocalError(
            f"Cannot read {path}: {error}.",
            code="local_config_invalid",
            hint="Fix the file and try again.",
        ) from error
    api, auth = data.get("api", {}), data.get("auth", {})
    email = auth.get("email", {})
    default = ProjectConfig()
    return ProjectConfig(
        schemas=tuple(api.get("schemas", default.schemas)),
        extra_search_path=tuple(api.get("extra_search_path", default.extra_search_path)),
        max_rows=int(api.get("max_rows", default.max_rows)),
        seed=bool(data.get("db", {}).get("seed", {}).get("enabled", True)),
        auth={
            **{name: auth[name] for name in _AUTH if name in auth},
            "email": {name: email[name] for name in _AUTH_EMAIL if name in email},
        },
    )
