"""Random calls of every RPC, by every kind of caller: no failure of the server, no uncoded error, no secret.

The calls come from three places: PostgREST's own description of the API (schemathesis), valid arguments with
one value replaced by hostile JSON, and queries and headers that PostgREST evaluates on a result. They are the
same in every run. The stack is this module's own, because administrators are among the callers, and because
the last tests read its logs.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.database.arguments import arguments_of
from tests.database.support import Caller, Http, logging_project, new_user
from tests.database.surface import RPCS
from tests.database.test_limits import codes
from tests.support import Stack, unique

#: Errors of PostgREST and PostgreSQL about a request that reaches no function of supa-llm.
FOREIGN: Mapping[str, str] = {
    "PGRST100": "the query or a header cannot be parsed",
    "PGRST101": "the method is neither GET nor POST",
    "PGRST102": "the body is not JSON, or not of its content type",
    "PGRST103": "the page begins before the first row or after the last one",
    "PGRST106": "the schema is not exposed",
    "PGRST107": "the response has no such format",
    "PGRST116": "not exactly one row, where the request asks for one",
    "PGRST122": "an unknown preference, where the request asks for strictness",
    "PGRST123": "the query contains an aggregate",
    "PGRST200": "the query joins the result with a table",
    "PGRST202": "there is no function with these arguments",
    "PGRST301": "the access token is malformed",
    "22003": "a number is too large for the type of its argument",
    "22007": "a text is not a date or time",
    "22008": "a date or time is outside the range of its type",
    "22P02": "a text is not of the type of its argument",
    "22P05": "a text contains \\u0000, which PostgreSQL cannot store",
    "25006": "a function that writes is called with GET",
    "54000": "a list has more than six dimensions",
    "42501": "the role may not execute the function",
    "42703": "the query names a field that the result does not have",
    "42883": "the body is not an object with arguments",
}

#: Coded errors that are failures of the server, which docs/errors.md documents as such.
BROKEN = {"key_unreadable", "master_key_missing", "rows_missing"}


#: As PostgreSQL logs by default, which the local stack does not, and with the state of each error.
LOGGING = {
    "log_min_error_statement": "error",
    "log_error_verbosity": "default",
    "log_line_prefix": "<%p %e> ",
}


@dataclass(frozen=True)
class Scene:
    """The stack, its callers by name, and secrets that no answer and no log may contain.

    Attributes:
        logs: the directory with the logs of PostgreSQL, PostgREST and Supabase Auth.
        foreign: secrets of somebody else, or of the project.
        own: secrets of the callers.
    """

    http: Http
    logs: Path
    callers: Mapping[str, Caller]
    foreign: tuple[str, ...]
    own: tuple[str, ...]
    documents: Mapping[str, Any]

    def send(self, role: str, method: str, path: str, content: str | bytes, headers: Any = ()) -> None:
        """Send a request, and check its answer."""
        try:
            answer = self.http.send(self.callers[role], method, path, content=content, headers=headers)
        except httpx.InvalidURL:
            return
        sent = f"{role} {method} {path[:500]} {headers} {content[:500]!r} → {answer.status_code}"
        check(answer, sent)
        assert [it for it in self.foreign if it in answer.text] == [], sent
        keyed = ("reveal_llm_key", "resolve_llm_route", "begin_llm_key_check", "_llm_runtime")
        if not any(name in path for name in keyed):
            assert [it for it in self.own if it in answer.text] == [], sent


def check(answer: httpx.Response, sent: str) -> None:
    """Assert that an answer is a success or a documented error."""
    if answer.status_code < 400 or answer.request.method == "HEAD":
        assert answer.status_code < 500, sent
        return
    error = answer.json()
    code = str(error.get("code"))
    if code.startswith("PT"):
        assert error["details"] in codes(), f"{sent}: {answer.text}"
        assert answer.status_code < 500 or error["details"] in BROKEN, f"{sent}: {answer.text}"
    else:
        assert code in FOREIGN, f"{sent}: {answer.text}"
        assert answer.status_code < 500, f"{sent}: {answer.text}"


def described(stack: Stack, caller: Caller, http: Http) -> Any:
    """Return PostgREST's description of the API for a role. The gateway shows it to administrators only."""
    assert stack.jwt_secret
    headers = {"apikey": stack.secret_key}
    if caller.role != "service_role":
        claims = {"role": caller.role, **(caller.claims or {})}
        headers["authorization"] = f"Bearer {jwt.encode(claims, stack.jwt_secret, 'HS256')}"
    document = http.client.get("", headers=headers).json()
    for path, operations in list(document["paths"].items()):
        if not path.startswith("/rpc/") or "llm" not in path:
            del document["paths"][path]
            continue
        for parameter in operations["post"]["parameters"]:
            if parameter.get("in") == "body":
                # PostgREST finds no function with further arguments.
                parameter["schema"]["additionalProperties"] = False
    return schemathesis.openapi.from_dict(document)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("fuzz")
    with logging_project(directory, LOGGING) as (http, admin):
        with pytest.raises(psycopg.Error):
            admin.execute('select llm_private.resting_models(\'{"m": "a decoy"}\')')
        yield populated(http, http.stack, directory, admin)


