"""A key leaves only under a record that is already committed, however its caller breaks the transaction.

PostgREST applies filters, orders and casts to the result of a function, in the function's transaction. An
error in them undoes what the function wrote, and whether there is one depends on the result. Bit by bit, a
caller could read the key while the audit log stays empty. The tests break the transactions of two users whose
keys differ.

Such calls are refused before they begin (see test_locks.py). Keys must not depend on that check, because it
reads PostgREST's statement, so most tests run without it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.database.support import Caller, Connection, Http, Transaction, new_user, owner, refused
from tests.support import Stack, asks_again, key_for, next_arguments, unique, wait_until

#: They have the same masked hint, and differ in the fifth character.
KEYS = ("gsk_A000000000000000000000000000same", "gsk_B000000000000000000000000000same")
PREFIX = "gsk_A"


@dataclass(frozen=True)
class Rpc:
    """A function that returns a key.

    Attributes:
        action: the action of its entry in the audit log.
        places: where its result may contain the key, in PostgREST's notation.
    """

    name: str
    arguments: Mapping[str, Any]
    action: str
    places: tuple[str, ...]


RPCS = (
    Rpc("reveal_llm_key", {"p_provider": "groq"}, "key_revealed", ("pgrst_scalar", "pgrst_scalar->>key")),
    Rpc("resolve_llm_route", {}, "lease", ("pgrst_scalar->candidates->0->>key", "pgrst_scalar->>again")),
    Rpc("begin_llm_key_check", {"provider": "groq"}, "key_checked", ("pgrst_scalar->>key",)),
)


@dataclass(frozen=True)
class Attack:
    """A query and headers that may break the transaction of a computed result. {} is the key's place."""

    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def at(self, place: str) -> Attack:
        return replace(self, query=self.query.replace("{}", place))


