"""The URL and the credentials of a Supabase project, each told apart from what people put in its place.

Their format tells what they are. Whether they are valid, only the project knows. No message repeats a value.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import urlsplit

from supa_llm.errors import ConfigurationError, NotSignedInError

#: What to set, in the client and in the environment of the command line.
URL_HINT = "Set the project's URL (SUPABASE_URL) without a path, such as https://<ref>.supabase.co."
_PUBLISHABLE_HINT = (
    "Use the project's publishable key (sb_publishable_…; SUPABASE_PUBLISHABLE_KEY) or, in an older project, "
    "its anon key."
)
_ADMIN_HINT = (
    "Use the project's secret key (sb_secret_…; SUPABASE_SECRET_KEY) or, in an older project, its "
    "service_role key."
)
_RUNTIME_HINT = (
    "Register the runtime, and use its secret (slr_…; SUPA_LLM_RUNTIME_SECRET): supa-llm runtimes add NAME"
)
_TOKEN_HINT = "Use the access token of the user's session in Supabase Auth."  # noqa: S105 - no token

_KIND_OF_PREFIX = {
    "sb_publishable_": "a publishable key",
    "sb_secret_": "a secret key",
    "sbp_": "an access token of a Supabase account",
    "slr_": "the secret of a runtime",
}
_KIND_OF_ROLE = {"anon": "a publishable key", "service_role": "a secret key"}
_API = re.compile(r"/(auth|functions|graphql|realtime|rest|storage)/v1(/|$)")


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT, which only the project can verify; empty for any other text."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def kind_of(text: str) -> str | None:
    """What a credential is, with its article, such as ``a secret key``; None if its format does not tell."""
    for prefix, kind in _KIND_OF_PREFIX.items():
        if text.startswith(prefix):
            return kind
    claims = claims_of(text)
    # The keys of older projects are JWTs too. Only a user's has a subject.
    return "a user's access token" if "sub" in claims else _KIND_OF_ROLE.get(str(claims.get("role")))


def require_publishable_key(text: str, name: str = "The API key of the Supabase client") -> None:
    """Refuse another credential where a publishable key belongs.

    Args:
        name: what holds it, for the message.

    Raises:
        ConfigurationError: code ``publishable_key_required``.
    """
    if (kind := kind_of(text)) not in ("a publishable key", None):
        raise ConfigurationError(
            f"{name} is {kind}.", code="publishable_key_required", hint=_PUBLISHABLE_HINT
        )


def require_secret_key(text: str, name: str = "The API key") -> None:
    """Refuse another credential where a secret key belongs.

    Raises:
        ConfigurationError: code ``secret_key_required``.
    """
    if (kind := kind_of(text)) not in ("a secret key", None):
        raise ConfigurationError(f"{name} is {kind}.", code="secret_key_required", hint=_ADMIN_HINT)


def require_runtime_secret(text: str) -> None:
    """Refuse another credential where the secret of a runtime belongs.

    Raises:
        ConfigurationError: code ``runtime_secret_invalid``.
    """
    if (kind := kind_of(text)) not in ("the secret of a runtime", None):
        raise ConfigurationError(
            f"The runtime secret is {kind}.", code="runtime_secret_invalid", hint=_RUNTIME_HINT
        )


def require_access_token(text: str) -> None:
    """Refuse another credential where a user's access token belongs.

    Raises:
        NotSignedInError: code ``access_token_required``.
    """
    if (kind := kind_of(text)) not in ("a user's access token", None):
        raise NotSignedInError(f"The access token is {kind}.", code="access_token_required", hint=_TOKEN_HINT)


def require_project_url(url: str) -> None:
    """Refuse a URL that cannot be a Supabase project's.

    Raises:
        ConfigurationError: code ``project_url_invalid``.
    """
    problem = "is invalid" if not isinstance(url, str) else _problem_of(url)
    if problem:
        raise ConfigurationError(f"The project URL {problem}.", code="project_url_invalid", hint=URL_HINT)


def _problem_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is invalid"
    if parts.scheme.startswith("postgres"):
        return "is that of the database, not of the project's API"
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", url):
        return "is invalid"
    if host in ("supabase.com", "app.supabase.com", "www.supabase.com"):
        return "is that of Supabase's dashboard, not of a project"
    if found := _API.search(parts.path):
        return f"contains {found[0].rstrip('/')}, the path of one of its APIs"
    return "contains a query or a fragment" if parts.query or parts.fragment else None
