"""Who is signed in: access tokens, and the users of the app's own client as its Auth events tell of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from supabase_auth.errors import AuthRetryableError

from supa_llm.errors import DatabaseUnavailableError, NotSignedInError, SupaLLMError
from supa_llm.values.secrets import Secret

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient, SyncGoTrueClient
    from supabase_auth.types import AuthChangeEvent
    from supabase_auth.types import Session as AuthSession

_NOBODY = "Sign in through the Supabase client (sb.auth), or name the user: llm.for_user(access_token)."
_EXPIRY_MARGIN = 10.0  # seconds before its end at which supabase-auth, too, takes a token for expired


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and what it claims; only the database can say whether the claims are true.

    Attributes:
        digest: identifies the exact token, so nothing kept for it is ever found by a forged one.
        owner: the user that it claims to be; of its own where it claims none.
        expires_at: seconds since 1970; infinity where it does not say.
    """

    secret: Secret
    digest: bytes = field(repr=False)
    owner: str
    expires_at: float

    @classmethod
    def read(cls, text: str) -> AccessToken:
        if not isinstance(text, str):  # such as the None of a header that is not there
            raise NotSignedInError("There is no access token.", hint=_NOBODY)
        if text[:7].lower() == "bearer ":
            raise NotSignedInError("This is not an access token.", hint='Pass it without "Bearer ".')
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        claims = _claims(text)
        owner, expires_at = claims.get("sub"), claims.get("exp")
        return cls(
            secret=Secret(text),
            digest=digest,
            owner=owner if isinstance(owner, str) else digest.hex(),
            expires_at=float(expires_at) if isinstance(expires_at, int | float) else math.inf,
        )


class Identity:
    """One signed-in user. A refresh replaces ``token``, so queued usage is sent with the newest one."""

    __slots__ = ("token",)

    def __init__(self, access_token: str) -> None:
        self.token = AccessToken.read(access_token)


class Session:
    """The user signed in on ``auth``, in threads.

    Args:
        signed_in: called with a user that was not there before, in the thread that found out.
        signed_out: called with a user that has gone.
    """

    def __init__(
        self,
        auth: SyncGoTrueClient,
        signed_in: Callable[[Identity], None],
        signed_out: Callable[[Identity], None],
    ) -> None:
        self._auth = auth
        self._seen = _Seen(signed_in, signed_out)
        self._asking = threading.Lock()
        self._unsubscribe = auth.on_auth_state_change(self._seen.event).unsubscribe

    def identity(self) -> Identity:
        """The signed-in user, with a token that has not expired.

        Raises:
            NotSignedInError: nobody is signed in.
            DatabaseUnavailableError: the token has expired and Auth could not be reached for a new one.
        """
        if (identity := self._seen.fresh()) is not None:
            return identity
        failure: SupaLLMError | None = None
        with self._asking:
            if (identity := self._seen.fresh()) is None:
                asked = self._seen.events
                try:
                    session = self._auth.get_session()  # refreshes an expired token
                except Exception as error:  # its errors are many, and may quote a token
                    failure = _auth_failure(error)
                else:
                    identity = self._seen.take(session, asked)
        return _required(identity, failure)

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._unsubscribe()


class AsyncSession:
    """The user signed in on ``auth``, in an event loop; otherwise the same as :class:`Session`."""

    def __init__(
        self,
        auth: AsyncGoTrueClient,
        signed_in: Callable[[Identity], None],
        signed_out: Callable[[Identity], None],
    ) -> None:
        self._auth = auth
        self._seen = _Seen(signed_in, signed_out)
        self._asking = asyncio.Lock()
        self._unsubscribe = auth.on_auth_state_change(self._seen.event).unsubscribe

    async def identity(self) -> Identity:
        """The signed-in user, with a token that has not expired; errors as :meth:`Session.identity`."""
        if (identity := self._seen.fresh()) is not None:
            return identity
        failure: SupaLLMError | None = None
        async with self._asking:
            if (identity := self._seen.fresh()) is None:
                asked = self._seen.events
                try:
                    session = await self._auth.get_session()
                except Exception as error:
                    failure = _auth_failure(error)
                else:
                    identity = self._seen.take(session, asked)
        return _required(identity, failure)

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._unsubscribe()


class _Seen:
    """The user as of the last Auth event.

    Attributes:
        events: how many there were.
    """

    def __init__(self, signed_in: Callable[[Identity], None], signed_out: Callable[[Identity], None]) -> None:
        self._signed_in, self._signed_out = signed_in, signed_out
        self._identity: Identity | None = None
        self._lock = threading.Lock()
        self.events = 0

    def fresh(self) -> Identity | None:
        identity = self._identity
        return identity if identity and identity.token.expires_at > time.time() + _EXPIRY_MARGIN else None

    def event(self, _: AuthChangeEvent, session: AuthSession | None) -> None:
        """Take over what an Auth event says: every event but a sign-out carries the session."""
        self.take(session)

    def take(self, session: AuthSession | None, asked: int | None = None) -> Identity | None:
        """Take over a session, and return who is signed in.

        Args:
            asked: for an answer of Auth's, ``events`` when it was asked. An event since then knows better:
                the answer may be of a user who has signed out meanwhile.
        """
        with self._lock:
            if asked is None:
                self.events += 1
            elif asked != self.events:
                return self._identity
            before = self._identity
            now = Identity(session.access_token) if session else None
            if before and now and before.token.owner == now.token.owner:
                before.token = now.token
                return before
            self._identity = now
        if before:
            self._signed_out(before)
        if now:
            self._signed_in(now)
        return now


def _auth_failure(error: Exception) -> SupaLLMError:
    if isinstance(error, AuthRetryableError):
        return DatabaseUnavailableError("Supabase Auth did not answer.", hint="Try again in a moment.")
    return NotSignedInError("The session has ended.", hint=_NOBODY)


def _required(identity: Identity | None, failure: SupaLLMError | None) -> Identity:
    if failure is not None:
        raise failure
    if identity is None:
        raise NotSignedInError("Nobody is signed in.", hint=_NOBODY)
    return identity


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
