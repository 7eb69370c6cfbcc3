"""Responses of the data API as values and errors, without a database."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from supa_llm.database import key_checks, keys, prices, routes, settings, usage
from supa_llm.database.transport import AsyncDatabase, Database, Project
from supa_llm.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseError,
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidInputError,
    NoCandidateError,
    NotFoundError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.secrets import Secret

PROJECT = Project("https://project.test/rest/v1", "sb_publishable_x", Secret("the-runtime"))
TOKEN = Secret("the-token")
Answer = Callable[[httpx.Request], httpx.Response]


def database(answer: Answer, project: Project = PROJECT) -> Database:
    return Database(project, httpx.Client(transport=httpx.MockTransport(answer)))


def noting(requests: list[httpx.Request]) -> Answer:
    """Keeps the requests, and responds with an empty list."""

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=[])

    return answer


def coded(code: str, details: str | None = "stable_code") -> Answer:
    body = {"code": code, "message": "What went wrong.", "details": details, "hint": "Do this."}
    return lambda _: httpx.Response(400, json=body)


def failure(answer: Answer) -> SupaLLMError:
    with pytest.raises(SupaLLMError) as caught:
        database(answer).run(keys.list_keys(), TOKEN)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def test_a_call_has_the_users_token_and_the_runtime_secret() -> None:
    seen: list[httpx.Request] = []
    database(noting(seen)).run(keys.list_keys(), TOKEN)
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", "/rest/v1/rpc/list_llm_keys")
    assert request.headers["apikey"] == "sb_publishable_x"
    assert request.headers["authorization"] == "Bearer the-token"
    assert request.headers["x-llm-runtime"] == "the-runtime"


@pytest.mark.parametrize(
    ("key", "authorization"), [("sb_secret_x", None), ("eyJhbGciOi.x.y", "Bearer eyJhbGciOi.x.y")]
)
def test_without_a_token_the_api_key_decides_the_role(key: str, authorization: str | None) -> None:
    """The API key of an older project is a token, and is also sent as one."""
    seen: list[httpx.Request] = []
    http = httpx.Client(transport=httpx.MockTransport(noting(seen)))
    Database(Project("https://project.test/rest/v1", key), http).run(prices.list_prices())
    (request,) = seen
    assert request.headers["apikey"] == key
    assert request.headers.get("authorization") == authorization


def test_a_key_without_administrator_rights_differs_from_an_invalid_token() -> None:
    with pytest.raises(ForbiddenError) as caught:
        database(coded("42501"), replace(PROJECT, runtime_secret=None)).run(prices.end_price(1))
    assert caught.value.code == "secret_key_required"
    assert "sb_publishable" not in str(caught.value)


def test_a_runtime_without_a_users_token_is_no_administrator() -> None:
    with pytest.raises(NotSignedInError):
        database(coded("42501")).run(usage.record_usage_batch([]))


def test_an_unknown_api_key_is_reported() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": "Invalid API key", "hint": "Double check it."})

    assert failure(refuse).code == "api_key_refused"


PAGE = "<!doctype html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"html": PAGE}),
        (301, {"headers": {"location": "https://example.com/"}}),
        (404, {"html": PAGE}),
        (404, {"json": {"error": "not found"}}),
        (405, {}),
    ],
)
async def test_a_server_that_is_not_a_supabase_project_is_named(status: int, content: dict[str, Any]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, **content)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    with pytest.raises(DatabaseError) as caught:
        await AsyncDatabase(PROJECT, http).run(keys.list_keys(), TOKEN)
    for error in (failure(answer), caught.value):
        assert error.code == "project_url_invalid"
        assert "SUPABASE_URL" in error.hint


def test_a_web_page_is_never_the_success_of_a_call_without_a_result() -> None:
    with pytest.raises(DatabaseError):
        database(lambda _: httpx.Response(200, html=PAGE)).run(keys.remove_key("openai"), TOKEN)


def test_a_key_is_the_whole_body() -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return coded("PT400")(request)

    with pytest.raises(InvalidInputError):
        database(answer).run(keys.set_key("openai", "sk-1"), TOKEN)
    assert seen == [{"provider": "openai", "key": "sk-1"}]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("PT400", InvalidInputError),
        ("PT401", NotSignedInError),
        ("PT403", ForbiddenError),
        ("PT404", NotFoundError),
        ("PT409", ConflictError),
        ("PT422", NoCandidateError),
        ("PT429", NoCandidateError),
        ("PT500", DatabaseError),
    ],
)
def test_a_coded_error_keeps_its_message_code_and_hint(code: str, kind: type[SupaLLMError]) -> None:
    error = failure(coded(code))
    assert type(error) is kind
    assert (error.code, error.hint) == ("stable_code", "Do this.")
    assert str(error) == "What went wrong. Do this."


@pytest.mark.parametrize("code", ["PGRST300", "PGRST301", "PGRST302", "PGRST303", "42501"])
def test_a_refused_token_means_not_signed_in(code: str) -> None:
    assert type(failure(coded(code))) is NotSignedInError


def test_a_missing_function_hints_at_the_migrations() -> None:
    error = failure(coded("PGRST202"))
    assert (type(error), error.code) == (ConfigurationError, "migrations_missing")
    assert "db push" in error.hint
    assert "notify pgrst" in error.hint


@pytest.mark.parametrize(
    "code", ["PGRST000", "PGRST002", "PGRST003", "08006", "40P01", "53300", "57P03", "57014"]
)
def test_transient_failures_differ_from_permanent_ones(code: str) -> None:
    assert type(failure(coded(code))) is DatabaseUnavailableError


@pytest.mark.parametrize("code", ["23505", "22P02", "PGRST116", "XX000", ""])
def test_an_uncoded_message_is_not_repeated(code: str) -> None:
    error = failure(coded(code, details="Failing row contains (sk-canary)"))
    assert type(error) is DatabaseError
    assert "What went wrong" not in str(error)
    assert "canary" not in repr(vars(error)) + str(error)
    assert code in str(error)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_its_backend_is_unavailable(status: int) -> None:
    error = failure(lambda _: httpx.Response(status, html="<h1>sk-canary</h1>"))
    assert type(error) is DatabaseUnavailableError
    assert "canary" not in str(error)


def test_a_redirect_or_an_unparsable_response_is_an_error() -> None:
    assert (
        type(failure(lambda _: httpx.Response(302, headers={"location": "https://elsewhere.test"})))
        is DatabaseError
    )
    assert failure(lambda _: httpx.Response(200, json={"keys": 1})).code == "unexpected_answer"
    assert failure(lambda _: httpx.Response(200, text="hello")).code == "unexpected_answer"


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("sk-canary"), httpx.ReadTimeout("sk-canary"), httpx.InvalidURL("x")]
)
def test_a_network_error_is_reported_without_its_details(error: Exception) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    raised = failure(fail)
    assert type(raised) is DatabaseUnavailableError
    assert "canary" not in str(raised)
    assert type(error).__name__ in str(raised)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut", "\x00"])
def test_a_token_that_is_invalid_in_a_header_is_not_sent(token: str) -> None:
    sent: list[httpx.Request] = []
    with pytest.raises(NotSignedInError) as caught:
        database(noting(sent)).run(keys.list_keys(), Secret(token))
    assert sent == []
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"])
def test_arguments_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        database(lambda _: httpx.Response(200)).run(settings.set_settings({"x": value}), TOKEN)
    assert caught.value.__context__ is None


def test_a_closed_client_reports_that_it_is_closed() -> None:
    http = httpx.Client()
    http.close()
    with pytest.raises(ConfigurationError) as caught:
        Database(PROJECT, http).run(keys.list_keys(), TOKEN)
    assert caught.value.code == "closed"


async def test_tasks_get_the_same_errors() -> None:
    async def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("sk-canary")

    async with httpx.AsyncClient(transport=httpx.MockTransport(away)) as http:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await AsyncDatabase(PROJECT, http).run(keys.list_keys(), TOKEN)
    assert caught.value.__context__ is None
    async with httpx.AsyncClient(transport=httpx.MockTransport(coded("PT409"))) as http:
        with pytest.raises(ConflictError):
            await AsyncDatabase(PROJECT, http).run(keys.list_keys(), TOKEN)


def test_a_repr_shows_no_secret() -> None:
    assert "the-runtime" not in repr(PROJECT)
    assert "sb_publishable" not in repr(PROJECT)
    assert "sk-1" not in repr(keys.set_key("openai", "sk-1"))


# A key leaves only under a committed record -----------------------------------------------------------


def in_turn(bodies: list[dict[str, Any]], *answers: Any) -> Answer:
    """Responds with one answer after the other, and keeps what was sent."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=left.pop(0))

    return answer


