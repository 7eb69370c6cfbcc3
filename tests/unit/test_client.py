"""Creating and using a client without a project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from supabase.lib.client_options import SyncClientOptions

import supabase
from supa_llm import (
    AsyncSupaLLM,
    ConfigurationError,
    InvalidInputError,
    NotSignedInError,
    SupaLLM,
    lifespan,
)
from supa_llm.client.session import Identity
from tests.support import unsigned_token

SETTINGS: dict[str, Any] = {
    "user_id": "0198a000-0000-7000-8000-000000000001",
    "default_provider": None,
    "enable_fallbacks": True,
    "provider_preferences": {},
    "task_overrides": {},
    "allow_operator_keys": False,
    "time_zone": "UTC",
    "version": 1,
    "total_requests": 0,
    "reveal_allowed": True,
    "last_used_at": None,
    "created_at": "2026-12-01T00:00:00+00:00",
    "updated_at": "2026-12-01T00:00:00+00:00",
}


class Project:
    """Responds to every RPC with settings, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.http = httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=SETTINGS)

    @property
    def asked(self) -> list[str]:
        return [request.url.path.rpartition("/")[2] for request in self.requests]

    def client(self) -> supabase.Client:
        options = SyncClientOptions(httpx_client=self.http)
        return supabase.create_client("https://project.test", "sb_publishable_x", options)


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()
    with project.http:
        yield project


def token(sub: str = "anna", salt: str = "") -> str:
    return unsigned_token(sub=sub, exp=4_000_000_000, salt=salt)


def test_the_wrong_kind_of_client_is_refused_immediately(project: Project) -> None:
    with pytest.raises(ConfigurationError, match="AsyncSupaLLM"):
        SupaLLM(asyncio.run(supabase.create_async_client("https://project.test", "key")))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="SupaLLM"):
        AsyncSupaLLM(project.client())  # type: ignore[arg-type]


def test_creating_a_client_or_a_view_sends_nothing(project: Project) -> None:
    with SupaLLM(project.client()) as llm:
        llm.for_user(token())
    assert project.requests == []


def test_requests_use_the_apps_http_client_and_leave_it_open(project: Project) -> None:
    with SupaLLM(project.client()) as llm:
        llm.for_user(token()).get_settings()
    assert project.asked == ["get_llm_settings"]
    assert not project.http.is_closed


def test_the_providers_http_client_stays_open(project: Project) -> None:
    with httpx.Client() as http:
        with SupaLLM(project.client(), http_client=http):
            pass
        assert not http.is_closed


def test_the_runtime_secret_comes_from_an_argument_or_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPA_LLM_RUNTIME_SECRET", "from-the-environment")
    for secret in (None, "given"):
        with SupaLLM(project.client(), runtime_secret=secret) as llm:
            llm.for_user(token()).get_settings()
    assert [it.headers["x-llm-runtime"] for it in project.requests] == ["from-the-environment", "given"]
    with pytest.raises(ConfigurationError) as caught:
        SupaLLM(project.client(), runtime_secret="canary\n")
    assert "canary" not in str(caught.value)


def test_settings_are_read_once_and_again_after_a_change(project: Project) -> None:
    with SupaLLM(project.client()) as llm:
        one, other, bert = llm.for_user(token()), llm.for_user(token(salt="2")), llm.for_user(token("bert"))
        for view in (one, other, bert, one, other, bert):
            view.get_settings()
        assert project.asked == ["get_llm_settings"] * 3
        one.set_settings(enable_fallbacks=False)
        project.requests.clear()
        for view in (one, other, bert):
            view.get_settings()
        assert project.asked == ["get_llm_settings"] * 2


def test_settings_are_read_again_after_their_ttl(project: Project) -> None:
    with SupaLLM(project.client(), settings_ttl=0) as llm:
        view = llm.for_user(token())
        view.get_settings()
        view.get_settings()
    assert len(project.requests) == 2


def test_an_invalid_user_or_timeout_is_refused_before_a_request(project: Project) -> None:
    with SupaLLM(project.client()) as llm:
        with pytest.raises(NotSignedInError):
            llm.get_settings()
        with pytest.raises(NotSignedInError):
            llm.for_user(None)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="time"):
            llm.for_user(token()).chat("Hello", timeout=0)
        with pytest.raises(InvalidInputError):
            llm.for_user(token()).chat([])
    assert project.requests == []


def test_a_closed_client_reports_that_it_is_closed() -> None:
    llm = SupaLLM(supabase.create_client("https://project.test", "sb_publishable_x"))
    view = llm.for_user(token())
    llm.close()
    llm.close()
    with pytest.raises(ConfigurationError) as caught:
        view.get_settings()
    assert caught.value.code == "closed"


def test_only_the_given_settings_change(project: Project) -> None:
    with SupaLLM(project.client()) as llm:
        view = llm.for_user(token())
        view.set_settings(default_provider=None)
        view.set_preference("groq", enabled=False, model=None)
        view.set_task("code", "openai", fallbacks=["groq/a/b", "mistral"])
        view.set_task("code", "openai", "gpt-x")
        view.remove_task("code")
    changes: list[Any] = [json.loads(request.content)["p_changes"] for request in project.requests]
    assert changes == [
        {"default_provider": None},
        {"provider_preferences": {"groq": {"enabled": False, "model": None}}},
        {
            "task_overrides": {
                "code": {
                    "provider": "openai",
                    "model": None,
                    "fallbacks": [
                        {"provider": "groq", "model": "a/b"},
                        {"provider": "mistral", "model": None},
                    ],
                }
            }
        },
        {"task_overrides": {"code": {"provider": "openai", "model": "gpt-x"}}},
        {"task_overrides": {"code": None}},
    ]


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("get_settings", ()),
    ("set_key", ("openai", "sk-x")),
    ("chat", ("Hello",)),
    ("stream", ("Hello",)),
    ("embed", ("Hello",)),
    ("explain_route", ()),
]


