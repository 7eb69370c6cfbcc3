"""Limits of what callers can send: every argument has one, which is checked before anything else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from psycopg.types.json import Json, Jsonb

from tests.database.arguments import arguments_of
from tests.database.attacks import Catalog
from tests.database.limits import AMOUNTS, CHOICES, SIZES, Amount, Size, tables
from tests.database.support import Caller, Connection, Http, Refused, Transaction, new_user, owner, refused
from tests.database.surface import ADMIN, RPCS
from tests.support import ROOT, Stack

MEGABYTE = 1_000_000
#: The second one is slow in other regular expressions, and shorter in characters than in bytes.
HUGE = ("a" * MEGABYTE, "A-\u00e9" * (MEGABYTE // 4))


def enlarged(value: Any, huge: str) -> Iterator[tuple[str, Any]]:
    """Yield each variant of a value in which one text, name, list or number is huge, with its path."""
    yield "", huge
    if isinstance(value, str):
        return
    yield "[]", [huge]
    yield "{}", {huge: {"provider": "groq"}}
    match value:
        case dict():
            for name, inner in value.items():
                for path, changed in enlarged(inner, huge):
                    yield f".{name}{path}", {**value, name: changed}
            yield "{} more", {**value, huge: 1}
            yield "{} unknown", {**value, "speed": huge}
        case list():
            yield "[] many", ["chat"] * (MEGABYTE // 10)
            for number, inner in enumerate(value):
                for path, changed in enlarged(inner, huge):
                    yield f"[{number}]{path}", [*value[:number], changed, *value[number + 1 :]]


@pytest.fixture(scope="module")
def db(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture(scope="module")
def texts(db: Connection) -> Mapping[str, Mapping[str, str]]:
    """The arguments of each public function that can hold text, with their types."""
    found: dict[str, dict[str, str]] = {}
    for row in db.execute(
        """
        select p.proname as function, coalesce(p.proargnames[a.number], '') as argument,
          a.type::regtype::text as type
        from pg_proc as p cross join lateral unnest(p.proargtypes::oid[]) with ordinality as a (type, number)
        where p.pronamespace = 'public'::regnamespace
        """
    ).fetchall():
        if row["type"] in ("text", "text[]", "json", "jsonb", "json[]", "jsonb[]", "character varying"):
            found.setdefault(row["function"], {})[row["argument"]] = row["type"]
    return found


def counts(db: Connection) -> dict[str, int]:
    """Return the number of rows in each of supa-llm's tables."""
    tables = db.execute(
        "select oid::regclass::text as name from pg_class where relkind in ('r', 'p') and not relispartition"
        " and (relnamespace = 'llm_private'::regnamespace"
        " or relnamespace = 'public'::regnamespace and relname like '%llm%')"
    ).fetchall()
    found = {}
    for table in tables:
        row = db.execute(f"select count(*) as n from {table['name']}").fetchone()
        assert row
        found[table["name"]] = row["n"]
    return found


def caller_of(world: Http | Transaction, function: str) -> Caller:
    if RPCS[function].roles == ADMIN:
        return world.admin
    user = new_user(world)
    user.rpc("get_llm_settings")
    user.holds_key("groq")
    return user