AGAIN: dict[str, Any] = {"again": True}
CHECK = {
    "check_id": "01990000-0000-7000-8000-000000000001",
    "provider": "groq",
    "base_url": "https://groq.test",
    "wire_format": "openai",
    "key_header": "authorization",
    "key_scheme": "Bearer",
    "key_check_path": None,
    "key": "gsk_x",
}


def test_a_key_is_requested_again_once_its_record_is_committed() -> None:
    sent: list[dict[str, Any]] = []
    key = database(in_turn(sent, AGAIN, {"key": "gsk_x"})).run(keys.reveal_key("groq"), TOKEN)
    assert key == "gsk_x"
    assert sent == [{"p_provider": "groq"}] * 2

    sent.clear()
    route: dict[str, Any] = {"task": None, "candidates": [], "expires_at": None}
    call = routes.resolve_route(None, None, ["chat"], ())
    database(in_turn(sent, AGAIN, AGAIN, route)).run(call, TOKEN)
    assert sent == [dict(call.args)] * 3


def test_a_key_check_goes_on_with_the_check_that_has_begun() -> None:
    sent: list[dict[str, Any]] = []
    answers = in_turn(sent, AGAIN | {"check_id": CHECK["check_id"]}, CHECK)
    begun = database(answers).run(key_checks.begin_key_check("groq", "gsk_typed"), TOKEN)
    assert str(begun.check_id) == CHECK["check_id"]
    assert sent == [{"provider": "groq", "key": "gsk_typed"}, {"check_id": CHECK["check_id"]}]