def populated(http: Http, stack: Stack, directory: Path, admin: psycopg.Connection[Any]) -> Scene:
    victim, user = new_user(http), new_user(http)
    runtime, victims = (
        http.admin.rpc("register_llm_runtime", p_name=unique(name))["secret"] for name in ("app", "other")
    )
    keys = [f"gsk_{secrets.token_hex(16)}" for _ in range(2)]
    for owner, key in zip((victim, user), keys, strict=True):
        owner.rpc("set_llm_key", provider="groq", key=key)
        owner.rpc("resolve_llm_route")
        owner.records()
    route = victim.through(victims).rpc("resolve_llm_route")
    (master,) = admin.execute(
        "select d.decrypted_secret from llm_private.master_keys as m"
        " inner join vault.decrypted_secrets as d on d.id = m.vault_secret_id"
    ).fetchone() or ("",)
    callers = {
        "anon": http.anon,
        "user": user,
        "user through a runtime": user.through(runtime),
        "administrator": http.admin,
    }
    tokens = [jwt.encode(dict(it.claims or {}), stack.jwt_secret or "") for it in (victim, user)]
    foreign = (keys[0], victims, tokens[0], route["ticket"], master, stack.jwt_secret or "")
    documents = {name: described(stack, it, http) for name, it in callers.items()}
    return Scene(http, directory / "logs", callers, foreign, (keys[1], runtime, tokens[1]), documents)


ROLES = ("anon", "user", "user through a runtime", "administrator")


def runs(test: Callable[..., None], function: str, examples: int, exhaustive: bool) -> None:
    """Run a test with examples that differ between functions, and are the same in each run."""
    chosen = settings(
        max_examples=examples * (20 if exhaustive else 1),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    seed(zlib.crc32(function.encode()))(chosen(test))()


# What PostgREST describes ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", RPCS)
def test_calls_that_postgrest_describes(scene: Scene, exhaustive: bool, function: str) -> None:
    for role in ROLES:
        document = scene.documents[role]
        if f"/rpc/{function}" not in document.raw_schema["paths"]:
            continue
        operation = document[f"/rpc/{function}"]["POST"]
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            send_cases(scene, role, function, operation.as_strategy(generation_mode=mode), exhaustive)


def send_cases(scene: Scene, role: str, function: str, cases: Any, exhaustive: bool) -> None:
    @given(cases)
    def sends(case: Any) -> None:
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str)
        scene.send(role, "POST", f"rpc/{function}", body, dict(case.headers or {}))

    runs(sends, function, 3, exhaustive)


# Hostile JSON ---------------------------------------------------------------------------------------