#: All operators of filters, and values that fail for some operators, for some keys, or once they are reached.
OPERATORS = (
    *("eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "isdistinct", "in", "is"),
    *("fts", "plfts", "phfts", "wfts", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj"),
    *("like(any)", "like(all)", "ilike(any)", "match(any)", "match(all)", "eq(any)"),
    *("not.like", "not.match", "not.in", "not.eq"),
)
VALUES = (
    f"{PREFIX}\\",
    f"{PREFIX}*",
    f"{PREFIX}(",
    f"{PREFIX}{{1,9999}}",
    f"{{{PREFIX}\\\\}}",
    f"({PREFIX})",
    "1",
)
RAISES = f"like.{PREFIX}\\"
OBJECT = {"accept": "application/vnd.pgrst.object+json"}

FILTERS = [Attack(f"{{}}={operator}.{value}") for operator in OPERATORS for value in VALUES]
CASTS = [
    Attack(f"select={column}::{kind}")
    for kind in ("int", "uuid", "date", "json", "bytea", "boolean", "text")
    for column in ("pgrst_scalar", "{}", "x:{}", "pgrst_scalar:{}")
]
TREES = [
    Attack(f"or=({{}}.{RAISES},{{}}.is.null)"),
    Attack(f"and=({{}}.like.{PREFIX}*,{{}}.{RAISES})"),
    Attack(f"not.and=({{}}.like.{PREFIX}*,{{}}.match.{PREFIX}[)"),
    Attack(f"or=(and({{}}.like.{PREFIX}*,{{}}.imatch.{PREFIX}[),{{}}.is.null)"),
    Attack(f"{{}}=like.{PREFIX}*&{{}}={RAISES}"),
    Attack(f"select=x:{{}}::int&{{}}=like.{PREFIX}*"),
    Attack(f"select=x:{{}}::int&{{}}=not.like.{PREFIX}*"),
]
ORDERS = [Attack(f"order={how}") for how in ("{}", "{}.desc.nullsfirst", "pgrst_scalar", "{}->0", "none")]
SELECTS = [
    Attack(f"select={what}")
    for what in (
        "x:{}",
        "{}",
        "pgrst_scalar.max()",
        "{}.count()",
        "count()",
        "none",
        "pgrst_scalar,x:{}",
        "*,a(*)",
    )
]
# PostgREST also rolls back if the response is an error, such as too many or too few rows.
HEADERS = [
    Attack(f"{{}}={sieve}{PREFIX}*{more}", headers)
    for sieve in ("like.", "not.like.")
    for more, headers in (
        ("", OBJECT),
        ("", {"accept": "text/csv"}),
        ("", {"accept": "application/vnd.pgrst.plan"}),
        ("", {"accept": "application/vnd.pgrst.plan+json; options=analyze"}),
        ("", {"accept": "application/geo+json"}),
        ("", {"accept": "application/octet-stream"}),
        ("", {"accept": "text/plain"}),
        ("", {"accept": "image/png"}),
        ("", {"prefer": "tx=rollback"}),
        ("", {"prefer": "count=exact"}),
        ("", {"prefer": "handling=strict, max-affected=0"}),
        ("", {"prefer": "return=minimal"}),
        ("", {"accept-profile": "llm_private"}),
        ("&offset=1", {"prefer": "count=exact"}),
        ("&limit=0", OBJECT),
        ("", {"range": "1-5", "prefer": "count=exact"}),
    )
]
KINDS = {
    "filters": FILTERS,
    "casts": CASTS,
    "logical trees": TREES,
    "orders": ORDERS,
    "selects": SELECTS,
    "headers": HEADERS,
}


def attacks(kind: str, rpc: Rpc, exhaustive: bool) -> Iterator[Attack]:
    """Yield the attacks of a kind on each place; of the filters a third, with every operator and value."""
    chosen = KINDS[kind] if exhaustive or kind != "filters" else FILTERS[::3]
    return (attack.at(place) for attack in chosen for place in rpc.places)


@dataclass(frozen=True)
class Scene:
    http: Http
    admin: Connection
    users: tuple[Caller, Caller]

    def sessions(self) -> tuple[Caller, Caller]:
        """Both users, in new sessions and without earlier key checks."""
        self.admin.execute("delete from llm_private.key_checks")
        one, other = (user.in_new_session() for user in self.users)
        return one, other

    def records(self, rpc: Rpc, user: Caller) -> int:
        """The number of entries in the audit log about a release of the user's key."""
        (row,) = self.admin.execute(
            "select count(*) as n from public.llm_audit_log where user_id = %s and action = %s",
            [user.id, rpc.action],
        ).fetchall()
        return int(row["n"])

    def send(self, rpc: Rpc, user: Caller, attack: Attack, arguments: Mapping[str, Any]) -> httpx.Response:
        path = f"rpc/{rpc.name}?{quote(attack.query, safe='=&')}"
        return self.http.send(user, "POST", path, content=json.dumps(arguments), headers=attack.headers)


@contextlib.contextmanager
def replaced(connection: Connection, function: str) -> Iterator[None]:
    """Let a private function that refuses calls accept all of them."""
    name = function.partition("(")[0]
    (row,) = connection.execute(
        f"select pg_get_functiondef('llm_private.{name}'::regproc) as before"
    ).fetchall()
    connection.execute(
        f"create or replace function llm_private.{function} returns void"
        " language plpgsql set search_path = pg_catalog, pg_temp as 'begin end'"
    )
    try:
        yield
    finally:
        connection.execute(row["before"])


@pytest.fixture(scope="module")
def scene(http: Http, stack: Stack) -> Iterator[Scene]:
    one, other = new_user(http), new_user(http)
    for user, key in zip((one, other), KEYS, strict=True):
        user.rpc("set_llm_key", provider="groq", key=key)
    # These tests reveal keys more often than a user may.
    with owner(stack) as connection, replaced(connection, "limit_reveals(p_user uuid)"):
        yield Scene(http, connection, (one, other))


@pytest.fixture
def unguarded(scene: Scene) -> Iterator[None]:
    """A project that accepts more than plain calls."""
    with replaced(scene.admin, "require_plain_call(p_function text)"):
        yield


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_granted_key_leaves_in_a_plain_call_only(scene: Scene, rpc: Rpc, exhaustive: bool) -> None:
    user, _ = scene.sessions()
    first = user.once(rpc.name, **rpc.arguments)
    arguments = next_arguments(first, dict(rpc.arguments))
    for attack in itertools.chain.from_iterable(attacks(kind, rpc, exhaustive) for kind in KINDS):
        answer = scene.send(rpc, user, attack, arguments)
        assert KEYS[0] not in answer.text, attack
        if "limit=0" in attack.query:  # PostgreSQL does not run the function
            continue
        assert answer.is_error, attack
        # The others fail in PostgREST, or when PostgreSQL parses the statement.
        assert "plain_call_required" in answer.text or answer.json()["code"].startswith(("PGRST", "42", "22"))
    assert KEYS[0] in json.dumps(user.once(rpc.name, **arguments))


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][0-9:.+]+")


def seen(response: httpx.Response) -> tuple[int, str, str | None]:
    """A response without IDs and times, which differ between any two users."""
    body = _TIME.sub("time", _ID.sub("id", response.text))
    return response.status_code, body, response.headers.get("content-range")


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unrecorded_first_response_does_not_depend_on_the_key(
    scene: Scene, rpc: Rpc, kind: str, exhaustive: bool
) -> None:
    for attack in attacks(kind, rpc, exhaustive):
        users = scene.sessions()
        before = [scene.records(rpc, user) for user in users]
        answers = [scene.send(rpc, user, attack, rpc.arguments) for user in users]
        recorded = [scene.records(rpc, user) > n for user, n in zip(users, before, strict=True)]
        for answer, key in zip(answers, KEYS, strict=True):
            assert key not in answer.text, attack
        if not all(recorded):
            assert seen(answers[0]) == seen(answers[1]), attack
            assert recorded[0] == recorded[1], attack


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_response_is_recorded_however_its_transaction_ends(
    scene: Scene, rpc: Rpc, kind: str, exhaustive: bool
) -> None:
    got = 0
    for attack in attacks(kind, rpc, exhaustive):
        user, _ = scene.sessions()
        before = scene.records(rpc, user)
        first = user.once(rpc.name, **rpc.arguments)
        assert asks_again(first), first
        assert scene.records(rpc, user) == before + 1
        answer = scene.send(rpc, user, attack, next_arguments(first, dict(rpc.arguments)))
        got += KEYS[0] in answer.text
        assert scene.records(rpc, user) == before + 1, attack
    # The attacked responses do contain the key.
    assert got or kind in ("orders", "logical trees")


# Timeouts and hang-ups ----------------------------------------------------------------------------

#: Takes seconds for a key with the prefix: PostgreSQL tries very many ways to match the back references.
SLOW = Attack(f"{{}}=like.{PREFIX}*&{{}}=match.^{'(.+)' * 9}" + r"\1\2\3\4\5\6\7\8\9$")


@pytest.fixture
def impatient(scene: Scene) -> Iterator[None]:
    """A project that cancels a user's statement after half a second."""

    def limit(change: str) -> None:
        scene.admin.execute(f"alter role authenticated {change}")
        scene.admin.execute("notify pgrst, 'reload config'")

    (row,) = scene.admin.execute(
        "select (select split_part(c, '=', 2) from pg_roles, unnest(rolconfig) as c"
        " where rolname = 'authenticated' and c like 'statement_timeout=%') as was"
    ).fetchall()
    limit("set statement_timeout = '500ms'")
    yield
    limit("reset statement_timeout" if row["was"] is None else f"set statement_timeout = '{row['was']}'")


@pytest.mark.usefixtures("unguarded", "impatient")
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_statement_timeout_reveals_no_unrecorded_key(scene: Scene, rpc: Rpc) -> None:
    place = next(place for place in rpc.places if place.endswith("key"))
    users = scene.sessions()
    before = [scene.records(rpc, user) for user in users]
    responses = [scene.send(rpc, user, SLOW.at(place), rpc.arguments) for user in users]
    assert seen(responses[0]) == seen(responses[1])
    assert responses[0].is_success, responses[0].text
    assert [scene.records(rpc, user) for user in users] == [n + 1 for n in before]

    def times_out() -> bool:
        user, _ = scene.sessions()
        first = user.once(rpc.name, **rpc.arguments)
        before = scene.records(rpc, user)
        response = scene.send(rpc, user, SLOW.at(place), next_arguments(first, dict(rpc.arguments)))
        assert scene.records(rpc, user) == before
        return "57014" in response.text

    # PostgREST reads its configuration a moment after it was notified.
    wait_until(times_out, seconds=60)


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_call_whose_caller_hangs_up_is_recorded_or_releases_no_key(scene: Scene, rpc: Rpc) -> None:
    place = next(place for place in rpc.places if place.endswith("key"))
    running = (
        "select from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
        f" and query like '%{rpc.name}%'"
    )

    def hang_up(user: Caller, arguments: Mapping[str, Any]) -> None:
        where = urlsplit(scene.http.stack.api_url)
        token, body = scene.http.stack.sign(**dict(user.claims or {})), json.dumps(arguments)
        with socket.create_connection((where.hostname or "", where.port or 80)) as connection:
            connection.sendall(
                f"POST /rest/v1/rpc/{rpc.name}?{quote(SLOW.at(place).query, safe='=&')} HTTP/1.1\r\n"
                f"Host: {where.netloc}\r\napikey: {scene.http.stack.publishable_key}\r\n"
                f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            with contextlib.suppress(AssertionError):  # the first call is over at once
                wait_until(lambda: scene.admin.execute(running).fetchall(), seconds=0.3)
        scene.admin.execute(f"select pg_cancel_backend(pid) {running.removeprefix('select')}")
        wait_until(lambda: not scene.admin.execute(running).fetchall(), seconds=30)

    user, _ = scene.sessions()
    before = scene.records(rpc, user)
    hang_up(user, rpc.arguments)
    # If the call was not recorded, this is a first call.
    answer = user.once(rpc.name, **rpc.arguments)
    assert scene.records(rpc, user) > before
    if not asks_again(answer):
        return
    recorded = scene.records(rpc, user)
    hang_up(user, next_arguments(answer, dict(rpc.arguments)))
    assert scene.records(rpc, user) == recorded


# Grants -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_no_call_in_the_recording_transaction_gets_the_key(tx: Transaction, rpc: Rpc) -> None:
    """pg_graphql runs all mutations of a request in one transaction. Each call here is in a savepoint."""
    user = new_user(tx)
    user.holds_key("groq")
    answer: dict[str, Any] = {}
    for _ in range(4):
        answer = user.once(rpc.name, **next_arguments(answer, dict(rpc.arguments)))
        assert asks_again(answer)
        assert key_for("groq") not in json.dumps(answer)
    tx.commit_grants()
    answer = user.once(rpc.name, **next_arguments(answer, dict(rpc.arguments)))
    assert key_for("groq") in json.dumps(answer)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_grant_releases_the_key_to_its_holder_only(tx: Transaction, rpc: Rpc) -> None:
    user = new_user(tx)
    user.holds_key("groq")
    first = user.once(rpc.name, **rpc.arguments)
    tx.commit_grants()
    someone = new_user(tx)
    someone.holds_key("groq", 2)
    runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
    session = user.in_new_session()
    for other in (session, user.with_claims(session_id=None), user.through(runtime), someone):
        assert asks_again(other.once(rpc.name, **rpc.arguments))
        if "check_id" in first:
            with refused("not_found", 404):
                other.once(rpc.name, check_id=first["check_id"])


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_a_key_replaced_between_the_calls_needs_its_own_record(tx: Transaction, rpc: Rpc) -> None:
    user = new_user(tx)
    user.holds_key("groq", 1)
    first = user.once(rpc.name, **rpc.arguments)
    tx.commit_grants()
    user.holds_key("groq", 2)
    second = user.once(rpc.name, **next_arguments(first, dict(rpc.arguments)))
    assert asks_again(second)
    tx.commit_grants()
    third = user.once(rpc.name, **next_arguments(second, dict(rpc.arguments)))
    assert key_for("groq", 2) in json.dumps(third)
    lines = [line for line in user.rpc("get_llm_audit_log") if line["action"] == rpc.action]
    assert len({line["key_id"] for line in lines}) == len(lines) == 2


def test_a_reveal_returns_the_key_once_and_expires(tx: Transaction) -> None:
    user = new_user(tx)
    user.holds_key("groq")
    assert user.rpc("reveal_llm_key", p_provider="groq") == {"key": key_for("groq")}
    assert asks_again(user.once("reveal_llm_key", p_provider="groq"))
    tx.commit_grants()
    tx.sql("update llm_private.key_reveals set expires_at = now()")
    assert asks_again(user.once("reveal_llm_key", p_provider="groq"))
    assert tx.value("select count(*) from llm_private.key_reveals where owner_id = %s", user.id) == 1


def test_a_key_check_returns_the_key_for_a_minute_and_until_its_result_is_recorded(tx: Transaction) -> None:
    user = new_user(tx)
    user.holds_key("groq")
    for late in (
        "update llm_private.key_checks set begun_at = begun_at - interval '61 seconds' where id = %s",
        "update llm_private.key_checks set settled_at = now() where id = %s",
    ):
        check = user.once("begin_llm_key_check", provider="groq")["check_id"]
        tx.commit_grants()
        assert user.once("begin_llm_key_check", check_id=check)["key"] == key_for("groq")
        tx.sql(late, check)
        with refused("not_found", 404):
            user.once("begin_llm_key_check", check_id=check)
    with refused("invalid_argument", 400):
        user.once("begin_llm_key_check", check_id=check, provider="groq")
    nothings: list[Any] = ["no-uuid", None, 7, {}]
    for nothing in nothings:
        with refused("not_found", 404):
            user.once("begin_llm_key_check", check_id=nothing)


def test_a_check_of_a_typed_key_takes_two_calls_too(tx: Transaction) -> None:
    user = new_user(tx)
    first = user.once("begin_llm_key_check", provider="groq", key=key_for("groq"))
    assert first.keys() == {"again", "check_id"}
    tx.commit_grants()
    begun = user.once("begin_llm_key_check", check_id=first["check_id"])
    assert (begun["key"], begun["provider"]) == (None, "groq")


def test_a_metered_route_reserves_only_when_it_is_returned(tx: Transaction) -> None:
    user = new_user(tx)
    user.holds_key("groq")
    user.rpc("set_llm_quota", p_quota={"limit": 5, "unit": "requests", "period": "day", "enforced": True})
    request = str(tx.value("select llm_private.uuid_v7()"))
    held = "select count(*) from llm_private.reservations where user_id = %s"
    asked = {"p_task": "speed", "p_request_id": request, "p_output_tokens": 10}
    assert user.once("resolve_llm_route", **asked) == {"again": True}
    assert tx.value(held, user.id) == 0
    tx.commit_grants()
    assert user.once("resolve_llm_route", **asked)["reserved_requests"] == 1
    assert tx.value(held, user.id) == 1
