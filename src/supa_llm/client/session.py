"""Sign-ins: access tokens, and the user of the app's own client, kept current by its Auth events."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supabase_auth.errors import AuthRetryableError

from supa_llm.client.forks import begin_in_children
from supa_llm.errors import DatabaseUnavailableError, NotSignedInError, SupaLLMError
from supa_llm.values.credentials import claims_of, require_access_token
from supa_llm.values.secrets import Secret

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient, SyncGoTrueClient
    from supabase_auth.types import AuthChangeEvent
    from supabase_auth.types import Session as AuthSession

_NOBODY = "Sign in through the Supabase client (sb.auth), or pass a token: llm.for_user(access_token)."
_EXPIRY_MARGIN = 10.0  # seconds before its end at which supabase-auth also treats a token as expired


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and its claims, which only the database can verify.

    Attributes:
        digest: hash of the exact token, so that a forged token never finds its cache entries.
        owner: ID of the user that it claims, or its own digest if it claims none.
        expires_at: seconds since 1970; infinity if it has no expiry.
    """

    secret: Secret
    digest: bytes = field(repr=False)
    owner: str
    expires_at: float

    @classmethod
    def read(cls, text: str) -> AccessToken:
        if not isinstance(text, str):  # such as None for a missing header
            raise NotSignedInError("The access token is missing.", hint=_NOBODY)
        if text[:7].lower() == "bearer ":
            raise NotSignedInError("The access token is malformed.", hint='Pass it without "Bearer ".')
        require_access_token(text)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        claims = claims_of(text)
        owner, expires_at = claims.get("sub"), claims.get("exp")
        return cls(
            secret=Secret(text),
            digest=digest,
            owner=owner if isinstance(owner, str) else digest.hex(),
            expires_at=float(expires_at) if isinstance(expires_at, int | float) else math.inf,
        )


class Identity:
    """One signed-in user. A refresh replaces ``token``."""

    __slots__ = ("token",)

    def __init__(self, access_token: str) -> None:
        self.token = AccessToken.read(access_token)


class Session:
    """The user who is signed in on ``auth``, for threads.

    Args:
        signed_in: called with each new user, in the thread that noticed the sign-in.
        signed_out: called with each user who signed out or was replaced.
        refreshed: called with the user each time their token was replaced.
    """

    def __init__(
        self,
        auth: SyncGoTrueClient,
        signed_in: Callable[[Identity], None],
        signed_out: Callable[[Identity], None],
        refreshed: Callable[[Identity], None],
    ) -> None:
        self._auth = auth
        self._seen = _Seen(signed_in, signed_out, refreshed)
        self._asking = threading.Lock()
        self._unsubscribe = auth.on_auth_state_change(self._seen.event).unsubscribe
        begin_in_children(self)

    def begin_child(self) -> None:
        """Hold no lock of the parent of this forked process."""
        self._asking = threading.Lock()
        self._seen.lock = threading.Lock()

    def identity(self) -> Identity:
        """The signed-in user, with a token that has not expired.

        Raises:
            NotSignedInError: no user is signed in.
            DatabaseUnavailableError: the token has expired and Supabase Auth did not respond.
        """
        if (identity := self._seen.fresh()) is not None:
            return identity
        failure: SupaLLMError | None = None
        with self._asking:
            if (identity := self._seen.fresh()) is None:
                events = self._seen.events
                try:
                    session = self._auth.get_session()  # refreshes an expired token
                except Exception as error:  # of many kinds, some of which quote a token
                    failure = _auth_failure(error)
                else:
                    identity = self._seen.take(session, events)
        return _required(identity, failure)

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._unsubscribe()


class AsyncSession:
    """The twin of :class:`Session` for an event loop."""

    def __init__(
        self,
        auth: AsyncGoTrueClient,
        signed_in: Callable[[Identity], None],
        signed_out: Callable[[Identity], None],
        refreshed: Callable[[Identity], None],
    ) -> None:
        self._auth = auth
        self._seen = _Seen(signed_in, signed_out, refreshed)
        self._asking = asyncio.Lock()
        self._unsubscribe = auth.on_auth_state_change(self._seen.event).unsubscribe
        begin_in_children(self)

    def begin_child(self) -> None:
        """See :meth:`Session.begin_child`."""
        self._asking = asyncio.Lock()
        self._seen.lock = threading.Lock()

    async def identity(self) -> Identity:
        """The signed-in user, with a token that has not expired; errors as :meth:`Session.identity`."""
        if (identity := self._seen.fresh()) is not None:
            return identity
        failure: SupaLLMError | None = None
        async with self._asking:
            if (identity := self._seen.fresh()) is None:
                events = self._seen.events
                try:
                    session = await self._auth.get_session()
                except Exception as error:
                    failure = _auth_failure(error)
                else:
                    identity = self._seen.take(session, events)
        return _required(identity, failure)

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._unsubscribe()


class _Seen:
    """The user as of the last Auth event.

    Attributes:
        events: number of events so far.
    """

    def __init__(
        self,
        signed_in: Callable[[Identity], None],
        signed_out: Callable[[Identity], None],
        refreshed: Callable[[Identity], None],
    ) -> None:
        self._signed_in, self._signed_out, self._refreshed = signed_in, signed_out, refreshed
        self._identity: Identity | None = None
        self.lock = threading.Lock()
        self.events = 0

    def fresh(self) -> Identity | None:
        identity = self._identity
        return identity if identity and identity.token.expires_at > time.time() + _EXPIRY_MARGIN else None

    def event(self, _: AuthChangeEvent, session: AuthSession | None) -> None:
        """Take over the session of an Auth event; only a sign-out has none."""
        self.take(session)

    def take(self, session: AuthSession | None, seen: int | None = None) -> Identity | None:
        """Take over a session, and return who is signed in.

        Args:
            seen: for a response from Auth, the number of events when the request began. A later event
                precedes the response, whose user may have signed out since.
        """
        with self.lock:
            if seen is None:
                self.events += 1
            elif seen != self.events:
                return self._identity
            before = self._identity
            now = Identity(session.access_token) if session else None
            if before and now and before.token.owner == now.token.owner:
                before.token = now.token
                self._refreshed(before)
                return before
            self._identity = now
        if before:
            self._signed_out(before)
        if now:
            self._signed_in(now)
        return now


def _auth_failure(error: Exception) -> SupaLLMError:
    if isinstance(error, AuthRetryableError):
        return DatabaseUnavailableError("Supabase Auth did not respond.", hint="Try again in a moment.")
    return NotSignedInError("The session has ended.", hint=_NOBODY)


def _required(identity: Identity | None, failure: SupaLLMError | None) -> Identity:
    if failure is not None:
        raise failure
    if identity is None:
        raise NotSignedInError("No user is signed in.", hint=_NOBODY)
    return identity