NUMBERS = (
    *("0", "-0", "-1", "1.5", "1e400", "-1e400", "1e131071", "0e-16383", "1e-400", "2147483648", "32768"),
    *(
        "9223372036854775808",
        "99999999999999999999999999",
        "1E5",
        "00",
        "+1",
        "1.",
        "0x10",
        "NaN",
        "Infinity",
    ),
)
STRINGS = (
    *('""', '" "', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d"', '"\\u12"'),
    *('"\\x"', '"\x01"', '"\t"', '"\x7f"', '"\\u001f"', '"\\u202e"', '"🔑"', '"é"', '"\\\\"', '"%"', '"_"'),
    *('"NaN"', '"Infinity"', '"-Infinity"', '"now"', '"infinity"', '"-infinity"', '"epoch"', '"today"'),
    *('"294277-01-01"', '"4714-11-24 BC"', '"9999-12-31"', '"0001-01-01"', '"10000-01-01"', '"24:00"'),
    *('"00000000-0000-0000-0000-000000000000"', '"{00000000-0000-7000-8000-000000000000}"', '"groq"'),
    *('"ffffffff-ffff-7fff-bfff-ffffffffffff"', '"*"', '"groq/*"', '"(other)"', '"\'; drop table x; --"'),
    *('"$1"', '"^(a+)+$"', '"1 day"', '"-1 day"', '"178000000 years"', '"true"', '"null"', '"[]"', '"{}"'),
    *(f'"{"a" * length}"' for length in (33, 65, 201, 321, 5000, 100_000)),
)
# PostgREST compares the name of an unknown argument with those of all functions, in a time that grows with
# the square of its length: 10,000 characters take it 15 seconds. So the long name here has 300.
OTHERS = (
    *(
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[[],[[]]]",
        '[1,"a",null,{}]',
        "[,]",
        "{,}",
        "",
    ),
    *('{"":1}', '{"a":1,"a":2}', '{"\\u0000":1}', '{"\\ud800":1}', f'{{"{"a" * 300}":1}}', "{'a':1}"),
    *("[" * depth + "]" * depth for depth in (10, 1000, 7000)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (10, 1000, 7000)),
    *("[" + "1," * 20_000 + "1]", "[" * 100_000, '{"provider":"groq","provider":"openai","key":"gsk_1"}'),
)
HOSTILE = st.recursive(
    st.sampled_from((*NUMBERS, *STRINGS, *OTHERS)) | st.text(max_size=20).map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.text(max_size=8).map(json.dumps), inner, max_size=3).map(
            lambda items: "{" + ",".join(f"{name}:{value}" for name, value in items.items()) + "}"
        )
    ),
    max_leaves=4,
)
_HOLE = "hole-4711"


def holes(value: Any) -> Iterator[Any]:
    """Yield a value once for each place in it, with a hole there."""
    yield _HOLE
    match value:
        case dict():
            for name, inner in value.items():
                yield from ({**value, name: it} for it in holes(inner))
            yield {**value, "more": _HOLE}
        case list():
            for number, inner in enumerate(value):
                yield from ([*value[:number], it, *value[number + 1 :]] for it in holes(inner))


def parameters(scene: Scene, role: str, function: str) -> list[str]:
    """Return the names of the arguments that PostgREST describes."""
    body = scene.documents[role].raw_schema["paths"][f"/rpc/{function}"]["post"]["parameters"][0]
    return [name for name in body["schema"].get("properties", {}) if name]


@pytest.mark.parametrize("function", RPCS)
def test_hostile_json_in_every_place(scene: Scene, exhaustive: bool, function: str) -> None:
    roles = [role for role in ROLES if f"/rpc/{function}" in scene.documents[role].raw_schema["paths"]]
    arguments = arguments_of(function)
    places = [
        *holes(arguments),
        *({**arguments, name: _HOLE} for name in parameters(scene, roles[0], function)),
    ]

    @given(st.sampled_from(roles), st.sampled_from(places), HOSTILE)
    def sends(role: str, place: Any, text: str) -> None:
        body = json.dumps(place).replace(f'"{_HOLE}"', text)
        scene.send(role, "POST", f"rpc/{function}", body.encode(errors="surrogatepass"))

    runs(sends, function, 25, exhaustive)


# Queries and headers --------------------------------------------------------------------------------