@pytest.mark.parametrize(("method", "arguments"), [*CALLS, ("openai", ()), ("for_user", (token(),))])
def test_every_call_of_a_closed_client_fails_immediately(
    project: Project, method: str, arguments: tuple[Any, ...]
) -> None:
    llm = SupaLLM(project.client())
    view = llm.for_user(token())
    view.get_settings()  # kept, so that only looking before the cache can refuse the second call
    project.requests.clear()
    llm.close()
    callers = [caller for caller in (llm, view) if hasattr(caller, method)]
    assert llm in callers
    for caller in callers:
        with pytest.raises(ConfigurationError) as caught:
            getattr(caller, method)(*arguments)
        assert (caught.value.code, bool(caught.value.hint)) == ("closed", True)
    assert project.requests == []
    assert llm.dropped_usage == 0


async def test_a_closed_asynchronous_client_and_its_views_fail_too() -> None:
    llm = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    view = llm.for_user(token())
    stream, client = view.stream("Hello"), view.async_openai()
    await llm.close()
    for method, arguments in (*CALLS, ("async_openai", ())):

        async def call(method: str = method, arguments: tuple[Any, ...] = arguments) -> None:
            made = getattr(view, method)(*arguments)
            if asyncio.iscoroutine(made):
                await made

        with pytest.raises(ConfigurationError) as caught:
            await call()
        assert caught.value.code == "closed", method
    with pytest.raises(ConfigurationError) as caught:
        await stream.open()
    assert caught.value.code == "closed"
    with pytest.raises(openai.APIStatusError) as refused:
        await client.models.list()
    assert refused.value.code == "closed"


async def test_the_lifespan_of_an_app_closes_the_client(project: Project) -> None:
    llm = SupaLLM(project.client())
    async with lifespan(llm)(object()):
        llm.for_user(token()).get_settings()
    asynchronous = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    async with lifespan(asynchronous)(object()):
        asynchronous.for_user(token())
    for closed in (llm, asynchronous):
        with pytest.raises(ConfigurationError):
            closed.for_user(token())


async def test_flush_reports_lost_usage() -> None:
    """Both clients share the recorder's answer, whose cases tests/unit/test_recorder.py has."""

    def refuse(call: Any, _: Any) -> Any:
        return call.parse([{"status": "refused", "code": "ticket_expired"} for _ in call.args["p_events"]])

    llm = SupaLLM(supabase.create_client("https://project.test", "key"))
    asynchronous = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    assert llm.flush()
    assert await asynchronous.flush()
    for client in (llm, asynchronous):
        client._resources.recorder._send = refuse
        client._resources.recorder.put({"ticket": "t"}, Identity(token()).token)
    assert not llm.flush()
    assert not await asynchronous.flush()
    assert llm.dropped_usage == asynchronous.dropped_usage == 1
    llm.close()
    await asynchronous.close()


WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("temperature", "chat", {"prompt": "x", "temperature": "canary"}),
    ("timeout", "chat", {"prompt": "x", "timeout": "3"}),
    ("prompt", "chat", {"prompt": ""}),
    ("task", "chat", {"prompt": "x", "task": 3}),
    ("since", "get_usage", {"since": "2026-01-01"}),
    ("before", "get_audit_log", {"before": "canary"}),
    ("key", "set_key", {"provider": "openai", "key": None}),
    ("provider", "set_key", {"provider": ["canary"], "key": "canary"}),
    ("texts", "embed", {"texts": None}),
]


@pytest.mark.parametrize(("name", "method", "arguments"), WRONG)
def test_an_invalid_argument_is_named_without_its_value(
    project: Project, name: str, method: str, arguments: dict[str, Any]
) -> None:
    with SupaLLM(project.client()) as llm, pytest.raises(InvalidInputError, match=f"'{name}'") as caught:
        getattr(llm.for_user(token()), method)(**arguments)
    assert "canary" not in str(caught.value)
    assert project.requests == []


@pytest.mark.parametrize("sb", [None, "https://project.test"])
def test_an_object_that_is_not_a_supabase_client_is_refused(sb: Any) -> None:
    for kind in (SupaLLM, AsyncSupaLLM):
        with pytest.raises(ConfigurationError, match="Client"):
            kind(sb)


def test_operator_keys_must_be_a_mapping(project: Project) -> None:
    with pytest.raises(ConfigurationError, match="operator_keys") as caught:
        SupaLLM(project.client(), operator_keys="sk-canary")  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)


def test_a_whole_authorization_header_is_refused_as_an_access_token(project: Project) -> None:
    with SupaLLM(project.client()) as llm, pytest.raises(NotSignedInError) as caught:
        llm.for_user(f"Bearer {token()}")
    assert 'without "Bearer "' in caught.value.hint
