"""Signing up and in with supabase-py, and using the tokens in PostgREST."""

from __future__ import annotations

import uuid
from typing import Any, cast

import psycopg
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from supa_llm.local import LocalStack
from supabase import Client, create_client

PASSWORD = "correct horse battery"


def client(stack: LocalStack, key: str = "PUBLISHABLE_KEY") -> Client:
    env = stack.env()
    return create_client(env["API_URL"], env[key])


def whoami(app: Client) -> dict[str, Any]:
    """The caller as PostgREST and the database see them."""
    return cast("dict[str, Any]", app.rpc("whoami").execute().data)


def bodies(app: Client) -> list[object]:
    """The notes that this client can read."""
    rows = cast("list[dict[str, object]]", app.table("notes").select("body").execute().data)
    return [row["body"] for row in rows]


def email() -> str:
    return f"{uuid.uuid4()}@example.test"


@pytest.mark.parametrize("key", ["PUBLISHABLE_KEY", "ANON_KEY"])
def test_sign_up_sign_in_refresh_and_a_request_as_that_user(stack: LocalStack, key: str) -> None:
    app, address = client(stack, key), email()
    signed_up = app.auth.sign_up({"email": address, "password": PASSWORD})
    assert signed_up.user is not None
    assert signed_up.session is not None

    signed_in = app.auth.sign_in_with_password({"email": address, "password": PASSWORD})
    assert signed_in.user is not None
    assert signed_in.user.id == signed_up.user.id
    assert signed_in.user.created_at.tzinfo is not None

    who = whoami(app)
    assert (who["uid"], who["role"], who["email"]) == (signed_in.user.id, "authenticated", address)

    assert signed_in.session is not None
    refreshed = app.auth.refresh_session()
    assert refreshed.session is not None
    assert refreshed.session.refresh_token != signed_in.session.refresh_token
    assert whoami(app)["uid"] == signed_in.user.id
    current = app.auth.get_user()
    assert current is not None
    assert current.user.email == address


def test_users_see_only_their_own_rows(stack: LocalStack) -> None:
    first, second = client(stack), client(stack)
    for app in (first, second):
        app.auth.sign_up({"email": email(), "password": PASSWORD})
    first.table("notes").insert({"body": "mine"}).execute()
    assert bodies(first) == ["mine"]
    assert bodies(second) == []
    assert "mine" in bodies(client(stack, "SECRET_KEY"))


def test_wrong_and_short_passwords_are_refused(stack: LocalStack) -> None:
    app, address = client(stack), email()
    app.auth.sign_up({"email": address, "password": PASSWORD})
    with pytest.raises(AuthApiError) as wrong:
        app.auth.sign_in_with_password({"email": address, "password": "wrong"})
    assert wrong.value.code == "invalid_credentials"
    with pytest.raises(AuthWeakPasswordError) as weak:
        # config.toml requires eight characters.
        app.auth.sign_up({"email": email(), "password": "short77"})
    assert weak.value.code == "weak_password"


def test_signed_in_users_survive_a_restart(own_stack: LocalStack) -> None:
    own_stack.up()
    app = client(own_stack)
    app.auth.sign_up({"email": email(), "password": PASSWORD})
    before = whoami(app)["uid"]
    own_stack.down()
    own_stack.up()
    assert whoami(app)["uid"] == before
    refreshed = app.auth.refresh_session()
    assert refreshed.user is not None
    assert refreshed.user.id == before


def test_the_auth_service_changes_no_grant_and_no_function_of_the_project(stack: LocalStack) -> None:
    snapshot = """
        select n.nspname, c.relname, c.relacl::text
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'auth') and c.relkind in ('r', 'v') order by 1, 2
    """
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        before = connection.execute(snapshot).fetchall()
        app = client(stack)
        address = email()
        app.auth.sign_up({"email": address, "password": PASSWORD})
        app.auth.update_user({"data": {"name": "x"}})
        app.auth.reset_password_for_email(address)
        app.auth.sign_out()
        assert connection.execute(snapshot).fetchall() == before
        sources = connection.execute(
            "select proname, prosrc like '%request.jwt.claims%' from pg_proc "
            "where pronamespace = 'auth'::regnamespace and proname in ('uid', 'role', 'email', 'jwt')"
        ).fetchall()
        assert sorted(sources) == [("email", True), ("jwt", True), ("role", True), ("uid", True)]
