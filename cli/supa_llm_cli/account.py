"""The user who is signed in on this machine, through Supabase Auth."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from supa_llm.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.credentials import (
    URL_HINT,
    require_access_token,
    require_project_url,
    require_publishable_key,
)
from supa_llm_cli.project import project_of_users
from supa_llm_cli.session_store import SessionStore, StoredSession

if TYPE_CHECKING:
    from supabase_auth.types import AuthResponse

    import supabase

T = TypeVar("T")

#: Hint of errors about the session.
SIGN_IN = "Sign in: supa-llm login"
#: Seconds before its end at which a token is refreshed, so that it lasts for a request.
_MARGIN = 300.0
#: What to do about a refused sign-in, by Auth's code.
_HINTS = {
    "captcha_failed": "This project requires a captcha. Sign in to its app, and pass the session: "
    "supa-llm login --tokens",
    "email_not_confirmed": "Open the link in the confirmation email first.",
    "email_provider_disabled": "This project has no passwords. Sign in to its app, and pass the session: "
    "supa-llm login --tokens",
    "invalid_credentials": "Check the email address and the password.",
    "over_request_rate_limit": "Try again in a few minutes.",
    "user_banned": "Contact the app's support.",
}


class Account:
    """The signed-in user of one project.

    Attributes:
        url: URL of the project.
        runtime_secret: secret of a runtime, from the environment or of the local stack; None without one.
        sb: a client of the project. It holds no session, because other commands may refresh the stored one.

    Raises:
        ConfigurationError: no project is selected, or its URL or key is invalid.
    """

    def __init__(self, url: str | None, directory: Path) -> None:
        address, key, self.runtime_secret = project_of_users(url, directory)
        require_project_url(address)
        require_publishable_key(key, "The publishable key")
        self.url = address.rstrip("/")
        self._store = SessionStore(self.url)
        self.sb = _client(self.url, key)

    def sign_in(self, email: str, password: str) -> tuple[StoredSession, str]:
        """Sign in with a password; returns the session and the place where it is stored.

        Raises:
            NotSignedInError: code ``sign_in_refused``.
        """
        credentials = {"email": email, "password": password}
        return self._keep(_ask(lambda: self.sb.auth.sign_in_with_password(credentials), _refused))  # type: ignore[arg-type]

    def take_over(self, access_token: str, refresh_token: str) -> tuple[StoredSession, str]:
        """Use a session that began elsewhere, such as in the app.

        Raises:
            NotSignedInError: code ``sign_in_refused``, or ``access_token_required``.
        """
        require_access_token(access_token)
        return self._keep(_ask(lambda: self.sb.auth.set_session(access_token, refresh_token), _refused))

    def session(self) -> tuple[StoredSession, str]:
        """The session, with an access token that lasts for some minutes, and its place.

        Raises:
            NotSignedInError: no user is signed in (code ``not_signed_in``), or the session has ended
                (``session_ended``).
        """
        session, place = self._stored()
        if _lasts(session, _MARGIN):
            return session, place
        with self._store.locked():
            session, place = self._stored()  # another command may have refreshed it meanwhile
            return (session, place) if _lasts(session, _MARGIN) else self._refresh(session, place)

    def checked_session(self) -> tuple[StoredSession, str]:
        """Like :meth:`session`, after Supabase Auth has confirmed that the session still exists.

        Raises:
            NotSignedInError: code ``not_signed_in`` or ``session_ended``.
        """
        session, place = self.session()
        _ask(lambda: self.sb.auth.get_user(session.access_token), _ended)
        return session, place

    def sign_out(self) -> None:
        """Revoke the session, and remove it from this machine.

        Raises:
            NotSignedInError: no user is signed in.
            DatabaseUnavailableError: Supabase Auth did not respond. The session is still stored.
        """
        self._stored()  # raises if no user is signed in
        with suppress(NotSignedInError):  # the session has ended already
            token = self.session()[0].access_token
            _ask(lambda: self.sb.auth.admin.sign_out(token, "local"), _ended)
        self.remove()

    def remove(self) -> None:
        """Remove the session from this machine without revoking it."""
        with self._store.locked():
            self._store.remove()

    def _stored(self) -> tuple[StoredSession, str]:
        found = self._store.load()
        if found is None:
            raise NotSignedInError(f"No user is signed in to {self.url}.", hint=SIGN_IN)
        return found

    def _refresh(self, session: StoredSession, place: str) -> tuple[StoredSession, str]:
        try:
            response = _ask(lambda: self.sb.auth.refresh_session(session.refresh_token), _ended)
        except DatabaseUnavailableError:
            if _lasts(session, 0):
                return session, place
            raise
        renewed = _session_of(response)
        return renewed, self._store.save(renewed)

    def _keep(self, response: AuthResponse) -> tuple[StoredSession, str]:
        session = _session_of(response)
        with self._store.locked():
            return session, self._store.save(session)


def _client(url: str, key: str) -> supabase.Client:
    from supabase.lib.client_options import SyncClientOptions

    import supabase

    options = SyncClientOptions(auto_refresh_token=False, persist_session=False)
    return supabase.create_client(url, key, options)


def _lasts(session: StoredSession, seconds: float) -> bool:
    return session.expires_at > time.time() + seconds


def _session_of(response: AuthResponse) -> StoredSession:
    session = response.session
    if session is None:
        raise _no_project()
    user = session.user
    return StoredSession(user.id, user.email or "", session.access_token, session.refresh_token)


def _ask(request: Callable[[], T], refusal: Callable[[str], SupaLLMError]) -> T:
    """Run a request to Supabase Auth.

    Args:
        refusal: makes the error of a refusal from Auth's code.
    """
    try:
        return request()
    except Exception as error:
        failure = _failure(error, refusal)
    # Raised here, because the context of the client's exceptions holds passwords and tokens.
    raise failure


def _failure(error: Exception, refusal: Callable[[str], SupaLLMError]) -> SupaLLMError:
    from supabase_auth.errors import AuthApiError, AuthInvalidJwtError, AuthRetryableError

    match error:
        case AuthRetryableError():
            return DatabaseUnavailableError(
                "Supabase Auth did not respond.",
                hint="Check the project's URL (SUPABASE_URL), then try again in a moment.",
            )
        case AuthInvalidJwtError():
            return NotSignedInError("The access token is malformed.", hint="Copy the whole token again.")
        case AuthApiError(status=401, message="Invalid API key"):
            return ConfigurationError(
                "The Supabase project refused the API key.",
                code="api_key_refused",
                hint="Copy SUPABASE_PUBLISHABLE_KEY again from the project's API settings.",
            )
        case AuthApiError(code=str(code), status=status) if 400 <= status < 500:
            return refusal(code)
        case AuthApiError(status=status) if status >= 500:
            return DatabaseUnavailableError(
                f"Supabase Auth failed (status {status}).", hint="Try again in a moment."
            )
        case _:  # a page, or JSON of another server
            return _no_project()


def _refused(code: str) -> NotSignedInError:
    return NotSignedInError(
        f"Supabase Auth refused the sign-in ({code}).",
        code="sign_in_refused",
        hint=_HINTS.get(code, "See the project's Auth settings."),
    )


def _ended(_: str) -> NotSignedInError:
    return NotSignedInError("The session has ended.", code="session_ended", hint=SIGN_IN)


def _no_project() -> DatabaseError:
    return DatabaseError(
        "The response is not that of a Supabase project.", code="project_url_invalid", hint=URL_HINT
    )
