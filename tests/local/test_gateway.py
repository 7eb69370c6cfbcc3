"""The front handles API keys, tokens and CORS like Supabase's gateway."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from supa_llm.local import LocalStack

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Safari/537.36"
)
KEY_OF = {
    "publishable": "PUBLISHABLE_KEY",
    "secret": "SECRET_KEY",
    "legacy anon": "ANON_KEY",
    "legacy service_role": "SERVICE_ROLE_KEY",
}
ROLE_OF = {
    "publishable": "anon",
    "secret": "service_role",
    "legacy anon": "anon",
    "legacy service_role": "service_role",
}


@pytest.fixture(scope="module")
def http(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.env()["API_URL"], timeout=10) as client:
        yield client


def user_token(stack: LocalStack, algorithm: str, **changes: object) -> str:
    now = int(time.time())
    claims = {
        "sub": str(uuid.uuid4()),
        "role": "authenticated",
        "aud": "authenticated",
        "iat": now,
        "exp": now + 60,
    }
    return stack.sign_token({**claims, **changes}, algorithm)


@pytest.mark.parametrize("kind", KEY_OF)
@pytest.mark.parametrize("place", ["header", "query", "header and Authorization"])
def test_a_key_has_its_role(stack: LocalStack, http: httpx.Client, kind: str, place: str) -> None:
    key = stack.env()[KEY_OF[kind]]
    headers = {} if place == "query" else {"apikey": key}
    if place == "header and Authorization":
        headers["Authorization"] = f"Bearer {key}"
    params = {"apikey": key} if place == "query" else {}
    answer = http.get("/rest/v1/rpc/whoami", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    who = answer.json()
    assert who["user"] == who["role"] == ROLE_OF[kind]
    assert who["uid"] is None
    assert "apikey" not in who["headers"]
    assert key not in answer.text or kind.startswith("legacy")


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
@pytest.mark.parametrize("kind", KEY_OF)
def test_a_users_token_takes_precedence_over_the_key(
    stack: LocalStack, http: httpx.Client, kind: str, algorithm: str
) -> None:
    subject = str(uuid.uuid4())
    token = user_token(stack, algorithm, sub=subject, email="a@b.c", aal="aal2")
    headers = {"apikey": stack.env()[KEY_OF[kind]], "Authorization": f"Bearer {token}"}
    who = http.get("/rest/v1/rpc/whoami", headers=headers).json()
    assert (who["uid"], who["role"], who["email"], who["user"]) == (
        subject,
        "authenticated",
        "a@b.c",
        "authenticated",
    )
    assert who["claims"]["aal"] == "aal2"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "UNAUTHORIZED_MISSING_API_KEY"),
        ({"apikey": ""}, "UNAUTHORIZED_MISSING_API_KEY"),
        ({"apikey": "sb_publishable_nosuchnosuchnosuchnosuch"}, "UNAUTHORIZED_INVALID_API_KEY"),
        ({"apikey": "sb_secret_nosuchnosuchnosuchnosuch"}, "UNAUTHORIZED_INVALID_API_KEY"),
        ({"apikey": "constructor"}, "UNAUTHORIZED_INVALID_API_KEY"),
    ],
)
@pytest.mark.parametrize("path", ["/rest/v1/plants", "/auth/v1/settings", "/auth/v1/user"])
def test_a_missing_or_wrong_key_is_refused(
    http: httpx.Client, path: str, headers: dict[str, str], code: str
) -> None:
    answer = http.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["sb-error-code"] == code
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set(answer.json()) == {"message", "hint"}


def test_a_users_token_without_a_key_is_refused(stack: LocalStack, http: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {user_token(stack, 'HS256')}"}
    assert http.get("/rest/v1/plants", headers=headers).status_code == 401


def test_a_key_alone_in_authorization_is_refused(stack: LocalStack, http: httpx.Client) -> None:
    for name in KEY_OF.values():
        headers = {"Authorization": f"Bearer {stack.env()[name]}"}
        assert http.get("/rest/v1/plants", headers=headers).status_code == 401


def test_a_publishable_key_does_not_admit_a_secret_key_in_authorization(
    stack: LocalStack, http: httpx.Client
) -> None:
    env = stack.env()
    headers = {"apikey": env["PUBLISHABLE_KEY"], "Authorization": f"Bearer {env['SECRET_KEY']}"}
    assert http.get("/rest/v1/plants", headers=headers).status_code == 401


@pytest.mark.parametrize("change", [{"exp": 1}, {"role": "postgres"}, {"role": "supabase_admin"}])
def test_an_expired_token_or_one_with_another_role_is_refused(
    stack: LocalStack, http: httpx.Client, change: dict[str, object]
) -> None:
    token = user_token(stack, "HS256", **change)
    headers = {"apikey": stack.env()["PUBLISHABLE_KEY"], "Authorization": f"Bearer {token}"}
    assert http.get("/rest/v1/plants", headers=headers).status_code in (401, 403)


def test_a_forged_token_is_refused(stack: LocalStack, http: httpx.Client) -> None:
    header, body, signature = user_token(stack, "ES256").split(".")
    forged = ".".join([header, body, signature[::-1]])
    headers = {"apikey": stack.env()["PUBLISHABLE_KEY"], "Authorization": f"Bearer {forged}"}
    assert http.get("/rest/v1/plants", headers=headers).status_code == 401


def test_a_secret_key_is_refused_from_a_browser(stack: LocalStack, http: httpx.Client) -> None:
    env = stack.env()
    for path in ("/rest/v1/plants", "/auth/v1/settings"):
        refused = http.get(path, headers={"apikey": env["SECRET_KEY"], "User-Agent": BROWSER})
        assert refused.status_code == 401
        assert refused.json()["message"] == "Forbidden use of secret API key in browser"
        assert refused.headers["sb-error-code"] == "UNAUTHORIZED_INVALID_API_KEY_TYPE"
    allowed = http.get("/rest/v1/plants", headers={"apikey": env["PUBLISHABLE_KEY"], "User-Agent": BROWSER})
    assert allowed.status_code == 200


def test_a_key_in_the_query_is_not_read_as_a_filter(stack: LocalStack, http: httpx.Client) -> None:
    key = stack.env()["PUBLISHABLE_KEY"]
    answer = http.get(f"/rest/v1/plants?select=name&apikey={key}&name=eq.fern&limit=1")
    assert answer.status_code == 200
    assert answer.json() == [{"name": "fern"}]


@pytest.mark.parametrize("path", ["/rest/v1/rpc/whoami", "/auth/v1/token", "/rest/v1/plants"])
def test_a_preflight_allows_whatever_headers_are_requested(http: httpx.Client, path: str) -> None:
    asked = "apikey, authorization, content-profile, x-client-info, x-llm-runtime"
    answer = http.options(
        path,
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")}
    assert set(asked.split(", ")) <= allowed
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert int(answer.headers["access-control-max-age"]) > 0


def test_responses_can_be_read_across_origins(stack: LocalStack, http: httpx.Client) -> None:
    headers = {"apikey": stack.env()["PUBLISHABLE_KEY"], "Origin": "https://app.example"}
    for path in ("/rest/v1/plants?select=name", "/auth/v1/settings"):
        answer = http.get(path, headers=headers)
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
        assert "Content-Range" in answer.headers["access-control-expose-headers"]


def test_responses_of_postgrest_are_forwarded_unchanged(stack: LocalStack, http: httpx.Client) -> None:
    key = {"apikey": stack.env()["SECRET_KEY"]}
    counted = http.get("/rest/v1/plants?select=name&limit=1", headers={**key, "Prefer": "count=exact"})
    assert counted.status_code == 206
    assert counted.headers["content-range"] == "0-0/2"
    single = http.get(
        "/rest/v1/plants?name=eq.none", headers={**key, "Accept": "application/vnd.pgrst.object+json"}
    )
    assert single.status_code == 406
    assert single.json()["code"] == "PGRST116"
    head = http.head("/rest/v1/plants", headers=key)
    assert head.status_code == 200
    assert head.content == b""
    large = "x" * 2_000_000
    who = http.post("/rest/v1/rpc/whoami", headers={**key, "x-llm-runtime": "r"}, json={})
    assert who.json()["headers"]["x-llm-runtime"] == "r"
    refused = http.post("/rest/v1/plants", headers=key, json={"name": large, "nosuch": 1})
    assert refused.status_code == 400


def test_a_malformed_request_does_not_affect_others(stack: LocalStack, http: httpx.Client) -> None:
    url = httpx.URL(stack.env()["API_URL"])
    for target in ("/rest/v1/plants?apikey=%", "//", "*", "/rest/v1/%", "/auth/v1/%?apikey=%zz"):
        with socket.create_connection((url.host, url.port or 0), timeout=5) as raw:
            raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert http.get("/rest/v1/plants", headers={"apikey": stack.env()["ANON_KEY"]}).status_code == 200


def test_only_secret_keys_get_the_description_of_the_api(stack: LocalStack, http: httpx.Client) -> None:
    env = stack.env()
    for name, status in (
        ("PUBLISHABLE_KEY", 403),
        ("ANON_KEY", 403),
        ("SECRET_KEY", 200),
        ("SERVICE_ROLE_KEY", 200),
    ):
        assert http.get("/rest/v1/", headers={"apikey": env[name]}).status_code == status
    described = http.get("/rest/v1/", headers={"apikey": env["SECRET_KEY"]}).json()
    assert "/plants" in described["paths"]


def test_unknown_paths_are_404_in_json(http: httpx.Client) -> None:
    for path in ("/", "/storage/v1/bucket", "/rest", "/auth/v1"):
        answer = http.get(path)
        assert answer.status_code == 404
        assert answer.json() == {"error": "requested path is invalid"}


def test_the_public_key_of_user_tokens_is_published_without_the_secret_one(
    stack: LocalStack, http: httpx.Client
) -> None:
    published = http.get("/auth/v1/.well-known/jwks.json").json()
    assert [key["kty"] for key in published["keys"]] == ["EC"]
    assert "d" not in published["keys"][0]


def test_a_schema_reload_takes_effect(stack: LocalStack, http: httpx.Client) -> None:
    import psycopg

    key = {"apikey": stack.env()["SECRET_KEY"]}
    with psycopg.connect(stack.env()["DB_URL"], autocommit=True) as connection:
        connection.execute("create view public.latest as select 1 as n")
        try:
            deadline = time.monotonic() + 5
            while (answer := http.get("/rest/v1/latest", headers=key)).status_code == 404:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert answer.json() == [{"n": 1}]
        finally:
            connection.execute("drop view public.latest")


def test_a_stopped_postgrest_is_a_503_with_a_hint(own_stack: LocalStack) -> None:
    import os
    import signal

    own_stack.up()
    [rest] = [service for service in own_stack.status().services if service.name == "rest"]
    assert rest.pid is not None
    os.kill(rest.pid, signal.SIGKILL)
    env = own_stack.env()
    answer = httpx.get(f"{env['API_URL']}/rest/v1/plants", headers={"apikey": env["PUBLISHABLE_KEY"]})
    assert answer.status_code == 503
    assert "supa-llm local up" in answer.json()["hint"]
