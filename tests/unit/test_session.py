"""The signed-in user, when events and responses of Supabase Auth cross."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from supa_llm.client.session import AsyncSession, Session
from supa_llm.errors import NotSignedInError


def token(user: str) -> str:
    claims = {"sub": user, "exp": time.time() + 3600}
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode() + ".x"


class Auth:
    """The part of an Auth client that a session uses. ``meanwhile`` runs during a request."""

    def __init__(self, user: str, *meanwhile: str | None) -> None:
        self.session: Any = SimpleNamespace(access_token=token(user))
        self.meanwhile = meanwhile

    def on_auth_state_change(self, listen: Any) -> Any:
        self.listen = listen
        return SimpleNamespace(unsubscribe=lambda: None)

    def get_session(self) -> Any:
        answer = self.session
        for user in self.meanwhile:
            self.session = SimpleNamespace(access_token=token(user)) if user else None
            self.listen("SIGNED_IN" if user else "SIGNED_OUT", self.session)
        return answer


class AsyncAuth(Auth):
    async def get_session(self) -> Any:
        await asyncio.sleep(0)
        return super().get_session()


def who(auth: Auth) -> str:
    """The user whom a session considers signed in."""
    ignore: Any = lambda _: None  # noqa: E731
    if isinstance(auth, AsyncAuth):
        return asyncio.run(AsyncSession(auth, ignore, ignore, ignore).identity()).token.owner  # type: ignore[arg-type]
    return Session(auth, ignore, ignore, ignore).identity().token.owner  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Auth, AsyncAuth])
def test_a_late_response_does_not_undo_a_sign_out(kind: type[Auth]) -> None:
    assert who(kind("ada")) == "ada"
    assert who(kind("ada", None, "ben")) == "ben"
    with pytest.raises(NotSignedInError):
        who(kind("ada", None))
