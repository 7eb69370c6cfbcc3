"""Who is signed in, by the events that Auth sends."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from supabase_auth.errors import AuthApiError, AuthRetryableError

from supa_llm.errors import DatabaseUnavailableError, NotSignedInError
from supa_llm.session import AccessToken, AsyncSession, Identity, Session
from tests.support import unsigned_token


@dataclass
class Signed:
    access_token: str


@dataclass
class Subscription:
    auth: Any

    def unsubscribe(self) -> None:
        self.auth.callback = None


@dataclass
class Auth:
    """The part of an Auth client that is used: it tells events, and its session when asked."""

    session: Signed | None = None
    error: Exception | None = None
    callback: Any = None
    asked: int = 0

    def on_auth_state_change(self, callback: Any) -> Subscription:
        self.callback = callback
        return Subscription(self)

    def get_session(self) -> Signed | None:
        self.asked += 1
        if self.error:
            raise self.error
        return self.session


class AsyncAuth(Auth):
    async def get_session(self) -> Signed | None:  # type: ignore[override]
        return super().get_session()


@dataclass
class Heard:
    """Who came and who went."""

    came: list[str] = field(default_factory=list)
    went: list[str] = field(default_factory=list)

    def signed_in(self, identity: Identity) -> None:
        self.came.append(identity.token.owner)

    def signed_out(self, identity: Identity) -> None:
        self.went.append(identity.token.owner)


def signed(owner: str = "anna", seconds: float = 3600, salt: str = "") -> Signed:
    return Signed(unsigned_token(sub=owner, exp=int(time.time() + seconds), salt=salt))


def following(auth: Any) -> tuple[Any, Heard]:
    heard = Heard()
    kind = AsyncSession if isinstance(auth, AsyncAuth) else Session
    return kind(auth, heard.signed_in, heard.signed_out), heard


def test_events_are_followed_without_asking() -> None:
    auth = Auth()
    session, heard = following(auth)
    auth.callback("SIGNED_IN", signed())
    anna = session.identity()
    auth.callback("TOKEN_REFRESHED", new := signed(salt="new"))
    assert session.identity() is anna
    assert anna.token.secret.reveal() == new.access_token
    auth.callback("SIGNED_OUT", None)
    assert (heard.came, heard.went, auth.asked) == (["anna"], ["anna"], 0)


def test_another_user_is_another_identity_whatever_the_event_is_called() -> None:
    auth = Auth()
    session, heard = following(auth)
    auth.callback("SIGNED_IN", signed())
    anna = session.identity()
    auth.callback("TOKEN_REFRESHED", signed("bert"))
    assert session.identity() is not anna
    assert anna.token.owner == "anna"
    assert (heard.came, heard.went) == (["anna", "bert"], ["anna"])


def test_a_session_from_before_is_found_at_first_use() -> None:
    auth = Auth(signed())
    session, heard = following(auth)
    assert heard.came == []
    assert session.identity().token.owner == "anna"
    assert session.identity() is session.identity()
    assert (heard.came, auth.asked) == (["anna"], 1)


def test_an_expiring_token_is_asked_anew() -> None:
    auth = Auth(signed(salt="new"))
    session, heard = following(auth)
    auth.callback("SIGNED_IN", signed(seconds=5))
    assert auth.session is not None
    assert session.identity().token.secret.reveal() == auth.session.access_token
    assert heard.came == ["anna"]


def test_a_session_that_is_gone_is_a_sign_out() -> None:
    auth = Auth()
    session, heard = following(auth)
    auth.callback("SIGNED_IN", signed(seconds=5))
    with pytest.raises(NotSignedInError, match="Nobody"):
        session.identity()
    assert heard.went == ["anna"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthApiError("refresh token eyJ-canary", 400, "session_not_found"), NotSignedInError),
        (AuthRetryableError("connecting with eyJ-canary", 503), DatabaseUnavailableError),
        (RuntimeError("eyJ-canary"), NotSignedInError),
    ],
)
async def test_auths_own_errors_stay_inside(error: Exception, kind: type[Exception]) -> None:
    session, _ = following(Auth(error=error))
    with pytest.raises(kind) as caught:
        session.identity()
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None
    twin, _ = following(AsyncAuth(error=error))
    with pytest.raises(kind) as caught:
        await twin.identity()
    assert caught.value.__context__ is None


async def test_tasks_follow_the_same() -> None:
    auth = AsyncAuth(signed())
    session, heard = following(auth)
    assert (await session.identity()).token.owner == "anna"
    auth.callback("SIGNED_OUT", None)
    auth.session = None
    with pytest.raises(NotSignedInError):
        await session.identity()
    assert (heard.came, heard.went) == (["anna"], ["anna"])


def test_closing_stops_listening_and_may_be_repeated() -> None:
    auth = Auth()
    session, _ = following(auth)
    session.close()
    session.close()
    assert auth.callback is None


@pytest.mark.parametrize(
    "text", ["", "opaque", "a.b.c", "a.bm90IGpzb24.c", "a.WzFd.c", "ü.ü.ü", "a.\ud800.c"]
)
def test_what_is_no_jwt_claims_nothing(text: str) -> None:
    token = AccessToken.read(text)
    assert (token.owner, token.expires_at) == (token.digest.hex(), math.inf)
    assert not text or text not in repr(token)


def test_no_token_is_nobody() -> None:
    with pytest.raises(NotSignedInError):
        AccessToken.read(None)  # type: ignore[arg-type]


def test_odd_claims_are_no_claims() -> None:
    token = AccessToken.read(unsigned_token(sub=7, exp="soon"))
    assert (token.owner, token.expires_at) == (token.digest.hex(), math.inf)
