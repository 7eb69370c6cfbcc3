"""Managing users with ``auth.admin`` of supabase-py."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

import httpx
import psycopg
import pytest
from supabase_auth import SyncGoTrueAdminAPI
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from supa_llm.local import LocalStack
from tests.local.test_auth import PASSWORD, client, email, whoami


@pytest.fixture(params=["SECRET_KEY", "SERVICE_ROLE_KEY"])
def admin(stack: LocalStack, request: pytest.FixtureRequest) -> SyncGoTrueAdminAPI:
    return client(stack, request.param).auth.admin


def refusal(act: Callable[[], Any]) -> tuple[str | None, int]:
    with pytest.raises(AuthApiError) as caught:
        act()
    return caught.value.code, caught.value.status


def test_a_created_user_signs_in(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    address = email()
    created = admin.create_user(
        {
            "email": address.upper(),
            "password": PASSWORD,
            "email_confirm": True,
            "user_metadata": {"name": "Ann"},
            "app_metadata": {"plan": "pro"},
        }
    ).user
    assert created.email == address
    assert created.email_confirmed_at is not None
    app = client(stack)
    signed_in = app.auth.sign_in_with_password({"email": address, "password": PASSWORD}).user
    assert signed_in is not None
    assert signed_in.id == created.id
    assert signed_in.user_metadata["name"] == "Ann"
    assert signed_in.app_metadata == {"provider": "email", "providers": ["email"], "plan": "pro"}
    assert whoami(app)["uid"] == created.id
    assert refusal(lambda: admin.create_user({"email": address})) == ("email_exists", 422)


def test_an_unconfirmed_user_does_not_sign_in(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    user = admin.create_user({"email": email(), "password": PASSWORD}).user
    credentials: Any = {"email": user.email, "password": PASSWORD}
    assert refusal(lambda: client(stack).auth.sign_in_with_password(credentials))[0] == "email_not_confirmed"
    admin.update_user_by_id(user.id, {"email_confirm": True})
    assert client(stack).auth.sign_in_with_password(credentials).user is not None


def test_a_chosen_id_is_kept(admin: SyncGoTrueAdminAPI) -> None:
    chosen = str(uuid.uuid4())
    attributes: Any = {"email": email(), "id": chosen}
    assert admin.create_user(attributes).user.id == chosen
    assert admin.get_user_by_id(chosen).user.id == chosen


def test_users_are_listed_newest_first_in_pages(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    made = [admin.create_user({"email": email()}).user.id for _ in range(3)]
    assert [it.id for it in admin.list_users()][:3] == made[::-1]
    assert next(it.id for it in admin.list_users(page=2, per_page=2)) == made[0]
    env = stack.env()
    shown = httpx.get(f"{env['API_URL']}/auth/v1/admin/users", headers={"apikey": env["SECRET_KEY"]})
    assert int(shown.headers["x-total-count"]) >= 3
    assert shown.json()["aud"] == "authenticated"


def test_a_user_is_changed(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    user = admin.create_user(
        {"email": email(), "email_confirm": True, "user_metadata": {"a": 1, "b": 2}}
    ).user
    address = email()
    changed = admin.update_user_by_id(
        user.id,
        {
            "email": address,
            "password": PASSWORD,
            "user_metadata": {"a": None, "c": 3},
            "app_metadata": {"d": 4},
        },
    ).user
    assert changed.user_metadata == {"b": 2, "c": 3}
    assert changed.app_metadata == {"provider": "email", "providers": ["email"], "d": 4}
    assert (changed.identities or [])[0].identity_data["email"] == address
    credentials: Any = {"email": address, "password": PASSWORD}
    assert client(stack).auth.sign_in_with_password(credentials).user is not None
    other = admin.create_user({"email": email()}).user
    assert refusal(lambda: admin.update_user_by_id(other.id, {"email": address})) == ("email_exists", 422)


def test_a_ban_begins_and_ends(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    user = admin.create_user({"email": email()}).user

    def banned() -> bool:
        query = "select banned_until > now() + interval '23 hours' from auth.users where id = %s"
        with psycopg.connect(stack.env()["DB_URL"]) as db:
            return bool((db.execute(query, [user.id]).fetchone() or (None,))[0])

    admin.update_user_by_id(user.id, {"ban_duration": "24h"})
    assert banned()
    admin.update_user_by_id(user.id, {"ban_duration": "none"})
    assert not banned()
    invalid = refusal(lambda: admin.update_user_by_id(user.id, {"ban_duration": "a while"}))
    assert invalid == ("validation_failed", 400)


def test_a_deleted_user_and_their_sessions_are_gone(stack: LocalStack, admin: SyncGoTrueAdminAPI) -> None:
    app, address = client(stack), email()
    user = app.auth.sign_up({"email": address, "password": PASSWORD}).user
    assert user is not None
    app.table("notes").insert({"body": "mine"}).execute()
    admin.delete_user(user.id)
    assert refusal(lambda: admin.get_user_by_id(user.id)) == ("user_not_found", 404)
    assert refusal(lambda: admin.delete_user(user.id)) == ("user_not_found", 404)
    with pytest.raises(AuthApiError):
        app.auth.refresh_session()
    again = client(stack).auth.sign_up({"email": address, "password": PASSWORD}).user
    assert again is not None
    assert again.id != user.id


def test_only_administrators_manage_users(stack: LocalStack) -> None:
    app = client(stack)
    app.auth.sign_up({"email": email(), "password": PASSWORD})
    session = app.auth.get_session()
    assert session is not None
    env = stack.env()
    url = f"{env['API_URL']}/auth/v1/admin/users"
    for headers, status in (
        ({}, 401),
        ({"apikey": "sb_secret_wrong"}, 401),
        ({"apikey": env["PUBLISHABLE_KEY"]}, 403),
        ({"apikey": env["ANON_KEY"], "Authorization": f"Bearer {env['ANON_KEY']}"}, 403),
        ({"apikey": env["PUBLISHABLE_KEY"], "Authorization": f"Bearer {session.access_token}"}, 403),
        ({"apikey": env["SECRET_KEY"], "Authorization": f"Bearer {session.access_token}"}, 403),
        ({"apikey": env["SECRET_KEY"], "Authorization": "Bearer nonsense"}, 403),
        ({"apikey": env["PUBLISHABLE_KEY"], "Authorization": f"Bearer {env['SERVICE_ROLE_KEY']}"}, 200),
    ):
        assert httpx.get(url, headers=headers).status_code == status, headers


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ("validation_failed", 400)),
        ({"email": "no address"}, ("validation_failed", 400)),
        ({"email": "a@example.test", "user_metadata": "text"}, ("validation_failed", 400)),
        ({"email": "a@example.test", "id": "1"}, ("validation_failed", 400)),
        ({"phone": "+4912345"}, ("validation_failed", 400)),
    ],
)
def test_invalid_attributes_are_refused(
    admin: SyncGoTrueAdminAPI, attributes: Any, expected: tuple[str, int]
) -> None:
    assert refusal(lambda: admin.create_user(attributes)) == expected


def test_what_the_stack_lacks_is_refused(admin: SyncGoTrueAdminAPI) -> None:
    user = admin.create_user({"email": email()}).user
    missing = ("not_implemented", 501)
    assert refusal(lambda: admin.delete_user(user.id, should_soft_delete=True)) == missing
    link = cast("Any", {"type": "magiclink", "email": user.email})
    assert refusal(lambda: admin.generate_link(link)) == missing
    assert refusal(lambda: admin.mfa.list_factors({"user_id": user.id})) == missing
    with pytest.raises(AuthWeakPasswordError):  # config.toml requires eight characters
        admin.create_user({"email": email(), "password": "short"})