QUERIES = (
    *(
        "select=*",
        "select=pgrst_scalar",
        "select=a",
        "select=count()",
        "select=id.max()",
        "select=*,llm_keys(*)",
    ),
    *(
        "order=id",
        "order=a->b",
        "order=pgrst_scalar.desc.nullslast",
        "columns=p_task",
        "columns=",
        "columns=a,b",
    ),
    *(
        "id=eq.1",
        "id=in.(1,2)",
        "pgrst_scalar=like.a%25",
        "or=(a.eq.1,b.eq.2)",
        "and=(",
        "not.or=(id.is.null)",
    ),
    *(
        "pgrst_scalar=match.(",
        "pgrst_scalar->>a=is.null",
        "detail->a->>b=eq.1",
        "user_id=neq.1",
        "a=b",
        "=",
        "%00",
    ),
    *(
        "limit=1",
        "limit=-1",
        "limit=99999999999999999999",
        "offset=1",
        "offset=-1",
        "limit=a",
        "on_conflict=id",
    ),
    *(
        "p_task=speed",
        "p_task=a&p_task=b",
        "p_provider=groq",
        "p_id=1",
        "p_user_id=a",
        "p_by={model}",
        "p_by={",
    ),
)
HEADERS: tuple[tuple[str, str], ...] = (
    *(("prefer", it) for it in ("count=exact", "count=planned", "count=estimated", "return=minimal", "a=b")),
    *(("prefer", it) for it in ("params=single-object", "params=multiple-objects", "missing=default")),
    *(("prefer", it) for it in ("handling=strict, a=b", "tx=rollback", "max-affected=0, handling=strict")),
    *(("prefer", it) for it in ("timezone=Europe/Berlin", "handling=strict, timezone=nowhere")),
    *(
        ("accept", it)
        for it in ("text/csv", "text/plain", "application/octet-stream", "image/png", "a", "*/*")
    ),
    *(("accept", f"application/vnd.pgrst.{it}") for it in ("object+json", "plan+json", "array+json")),
    *(("range", it) for it in ("0-1", "5-1", "1-", "-1", "a-b", "0-99999999999999999999", "bytes=0-1")),
    *(("content-type", it) for it in ("text/csv", "text/plain", "application/octet-stream", "text/xml", "a")),
    ("content-type", "application/x-www-form-urlencoded"),
    *(("accept-profile", it) for it in ("llm_private", "auth", "public", "")),
    *(("content-profile", it) for it in ("llm_private", "vault", "public")),
    *(("x-llm-runtime", it) for it in ("", "slr_", "slr_" + "a" * 43, "a" * 200, "%00", "'")),
    *(("authorization", it) for it in ("", "Bearer", "Bearer a", "Bearer a.b.c", "Basic YTpi")),
    *(("x-http-method-override", it) for it in ("GET", "DELETE")),
    ("role", "service_role"),
)


METHODS = (*("POST", "GET") * 5, "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize("function", RPCS)
def test_queries_and_headers(scene: Scene, exhaustive: bool, function: str) -> None:
    roles = [role for role in ROLES if f"/rpc/{function}" in scene.documents[role].raw_schema["paths"]]
    content = json.dumps(arguments_of(function))

    @given(
        st.sampled_from(roles),
        st.sampled_from(METHODS),
        st.lists(st.sampled_from(QUERIES), max_size=2),
        st.lists(st.sampled_from(HEADERS), max_size=3, unique_by=lambda it: it[0]),
    )
    def sends(role: str, method: str, queries: list[str], headers: list[tuple[str, str]]) -> None:
        path = f"rpc/{function}?{'&'.join(queries)}"
        scene.send(role, method, path, "" if method in ("GET", "HEAD") else content, headers)

    runs(sends, function, 20, exhaustive)


# What the calls above left ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """An error in PostgreSQL's log."""

    state: str
    text: str


def errors(log: str) -> Iterator[Entry]:
    """Yield the errors of a log, each with its detail, context and statement."""
    running: dict[str, Entry] = {}
    for line in re.split(r"\n(?=<)", log):
        found = re.match(r"<(\d+) (\w{5})> (\w+):", line)
        if found is None:
            continue
        process, state, kind = found.groups()
        if kind in ("ERROR", "FATAL", "PANIC"):
            if process in running:
                yield running[process]
            running[process] = Entry(state, line)
        elif process in running and kind in ("DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY"):
            running[process] = Entry(running[process].state, f"{running[process].text}\n{line}")
    yield from running.values()


def test_no_function_of_supa_llm_raised_an_uncoded_error(scene: Scene) -> None:
    """The context of an error in PostgreSQL's log names the functions in which it was raised."""
    log = (scene.logs / "postgres.log").read_text(errors="replace")
    within = re.compile(r"CONTEXT: .*?function \"?(\w+\.)?\w+", re.DOTALL)
    uncoded = {
        entry.text[:2000]
        for entry in errors(log)
        # 25006: PostgREST runs a GET in a read-only transaction.
        if not entry.state.startswith("PT") and entry.state != "25006" and within.search(entry.text)
    }
    assert any("a decoy" in text for text in uncoded), "errors are not found"
    assert {text for text in uncoded if "a decoy" not in text} == set()


def test_no_log_contains_a_secret(scene: Scene) -> None:
    for path in scene.logs.iterdir():
        log = path.read_text(errors="replace")
        assert [it[:6] for it in (*scene.foreign, *scene.own) if it in log] == [], path.name