def test_a_key_that_never_comes_is_not_requested_forever() -> None:
    sent: list[dict[str, Any]] = []
    with pytest.raises(DatabaseUnavailableError):
        database(in_turn(sent, *[AGAIN] * 9)).run(keys.reveal_key("groq"), TOKEN)
    assert len(sent) == 3


async def test_tasks_request_a_key_again_too() -> None:
    sent: list[dict[str, Any]] = []
    http = httpx.AsyncClient(transport=httpx.MockTransport(in_turn(sent, AGAIN, {"key": "gsk_x"})))
    assert await AsyncDatabase(PROJECT, http).run(keys.reveal_key("groq"), TOKEN) == "gsk_x"
    sent.clear()
    http = httpx.AsyncClient(transport=httpx.MockTransport(in_turn(sent, *[AGAIN] * 9)))
    with pytest.raises(DatabaseUnavailableError):
        await AsyncDatabase(PROJECT, http).run(keys.reveal_key("groq"), TOKEN)
    assert len(sent) == 3


def test_other_answers_that_say_again_are_answers() -> None:
    """Only calls that return a key are repeated."""
    sent: list[dict[str, Any]] = []
    with pytest.raises(DatabaseError):
        database(in_turn(sent, AGAIN)).run(keys.list_keys(), TOKEN)
    assert len(sent) == 1


# Requests that are sent once more ---------------------------------------------------------------------


class Forgetful:
    """A server that answers the first request of a connection, and hangs up at the second."""

    def __init__(self) -> None:
        self.requests = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def project(self) -> Project:
        return replace(PROJECT, rest_url=f"http://127.0.0.1:{self._server.getsockname()[1]}")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        self._read(connection)
        body = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
        connection.sendall(body)
        self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n{" not in received and (more := connection.recv(65536)):
            received += more
        self.requests += bool(received)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def forgetful() -> Iterator[Forgetful]:
    server = Forgetful()
    yield server
    server.close()


def test_a_call_is_repeated_if_an_idle_connection_was_closed(forgetful: Forgetful) -> None:
    with httpx.Client(trust_env=False) as http:
        database = Database(forgetful.project, http)
        for _ in range(3):
            assert database.run(keys.list_keys(), TOKEN) == []
    assert forgetful.requests == 5


async def test_tasks_repeat_a_call_if_an_idle_connection_was_closed(forgetful: Forgetful) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        database = AsyncDatabase(forgetful.project, http)
        for _ in range(3):
            assert await database.run(keys.list_keys(), TOKEN) == []
    assert forgetful.requests == 5


def test_a_change_is_not_repeated_if_it_may_have_happened(forgetful: Forgetful) -> None:
    with httpx.Client(trust_env=False) as http:
        database = Database(forgetful.project, http)
        assert database.run(keys.list_keys(), TOKEN) == []
        with pytest.raises(DatabaseUnavailableError):
            database.run(keys.remove_key("groq"), TOKEN)
    assert forgetful.requests == 2


def test_a_call_is_repeated_only_once() -> None:
    sent: list[httpx.Request] = []

    def hang_up(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.")

    assert type(failure(hang_up)) is DatabaseUnavailableError
    assert len(sent) == 2


NOT_YET = [
    ("PGRST301", "JWTIssuedAtFuture"),
    ("PGRST303", "JWT issued at future"),
    ("PGRST303", "JWT not yet valid"),
]


def not_yet(code: str, message: str, sent: list[httpx.Request], times: int) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) <= times:
            return httpx.Response(401, json={"code": code, "message": message, "details": None, "hint": None})
        return httpx.Response(200, json=[])

    return answer


@pytest.mark.parametrize(("code", "message"), NOT_YET)
def test_a_token_that_is_not_valid_yet_is_sent_again(code: str, message: str) -> None:
    sent: list[httpx.Request] = []
    assert database(not_yet(code, message, sent, 2)).run(keys.remove_key("groq"), TOKEN) is None
    assert len(sent) == 3


def test_a_token_that_stays_invalid_for_now_is_a_transient_failure() -> None:
    sent: list[httpx.Request] = []
    began = time.monotonic()
    assert type(failure(not_yet(*NOT_YET[1], sent, 99))) is DatabaseUnavailableError
    assert (len(sent), time.monotonic() - began < 2.5) == (4, True)


async def test_tasks_send_a_token_that_is_not_valid_yet_again() -> None:
    sent: list[httpx.Request] = []
    transport = httpx.MockTransport(not_yet(*NOT_YET[0], sent, 1))
    async with httpx.AsyncClient(transport=transport) as http:
        assert await AsyncDatabase(PROJECT, http).run(keys.list_keys(), TOKEN) == []
    assert len(sent) == 2


def test_an_expired_token_is_not_sent_again() -> None:
    sent: list[httpx.Request] = []
    assert type(failure(not_yet("PGRST303", "JWT expired", sent, 1))) is NotSignedInError
    assert len(sent) == 1
