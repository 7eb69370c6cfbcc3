"""The signed-in user: sign-in, token refresh, sign-out, forged and expired tokens, on real Auth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

import psycopg
import pytest

from supa_llm import AsyncSupaLLM, DatabaseUnavailableError, NotSignedInError, SupaLLM
from supa_llm.client.session import AccessToken
from tests.support import Stack, User, key_for, unsigned_token, wait_until


def rows(db: psycopg.Connection[Any], user: User) -> int:
    found = db.execute(
        "select count(*) from public.user_llm_settings where user_id = %s", [user.id]
    ).fetchone()
    assert found is not None
    return int(found[0])


def held(llm: SupaLLM) -> int:
    """Number of cache entries of a client: settings, routes, and each user's first route once more."""
    return len(llm._resources.cache)


def test_a_sign_in_loads_the_settings_and_creates_the_row(
    stack: Stack, user: User, db: psycopg.Connection[Any]
) -> None:
    sb = stack.client()
    with SupaLLM(sb) as llm:
        assert rows(db, user) == 0
        sb.auth.sign_in_with_password(user.credentials)
        assert rows(db, user) == 1
        assert held(llm) == 1
        assert str(llm.get_settings().user_id) == user.id


def test_an_earlier_sign_in_counts(user: User, db: psycopg.Connection[Any]) -> None:
    sb = user.client()
    with SupaLLM(sb) as llm:
        assert llm.list_keys() == []
        assert rows(db, user) == 1


def test_without_a_sign_in_calls_are_refused(stack: Stack) -> None:
    with SupaLLM(stack.client()) as llm, pytest.raises(NotSignedInError) as caught:
        llm.chat("Hello")
    assert "for_user" in caught.value.hint


def test_a_token_refresh_is_followed(user: User) -> None:
    sb = user.client()
    with SupaLLM(sb) as llm:
        llm.set_key("openai", key_for("openai"))
        llm.get_settings()
        before = llm._session.identity().token
        time.sleep(1.1)  # a token's issue time is in whole seconds
        sb.auth.refresh_session()
        assert llm._session.identity().token.digest != before.digest
        (key,) = llm.list_keys()
        assert key.provider == "openai"
        assert str(llm.get_settings().user_id) == user.id


def test_an_expired_token_is_refreshed_on_use(user: User) -> None:
    sb = user.client()
    with SupaLLM(sb) as llm:
        identity = llm._session.identity()
        session = sb.auth.get_session()
        assert session is not None
        session.expires_at = int(time.time()) - 1
        sb.auth._save_session(session)
        identity.token = AccessToken.read(unsigned_token(sub=user.id, exp=session.expires_at))
        assert str(llm.get_settings().user_id) == user.id
        assert llm._session.identity().token.expires_at > time.time()


def test_a_sign_out_drops_all_cached_data_of_the_user(user: User, providers: object) -> None:
    sb = user.client()
    with SupaLLM(sb) as llm:
        llm.set_key("openai", key_for("openai"))
        llm.get_settings()
        llm.chat("Hello")
        assert held(llm) == 3
        sb.auth.sign_out()
        assert held(llm) == 0
        with pytest.raises(NotSignedInError):
            llm.get_settings()


def test_usage_from_before_a_sign_out_is_recorded_after_it(
    user: User, providers: object, db: psycopg.Connection[Any]
) -> None:
    sb = user.client()
    with SupaLLM(sb) as llm:
        llm.set_key("openai", key_for("openai"))
        send, llm._resources.recorder._send = llm._resources.recorder._send, _away
        llm.chat("Hello")
        sb.auth.sign_out()
        llm._resources.recorder._send = send
        assert llm.flush()
    events = db.execute(
        "select outcome from public.llm_usage_events where user_id = %s", [user.id]
    ).fetchall()
    assert events == [("succeeded",)]


def _away(*_: object) -> NoReturn:
    raise DatabaseUnavailableError("away")


