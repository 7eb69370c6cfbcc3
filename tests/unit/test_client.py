"""Creating and using a client without a project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types import EmbeddingCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from supabase.lib.client_options import SyncClientOptions

import supabase
from supa_llm import (
    Admin,
    AsyncAdmin,
    AsyncSupaLLM,
    ConfigurationError,
    InvalidInputError,
    NotSignedInError,
    SupaLLM,
    lifespan,
)
from supa_llm.client.answers import chat_body, embeddings_body
from supa_llm.client.session import Identity
from supa_llm.panel import panel_endpoint
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
    "may_create_teams": True,
    "default_team": None,
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


SECRETS = ["sb_secret_canary", unsigned_token(role="service_role", canary=1)]
PUBLISHABLE = ["sb_publishable_canary", unsigned_token(role="anon", canary=1)]


async def clients(url: str, key: str, **options: Any) -> AsyncIterator[Callable[[], Any]]:
    """What makes each kind of object for one user or for the operator."""
    asynchronous = await supabase.create_async_client(url, key)
    yield lambda: SupaLLM(supabase.create_client(url, key), **options)
    yield lambda: AsyncSupaLLM(asynchronous, **options)
    yield lambda: panel_endpoint(url, key, **options)


@pytest.mark.parametrize("key", [*SECRETS, "slr_canary", "sbp_canary", token(salt="canary")])
async def test_only_a_publishable_key_runs_a_client(key: str) -> None:
    async for make in clients("https://project.test", key):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.code == "publishable_key_required"
        assert "SUPABASE_PUBLISHABLE_KEY" in caught.value.hint
        assert key not in str(caught.value)
    for publishable in PUBLISHABLE:
        async for make in clients("https://project.test", publishable):
            make()


@pytest.mark.parametrize("key", [*PUBLISHABLE, "slr_canary", "sbp_canary", token(salt="canary")])
def test_only_a_secret_key_makes_an_administrator(key: str) -> None:
    for kind in (Admin, AsyncAdmin):
        with pytest.raises(ConfigurationError) as caught:
            kind("https://project.test", key)
        assert caught.value.code == "secret_key_required"
        assert "SUPABASE_SECRET_KEY" in caught.value.hint
        assert key not in str(caught.value)
        for secret in SECRETS:
            kind("https://project.test", secret)


@pytest.mark.parametrize("secret", [*SECRETS, *PUBLISHABLE, "sbp_canary", token(salt="canary")])
async def test_only_a_runtimes_secret_makes_a_runtime(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"runtime_secret": secret}, {}):
        if not options:
            monkeypatch.setenv("SUPA_LLM_RUNTIME_SECRET", secret)
        async for make in clients("https://project.test", "sb_publishable_x", **options):
            with pytest.raises(ConfigurationError) as caught:
                make()
            assert caught.value.code == "runtime_secret_invalid"
            assert "SUPA_LLM_RUNTIME_SECRET" in caught.value.hint
            assert secret not in str(caught.value)


@pytest.mark.parametrize("given", [*SECRETS, *PUBLISHABLE, "slr_canary", "sbp_canary"])
async def test_only_an_access_token_names_a_user(given: str, project: Project) -> None:
    asynchronous = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    for llm in (SupaLLM(project.client()), asynchronous):
        with pytest.raises(NotSignedInError) as caught:
            llm.for_user(given)
        assert caught.value.code == "access_token_required"
        assert given not in str(caught.value)
    await asynchronous.close()
    assert project.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://canary.supabase.co/rest/v1",
        "https://canary.supabase.co/rest/v1/",
        "https://canary.supabase.co/auth/v1",
        "https://supabase.com/dashboard/project/canary",
        "https://canary.supabase.co/?apikey=canary",
    ],
)
async def test_the_url_is_that_of_a_project(url: str) -> None:
    async def makers() -> AsyncIterator[Callable[[], Any]]:
        yield lambda: Admin(url, "sb_secret_x")
        yield lambda: AsyncAdmin(url, "sb_secret_x")
        async for make in clients(url, "sb_publishable_x"):
            yield make

    async for make in makers():
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.code == "project_url_invalid"
        assert "SUPABASE_URL" in caught.value.hint
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "project.test", "ftp://project.test", "https://", "https://[x", "postgresql://a:canary@b/c", 3],
)
def test_an_administrators_url_is_checked(url: Any) -> None:
    for kind in (Admin, AsyncAdmin):
        with pytest.raises(ConfigurationError) as caught:
            kind(url, "sb_secret_x")
        assert caught.value.code == "project_url_invalid"
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://x.supabase.co", "https://x.supabase.co/", "http://127.0.0.1:54321", "https://x.y/supabase"],
)
def test_a_projects_url_is_accepted(url: str) -> None:
    Admin(url, "sb_secret_x")
    SupaLLM(supabase.create_client(url, "sb_publishable_x"))


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("tasks", "code", "task"),
        ("Task", "code", "task"),
        ("modell", "gpt", "model"),
        ("models", ["gpt"], "model"),
        ("provider", "groq", "model"),
        ("providers", ["groq"], "model"),
        ("max_token", 5, "max_tokens"),
        ("temprature", 1, "temperature"),
        ("time_out", 1, "timeout"),
        ("messages", [], "prompt"),
    ],
)
async def test_a_mistyped_argument_is_refused_with_the_one_that_is_meant(
    project: Project, name: str, value: Any, meant: str
) -> None:
    asynchronous = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    wrong: dict[str, Any] = {name: value}
    for user in (SupaLLM(project.client()).for_user(token()), asynchronous.for_user(token())):
        for method in (user.chat, user.stream):
            with pytest.raises(InvalidInputError, match=f"'{name}'") as caught:
                await awaited(method("Hello", **wrong))
            assert caught.value.code == "unknown_argument"
            assert f"Did you mean {meant!r}?" in caught.value.hint
    await asynchronous.close()
    assert project.requests == []


async def awaited(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


async def test_embed_refuses_mistyped_arguments_too(project: Project) -> None:
    asynchronous = AsyncSupaLLM(await supabase.create_async_client("https://project.test", "key"))
    for name, meant in (("tasks", "task"), ("dimension", "dimensions"), ("input", "texts")):
        wrong: dict[str, Any] = {name: "x"}
        for user in (SupaLLM(project.client()).for_user(token()), asynchronous.for_user(token())):
            with pytest.raises(InvalidInputError, match=f"Did you mean '{meant}'?"):
                await awaited(user.embed("Hello", **wrong))
    await asynchronous.close()
    assert project.requests == []


def test_no_parameter_of_openai_counts_as_mistyped() -> None:
    known = [*CompletionCreateParamsNonStreaming.__annotations__, *EmbeddingCreateParams.__annotations__]
    others = {name: None for name in known if name not in ("messages", "model", "stream", "input")}
    assert len(others) > 25
    for name in others:
        if name not in ("tools", "max_tokens", "temperature"):
            chat_body("Hello", **{name: None})
        if name != "dimensions":
            embeddings_body("Hello", **{name: None})
    assert chat_body("Hello", provider={"order": ["groq"]})["provider"] == {"order": ["groq"]}  # OpenRouter's


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
