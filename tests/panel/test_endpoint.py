"""The panel's endpoint: a key check has one of three results, and the stored key keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from supa_llm.panel import panel_endpoint, panel_files
from tests.support import PROVIDERS, Emulator, Stack, User, key_for, unique


@pytest.fixture
def endpoint(stack: Stack) -> Iterator[TestClient]:
    with TestClient(panel_endpoint(stack.api_url, stack.publishable_key)) as client:
        yield client


def ask(endpoint: TestClient, user: User, **body: Any) -> dict[str, Any]:
    answer = endpoint.post("/keys/check", json=body, headers={"authorization": f"Bearer {user.access_token}"})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def store(user: User, provider: str) -> str:
    key = key_for(provider, 77)
    answer = user.stack.rpc("set_llm_key", token=user.access_token, provider=provider, key=key)
    assert answer.is_success, answer.text
    return key


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_working_key_is_marked(
    endpoint: TestClient, user: User, providers: Emulator, provider: str
) -> None:
    store(user, provider)
    result = ask(endpoint, user, provider=provider)
    assert (result["result"], result["reason"], result["key"]["status"]) == ("works", "ok", "working")


def test_a_typed_key_is_checked_but_not_stored(endpoint: TestClient, user: User, providers: Emulator) -> None:
    result = ask(endpoint, user, provider="groq", key=key_for("groq", 5))
    assert (result["result"], result["key"]) == ("works", None)
    assert user.stack.rpc("list_llm_keys", token=user.access_token).json() == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_rejected_key_is_marked(
    endpoint: TestClient, user: User, providers: Emulator, provider: str
) -> None:
    key = store(user, provider)
    providers.fail(401, message=f"Incorrect API key provided: {key}")
    result = ask(endpoint, user, provider=provider)
    assert (result["result"], result["key"]["status"]) == ("rejected", "rejected")
    assert key not in str(result)
    assert ask(endpoint, user, provider=provider)["key"]["status"] == "working"


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "forbidden"), (404, "not_found"), (500, "server_error")]
)
def test_an_inconclusive_check_leaves_the_key_unchanged(
    endpoint: TestClient, user: User, providers: Emulator, status: int, reason: str
) -> None:
    store(user, "groq")
    providers.fail(status)
    result = ask(endpoint, user, provider="groq")
    assert (result["result"], result["reason"], result["key"]["status"]) == ("unknown", reason, "untested")


def test_a_429_rate_limits_the_key(endpoint: TestClient, user: User, providers: Emulator) -> None:
    store(user, "groq")
    providers.fail(429, retry_after=60)
    result = ask(endpoint, user, provider="groq")
    assert (result["result"], result["reason"], result["key"]["status"]) == (
        "unknown", "rate_limited", "rate_limited",
    )  # fmt: skip


def test_invalid_requests_are_refused_with_a_code(endpoint: TestClient, user: User) -> None:
    bearer = {"authorization": f"Bearer {user.access_token}"}

    def code(headers: dict[str, str] = bearer, **request: Any) -> tuple[int, str]:
        answer = endpoint.post("/keys/check", headers=headers, **request)
        return answer.status_code, answer.json()["code"]

    assert code({}, json={"provider": "groq"}) == (401, "not_signed_in")
    assert code({"authorization": "Bearer none"}, json={"provider": "groq"}) == (401, "not_signed_in")
    assert code(content=b"{") == (400, "invalid_argument")
    assert code(content=b"[]") == (400, "invalid_argument")
    assert code(json={"provider": 1}) == (400, "invalid_argument")
    assert code(json={"provider": "groq", "keys": ""}) == (400, "invalid_argument")
    assert code(content=b'{"provider": "groq"}' + b" " * 70_000) == (400, "invalid_argument")
    assert code(content=b"[" * 60_000) == (400, "invalid_argument")
    assert code(json={"provider": "groq"}) == (404, "key_not_found")
    assert code(json={"provider": "nobody"}) == (404, "unknown_provider")
    assert code(json={"provider": "groq", "key": "wrong-key"}) == (400, "key_malformed")


def test_key_checks_are_limited(endpoint: TestClient, user: User, providers: Emulator) -> None:
    for _ in range(10):
        ask(endpoint, user, provider="groq", key=key_for("groq", 5))
    answer = endpoint.post(
        "/keys/check",
        json={"provider": "groq", "key": key_for("groq", 5)},
        headers={"authorization": f"Bearer {user.access_token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_key_checks")
    assert "seconds" in answer.json()["hint"]


def test_an_unreachable_project_is_reported(user: User) -> None:
    with TestClient(panel_endpoint("http://127.0.0.1:9", "sb_publishable_x")) as nowhere:
        answer = nowhere.post(
            "/keys/check",
            json={"provider": "groq"},
            headers={"authorization": f"Bearer {user.access_token}"},
        )
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


@pytest.mark.parametrize(("secret", "listed"), [("slr_secret", ["groq"]), (None, [])])
def test_a_runtimes_operator_providers_are_listed_without_keys(
    stack: Stack, secret: str | None, listed: list[str]
) -> None:
    app = panel_endpoint(
        stack.api_url, stack.publishable_key, runtime_secret=secret, operator_keys={"groq": "gsk_secret"}
    )
    with TestClient(app) as client:
        answer = client.get("/operator-providers")
    assert answer.json() == {"providers": listed}
    assert "gsk_secret" not in answer.text


def test_only_named_origins_may_call(stack: Stack) -> None:
    app = panel_endpoint(stack.api_url, stack.publishable_key, origins=["https://app.example.com"])
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with TestClient(app) as client:

        def allowed(origin: str) -> str | None:
            answer = client.options("/keys/check", headers={"origin": origin, **asked})
            return dict(answer.headers).get("access-control-allow-origin")

        assert allowed("https://app.example.com") == "https://app.example.com"
        assert allowed("https://evil.example.com") is None


def test_a_route_includes_the_operators_keys_and_this_runtime(stack: Stack, user: User) -> None:
    bearer = {"authorization": f"Bearer {user.access_token}"}
    runtime = stack.admin("register_llm_runtime", p_name=unique("app server"))
    quota = stack.admin(
        "set_llm_quota",
        p_quota={"limit": 5, "unit": "cost", "period": "month", "key_source": "operator", "unpriced": "allow",
                 "user_id": user.id},
    )  # fmt: skip

    def sources(secret: str | None, **asked: Any) -> list[str]:
        app = panel_endpoint(
            stack.api_url, stack.publishable_key, operator_keys={"groq": "g" * 32}, runtime_secret=secret
        )
        with TestClient(app) as client:
            answer = client.post("/explain", json=asked, headers=bearer)
        assert answer.status_code == 200, answer.text
        return [candidate["provider"] for candidate in answer.json()["candidates"]]

    try:
        # Only a registered runtime may use the operator's keys.
        assert sources(None, task="speed") == []
        assert sources(runtime["secret"], task="speed") == ["groq"]
        assert sources(runtime["secret"], changes={"allow_operator_keys": False}) == []
    finally:
        stack.admin("remove_llm_quota", p_id=quota["id"])
        stack.admin("revoke_llm_runtime", p_id=runtime["id"])
    refused = TestClient(panel_endpoint(stack.api_url, stack.publishable_key)).post(
        "/explain", json={"changes": {"default_provider": "nobody"}}, headers=bearer
    )
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_setting")


def test_an_app_can_serve_the_files() -> None:
    files = panel_files()
    entry = (files / "supa-llm-settings.js").read_text()
    loaded = re.findall(r'(?:from|import)\s*\(?["`]\./([^"`]+)["`]', entry)
    assert loaded
    assert all((files / name).is_file() for name in loaded)