def test_the_next_user_of_a_client_sees_no_data_of_the_previous_one(
    new_user: Callable[[], User],
) -> None:
    anna, bert = new_user(), new_user()
    sb = anna.client()
    with SupaLLM(sb) as llm:
        llm.set_settings(default_provider="groq")
        sb.auth.sign_in_with_password(bert.credentials)
        assert str(llm.get_settings().user_id) == bert.id
        assert llm.get_settings().default_provider is None
        sb.auth.sign_in_with_password(anna.credentials)
        assert llm.get_settings().default_provider == "groq"


def test_a_failed_load_is_reported_at_first_use_not_at_sign_in(stack: Stack, user: User) -> None:
    sb = stack.client()
    with SupaLLM(sb, database_timeout=1) as llm:
        database = llm._resources._database
        working, database._client.base_url = database._client.base_url, database._client.base_url.with_port(9)
        assert sb.auth.sign_in_with_password(user.credentials).session
        with pytest.raises(DatabaseUnavailableError):
            llm.get_settings()
        database._client.base_url = working
        assert str(llm.get_settings().user_id) == user.id


def test_a_forged_token_finds_and_drops_no_cache_entry(stack: Stack, user: User, providers: object) -> None:
    """The token claims to be a user whose settings and route are cached."""
    with SupaLLM(stack.client()) as llm:
        owner = llm.for_user(user.access_token)
        owner.set_key("openai", key_for("openai"))
        owner.get_settings()
        owner.chat("Hello")
        assert held(llm) == 3
        header, payload, signature = user.access_token.split(".")
        other_signature = signature[:-8] + signature[:8]
        for forged in (
            f"{header}.{payload}.{other_signature}",
            f"{header}.{payload}.",
            unsigned_token(sub=user.id, role="authenticated", exp=int(time.time()) + 3600),
            "not a token",
            "",
        ):
            intruder = llm.for_user(forged)
            for attempt in (
                intruder.get_settings,
                lambda it=intruder: it.chat("Hello"),
                lambda it=intruder: it.set_settings(enable_fallbacks=False),
            ):
                with pytest.raises(NotSignedInError):
                    attempt()
        assert held(llm) == 3
        assert owner.get_settings().enable_fallbacks


def test_nothing_is_cached_for_an_expired_token(stack: Stack, user: User) -> None:
    if stack.jwt_secret is None:
        pytest.skip("needs the project's JWT secret")
    with SupaLLM(stack.client()) as llm:
        soon = llm.for_user(stack.sign(sub=user.id, exp=int(time.time()) + 2))
        assert str(soon.get_settings().user_id) == user.id
        assert held(llm) == 1
        wait_until(lambda: not _settings_kept(llm, soon), seconds=5)
        late = llm.for_user(stack.sign(sub=user.id, exp=int(time.time()) - 60))
        with pytest.raises(NotSignedInError, match="expired"):
            late.get_settings()
        with pytest.raises(NotSignedInError, match="expired"):
            late.chat("Hello")


def _settings_kept(llm: SupaLLM, user: Any) -> bool:
    token = user._identify().token
    with llm._resources.cache._lock:
        return llm._resources.cache._get((token.digest, "settings", None)) is not None


async def test_a_sign_in_loads_and_a_sign_out_drops_for_asyncio(
    stack: Stack, user: User, db: psycopg.Connection[Any]
) -> None:
    sb = await stack.async_client()
    async with AsyncSupaLLM(sb) as llm:
        await sb.auth.sign_in_with_password(user.credentials)
        assert str((await llm.get_settings()).user_id) == user.id
        assert rows(db, user) == 1
        await llm.set_settings(default_provider="groq")
        assert (await llm.for_user(user.access_token).get_settings()).default_provider == "groq"
        await sb.auth.refresh_session()
        assert (await llm.get_settings()).default_provider == "groq"
        await sb.auth.sign_out()
        with pytest.raises(NotSignedInError):
            await llm.get_settings()


async def test_an_earlier_sign_in_counts_for_asyncio(user: User) -> None:
    async with AsyncSupaLLM(await user.async_client()) as llm:
        assert str((await llm.get_settings()).user_id) == user.id