def variants(function: str, types: Mapping[str, str], huge: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls with one huge argument each."""
    arguments = arguments_of(function)
    if "" in types:  # the body is the only argument
        for path, changed in enlarged(arguments, huge):
            if isinstance(changed, dict):  # PostgREST itself refuses other types
                yield f"body{path}", changed
        return
    for name, kind in types.items():
        for path, changed in enlarged(arguments.get(name), huge):
            # PostgREST itself refuses other types.
            if kind == "text" and not isinstance(changed, str):
                continue
            if kind == "text[]" and not (
                isinstance(changed, list) and all(isinstance(it, str) for it in changed)
            ):
                continue
            yield f"{name}{path}", {**arguments, name: changed}


@pytest.mark.parametrize("function", RPCS)
def test_the_arguments_without_a_huge_one_are_valid(tx: Transaction, function: str) -> None:
    arguments = {
        name: Jsonb(value) if name == "p_entries" else value for name, value in arguments_of(function).items()
    }
    status = None
    try:
        caller_of(tx, function).rpc(function, **arguments)
    except Refused as error:
        status = error.status
    # 404, and 400 of one function: they refer to something that does not exist. The master key is not lost.
    assert status in (None, 404) or function in ("set_llm_user_group", "replace_llm_master_key")


@pytest.mark.parametrize("function", RPCS)
def test_a_huge_argument_is_refused_at_once_and_leaves_no_row(
    http: Http, db: Connection, texts: Mapping[str, Mapping[str, str]], function: str
) -> None:
    caller = caller_of(http, function)
    before = counts(db)
    for huge in HUGE:
        for path, arguments in variants(function, texts.get(function, {}), huge):
            started = time.perf_counter()
            response = http.send(caller, "POST", f"rpc/{function}", content=json.dumps(arguments))
            seconds = time.perf_counter() - started
            where = f"{path} {huge[:3]}: {response.text[:300]}"
            assert 400 <= response.status_code < 500, where
            assert str(response.json()["code"]).startswith("PT"), where
            assert response.json()["details"] in codes(), where
            assert len(response.text) < 2000, where
            if re.fullmatch(r"p_\w+", path):
                assert path in response.json()["message"], where
            assert seconds < 1, where
    assert counts(db) == before


def test_a_number_that_is_long_as_text_is_refused(http: Http) -> None:
    """8 bytes of JSON such as 1e131071 are 131 kB as text."""
    user = new_user(http)
    for rate in ("1e131071", "0e-16383", f"[{'1e131071,' * 100_000}1]"):
        body = f'{{"p_provider": "groq", "p_model": "m", "p_rates": {{"input": {rate}}}}}'
        started = time.perf_counter()
        response = http.send(user, "POST", "rpc/set_llm_price", content=body)
        assert (response.status_code, response.json()["details"]) == (400, "invalid_price")
        assert time.perf_counter() - started < 1


def test_a_huge_runtime_secret_is_refused_like_any_other(http: Http) -> None:
    user = new_user(http).through("slr_" + "a" * 20_000)
    # list_llm_keys() does not look at the secret. A server may also close the connection.
    for function, statuses in (("list_llm_keys", (200, 403, 431)), ("resolve_llm_route", (403, 431))):
        try:
            response = http.send(user, "POST", f"rpc/{function}", content="{}")
        except httpx.TransportError:
            continue
        assert response.status_code in statuses
        if response.status_code == 403:
            assert response.json()["details"] == "runtime_unknown"


# The tables of docs/limits.md -----------------------------------------------------------------------


def test_the_page_shows_the_tables() -> None:
    """`python -m tests.database.limits` prints them."""
    page = (ROOT / "docs" / "limits.md").read_text()
    assert [table for table in tables().split("\n\n") if table not in page] == []


def test_every_argument_of_any_size_has_a_limit(db: Connection) -> None:
    """Add a new argument to `SIZES` or `CHOICES` in limits.py, and its limit to the function."""
    sized = {
        (function, name)
        for function, parameters in Catalog.read(db).parameters.items()
        for name, kind in parameters.items()
        if kind.endswith("[]") or kind in ("text", "json", "jsonb", "bytea", "numeric")
    }
    listed = {(function, size.argument) for size in SIZES for function in size.functions}
    assert sized == listed | CHOICES.keys()


def answer(world: Transaction, function: str, argument: str, value: Any) -> tuple[str, str]:
    """Call an RPC with a value for an argument. Return the error's code and message, or two empty texts."""
    arguments = arguments_of(function)
    arguments = {**arguments, argument: value} if argument else value
    for name, it in arguments.items():
        if name == "p_entries":
            arguments[name] = Jsonb(it)
        elif name == "p_events":
            arguments[name] = Json(it)
    try:
        caller_of(world, function).rpc(function, **arguments)
    except Refused as error:
        return error.code, error.message
    return "", ""


@pytest.mark.parametrize(
    ("size", "function"),
    [
        pytest.param(size, function, id=f"{function} {size.argument} {size.unit}")
        for size in SIZES
        for function in size.functions
    ],
)
def test_an_argument_is_accepted_up_to_its_limit(tx: Transaction, size: Size, function: str) -> None:
    within = answer(tx, function, size.argument, size.value(size.most))
    code, message = answer(tx, function, size.argument, size.value(size.most + 1))
    assert code == size.code
    assert size.argument in message
    # The value may be refused for another reason, for example because no such provider exists.
    assert within != (code, message)


@pytest.mark.parametrize(("function", "argument"), CHOICES)
def test_a_choice_is_refused_beyond_its_values(tx: Transaction, function: str, argument: str) -> None:
    code, message = answer(tx, function, argument, "another")
    assert (code, argument in message) == (CHOICES[function, argument], True)


@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda it: it.what)
def test_a_user_can_do_or_store_only_so_much(tx: Transaction, amount: Amount) -> None:
    most = amount.most
    if amount.setting:
        assert tx.admin.rpc("get_llm_operator_settings")[amount.setting] == most, "the default"
        most = 3
        tx.admin.rpc("set_llm_operator_settings", p_changes={amount.setting: most})
    user, other = new_user(tx), new_user(tx)
    for caller in (user, other):
        caller.rpc("get_llm_settings")
        if amount.code == "too_many_reveals":
            caller.holds_key("groq")
    for number in range(most):
        amount.do(user, number)
    if amount.code:
        with refused(amount.code):
            amount.do(user, most)
    else:
        assert amount.stored
        assert amount.stored(tx, user) == most
        amount.do(user, most)
        assert amount.stored(tx, user) == most
    amount.do(other, 0)


def codes() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \| \d{3}", (ROOT / "docs" / "errors.md").read_text(), re.M))
