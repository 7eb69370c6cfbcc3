"""Reads lock nothing, and a function that locks or writes accepts only a plain call.

PostgREST computes filters, casts and orders on the result of a function in the function's transaction. A slow
filter would hold the function's locks until the statement timeout, and other requests would wait for them.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest

from tests.database.metering import sets
from tests.database.support import (
    Caller,
    Connection,
    Http,
    new_user,
    owner,
    refused,
    request_id,
    rolled_back,
)
from tests.database.surface import RPCS, USER, Victim
from tests.support import Stack, unique, wait_until

PLAIN_ONLY = "plain_call_required"


@dataclass(frozen=True)
class Scene:
    """A user whose reads find nothing up to date: no counter, no cached price name, a runtime not seen yet.

    Attributes:
        runtime: a caller for the user through the runtime.
        provider: a provider of whose price list ``m-2`` is not cached; the user has a key for it.
        team: a team that the user owns.
    """

    http: Http
    owner: Connection
    user: Caller
    runtime: Caller
    provider: str
    team: str

    def arguments(self, function: str) -> Mapping[str, Any]:
        """Arguments that reach as much of a function as possible."""
        victim = replace(Victim.made_up(request_id()), id=self.user.id, team_id=self.team)
        changes: dict[str, Mapping[str, Any]] = {
            "list_llm_models": {"p_provider": self.provider},
            "list_llm_prices": {"p_provider": self.provider, "p_model": "m-2"},
            "explain_llm_route": {"p_task": "speed", "p_model": f"{self.provider}/m-2"},
            "remove_llm_quota": {"p_id": 0},
            "end_llm_price": {"p_id": 0},
            "revoke_llm_runtime": {"p_id": str(uuid.uuid4())},
        }
        return changes.get(function) or RPCS[function].attack(victim)

    def caller(self, function: str) -> Caller:
        return self.user if RPCS[function].roles >= USER else self.http.admin


@pytest.fixture(scope="module")
def scene(stack: Stack, http: Http) -> Iterator[Scene]:
    provider, user, admin = f"locks-{uuid.uuid4().hex[:20]}", new_user(http), http.admin
    with owner(stack) as connection:
        connection.execute(
            "insert into public.llm_providers (id, name, base_url, default_model)"
            " values (%s, 'Locks', 'https://locks.example', 'm-1')",
            [provider],
        )
        listed = [
            {"name": "m", "pattern": "^m", "position": 0, "prices": [{"rates": {"input": 1, "output": 1}}]}
        ]
        admin.rpc("sync_llm_prices", p_provider=provider, p_entries=listed, p_apply=True)
        user.rpc("set_llm_key", provider=provider, key="locks_test_0000000000000000000000000000")
        missing, ended = (sets(user, 1000, unit, unpriced="allow") for unit in ("requests", "cost"))
        sets(user, 10**6, "tokens")
        shared = sets(admin, 10**9, "requests", "minute", shared=True)
        runtime = admin.rpc("register_llm_runtime", p_name=unique("locks"))
        user.rpc("resolve_llm_route", p_request_id=request_id(), p_model=f"{provider}/m-1")
        connection.execute(
            "update llm_private.reservations set expires_at = now() where user_id = %s", [user.id]
        )
        connection.execute(
            "delete from llm_private.quota_counters where owner = %s and quota_id = %s",
            [user.id, missing["id"]],
        )
        connection.execute(
            "update llm_private.quota_counters set ends_at = now() where owner = %s and quota_id = %s",
            [user.id, ended["id"]],
        )
        team = user.rpc("create_llm_team", p_name="A team")["id"]
        try:
            yield Scene(http, connection, user, user.through(runtime["secret"]), provider, team)
        finally:
            admin.rpc("remove_llm_quota", p_id=shared["id"])
            admin.rpc("revoke_llm_runtime", p_id=runtime["id"])
            http.delete_user(user)
            for table in ("charges", "price_names", "price_list"):
                connection.execute(f"delete from llm_private.{table} where provider = %s", [provider])
            connection.execute("delete from public.llm_prices where provider = %s", [provider])
            connection.execute("delete from public.llm_providers where id = %s", [provider])


def functions(connection: Connection, volatility: str) -> dict[str, str]:
    """Return the public functions of this volatility, with the type that they return."""
    found = connection.execute(
        "select proname, format_type(prorettype, null) as type from pg_proc"
        f" where pronamespace = 'public'::regnamespace and proname ~ 'llm' and provolatile {volatility}"
        " order by proname"
    ).fetchall()
    return {row["proname"]: row["type"] for row in found}


# Reads --------------------------------------------------------------------------------------------

# What a transaction holds beyond the locks of a SELECT. Without a transaction id, it wrote and locked no row.
HELD = """
select locktype, mode, coalesce(relation::regclass::text, '') as relation from pg_locks
where pid = pg_backend_pid() and locktype <> 'virtualxid' and mode <> 'AccessShareLock'
"""


def held_after(scene: Scene, caller: Caller, function: str) -> list[Any]:
    """Return the locks that a transaction still holds after a call."""
    with owner(scene.http.stack) as connection, rolled_back(connection) as tx:
        replace(caller, world=tx).once(function, **scene.arguments(function))
        return tx.sql(HELD)


def test_functions_that_only_read_lock_and_write_nothing(scene: Scene) -> None:
    reads = functions(scene.owner, "<> 'v'")
    assert {"list_llm_quotas", "list_llm_prices", "list_llm_models", "list_llm_hints"} <= reads.keys()
    held = {
        (function, caller.role, caller.runtime is not None): locks
        # Volatile because of p_changes; without them, it only reads.
        for function in (*reads, "explain_llm_route")
        for caller in (scene.user, scene.runtime, scene.http.admin)
        if caller.role in RPCS[function].roles
        if (locks := held_after(scene, caller, function))
    }
    assert held == {}


def test_a_preview_of_changes_holds_nothing_once_it_returns(scene: Scene) -> None:
    with owner(scene.http.stack) as connection, rolled_back(connection) as tx:
        user = replace(scene.user, world=tx)
        user.once("explain_llm_route", p_changes={"enable_fallbacks": False})
        # Its writes were in a subtransaction, which is over.
        assert [lock for lock in tx.sql(HELD) if lock["locktype"] not in ("transactionid", "relation")] == []
    with owner(scene.http.stack) as other:
        other.execute(
            "select from public.user_llm_settings where user_id = %s for update nowait", [scene.user.id]
        )


def test_a_quota_is_listed_as_the_next_request_will_find_it(scene: Scene) -> None:
    """Missing, ended and with an expired reservation: the scene has a counter of each kind."""
    with owner(scene.http.stack) as connection, rolled_back(connection) as tx:
        user = replace(scene.user, world=tx)
        before = user.rpc("list_llm_quotas")
        ids = [line["id"] for line in before]
        counters = "select * from llm_private.quota_counters where owner = %s order by quota_id"
        stored = tx.sql(counters, user.id)
        tx.sql("select llm_private.open_counters(%s, array[%s::uuid], %s)", user.id, user.id, ids)
        assert tx.sql(counters, user.id) != stored
        assert user.rpc("list_llm_quotas") == before


# Plain calls --------------------------------------------------------------------------------------

# Every row of every table. Rows that a refused call wrote would show up here.
TABLES = """
select c.oid::regclass::text as name from pg_class as c
where c.relnamespace in ('llm_private'::regnamespace, 'public'::regnamespace) and c.relkind = 'r'
  and (c.relnamespace = 'llm_private'::regnamespace or c.relname ~ 'llm')
"""


def contents(connection: Connection) -> dict[str, Any]:
    return {
        row["name"]: connection.execute(
            f"select count(*), sum(hashtextextended(t::text, 0)) as hash from {row['name']} as t"
        ).fetchone()
        for row in connection.execute(TABLES).fetchall()
    }


def forms(kind: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Queries and headers with which PostgREST computes something on a result of this type.

    Limits and offsets are missing: they compute nothing, and a project with a maximum of rows
    always has them.
    """
    # json has no operators, so only its text can be compared and sorted.
    value = "pgrst_scalar->>a" if kind in ("json", "jsonb") else "pgrst_scalar"
    text = value if kind != "void" else "pgrst_scalar::text"
    yield "select=pgrst_scalar", {}
    yield "select=pgrst_scalar::text", {}
    yield f"select=pgrst_scalar,x:{text}", {}
    yield "select=count()", {}
    yield "pgrst_scalar=not.is.null", {}
    yield "or=(pgrst_scalar.is.null,pgrst_scalar.not.is.null)", {}
    yield "not.and=(pgrst_scalar.is.null,pgrst_scalar.is.null)", {}
    if kind != "void":
        yield f"order={value}", {}
        yield f"order={value}.desc&limit=1", {}
    if kind in ("json", "jsonb"):
        yield f"{value}=match.(.)*", {}
        yield f"select=pgrst_scalar,x:{value}::int", {}
    yield "limit=1", {"prefer": "count=exact"}
    for accept in (
        "text/csv",
        "application/vnd.pgrst.object+json;nulls=stripped",
        "application/vnd.pgrst.array+json;nulls=stripped",
    ):
        yield "", {"accept": accept}


def test_functions_that_lock_or_write_refuse_all_but_a_plain_call(scene: Scene) -> None:
    before = contents(scene.owner)
    accepted = []
    for function, kind in functions(scene.owner, "= 'v'").items():
        body = json.dumps(scene.arguments(function))
        for query, headers in forms(kind):
            path = f"rpc/{function}?{quote(query, safe='=&')}"
            answer = scene.http.send(scene.caller(function), "POST", path, content=body, headers=headers)
            code = "" if answer.is_success else answer.json()["details"] or answer.json()["code"]
            # PostgreSQL refuses such a statement before the function begins.
            if code != PLAIN_ONLY and not (query.startswith("select=count") and code.startswith("PGRST")):
                accepted.append((function, query, headers, answer.text))
    assert accepted == []
    assert contents(scene.owner) == before


def test_a_plan_of_a_call_is_refused(scene: Scene) -> None:
    """Local and hosted projects offer no plans; PostgREST itself then answers."""
    answer = scene.http.send(
        scene.user,
        "POST",
        "rpc/get_llm_settings",
        content="{}",
        headers={"accept": "application/vnd.pgrst.plan+json; options=analyze"},
    )
    assert answer.json()["code"] == "PGRST107"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"accept": "*/*"},
        {"accept": "application/vnd.pgrst.object+json"},
        {"prefer": "return=minimal"},
        {"prefer": "return=representation"},
        {"prefer": "params=single-object, missing=default"},
        {"prefer": "tx=rollback"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_every_function_accepts_the_plain_calls_of_clients(scene: Scene, headers: Mapping[str, str]) -> None:
    refused_calls = []
    for function in functions(scene.owner, "= 'v'"):
        body = "" if "content-type" in headers else json.dumps(scene.arguments(function))
        caller, path = scene.caller(function), f"rpc/{function}"
        answer = scene.http.send(caller, "POST", path, content=body, headers=headers)
        if PLAIN_ONLY in answer.text:
            refused_calls.append(function)
    assert refused_calls == []


#: The call of a function without arguments, as PostgREST 12 writes it in a project without a maximum of rows.
CALL = (
    "WITH pgrst_source AS (SELECT pgrst_call.pgrst_scalar FROM "
    '(SELECT "public"."get_llm_settings"() pgrst_scalar) pgrst_call) '
    "SELECT null::bigint AS total_result_set, 1 AS page_total, "
    "coalesce(json_agg(_postgrest_t.pgrst_scalar)->0, 'null') AS body, "
    "nullif(current_setting('response.headers', true), '') AS response_headers, "
    "nullif(current_setting('response.status', true), '') AS response_status, '' AS response_inserted "
    'FROM (SELECT "get_llm_settings".* FROM "pgrst_source" AS "get_llm_settings"     ) _postgrest_t'
)
#: The same with db-max-rows, and since PostgREST 13.
LIMITED = CALL.replace(") _postgrest_t", "LIMIT %s OFFSET %s) _postgrest_t")
PLAIN = {
    "12": CALL,
    "12 with a maximum of rows": LIMITED,
    "13 to 16": CALL.replace("     ) _", "   ) _"),
    "13 to 16 with a maximum of rows": LIMITED.replace("     LIMIT", "   LIMIT"),
}
NOT_PLAIN = {
    "a query": """select public.get_llm_settings() where 'AS "get_llm_settings"   ) _postgrest_t' <> ''""",
    "a plan": f"EXPLAIN (ANALYZE) {CALL}",
    "a filter": CALL.replace("     )", " WHERE true   )"),
    "an order": CALL.replace("     )", "   ORDER BY 1 )"),
    "a grouping": CALL.replace(" '' AS", " min('') AS"),
    "a count": CALL.replace("null::bigint", "(SELECT 1)"),
    "another format": CALL.replace("json_agg(", "jsonb_agg("),
    "a larger query": f"select pg_sleep(0) from ({CALL}) as call",
    # As pg_graphql does, which runs several mutations in a transaction.
    "another function": CALL.replace('"get_llm_settings".*', '"resolve".*').replace(
        'AS "get_llm_settings"', 'AS "resolve"'
    ),
    # Quotes in a literal are doubled, so it cannot spell the names in quotes.
    "the rest of a call in a literal": CALL.replace(
        "     )", f" WHERE '' <> '{CALL.partition('pgrst_call)')[2].replace(chr(39), chr(39) * 2)}' )"
    ),
}


def through_postgrest(scene: Scene, statement: str) -> None:
    """Run a statement of PostgREST as the scene's user."""
    limits = [1000, 0] if "%s" in statement else []
    with owner(scene.http.stack) as connection, rolled_back(connection) as tx:
        tx.sql("select set_config('request.method', 'POST', true)")
        with tx.as_role(replace(scene.user, world=tx)) as acting:
            acting.execute(statement, limits or None)


@pytest.mark.parametrize("version", PLAIN)
def test_the_plain_call_of_every_supported_postgrest_is_accepted(scene: Scene, version: str) -> None:
    through_postgrest(scene, PLAIN[version])


@pytest.mark.parametrize("form", NOT_PLAIN)
def test_a_statement_that_computes_more_is_refused(scene: Scene, form: str) -> None:
    with refused(PLAIN_ONLY, 400):
        through_postgrest(scene, NOT_PLAIN[form])


def test_a_direct_connection_may_call_in_any_way(scene: Scene) -> None:
    with owner(scene.http.stack) as connection, rolled_back(connection) as tx:
        user = replace(scene.user, world=tx)
        with tx.as_role(user) as acting:
            acting.execute("select get_llm_settings ->> 'version' from public.get_llm_settings()")


# Slow filters -------------------------------------------------------------------------------------

#: Takes minutes for an object as text: PostgreSQL tries very many ways to match the back references.
SLOW = "pgrst_scalar->>0=match." + quote(f"^{'(.+)' * 9}" + r"\1\2\3\4\5\6\7\8\9$")


@contextlib.contextmanager
def slowly(scene: Scene, function: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Run a request with a slow filter until the end of the block. Fail if it ended earlier."""
    running = (
        "select pid from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
        f" and query like '%%\"{function}\"(%%'"
    )

    def send() -> None:
        path = f"rpc/{function}?{SLOW}"
        answers.append(scene.http.send(scene.user, "POST", path, content=json.dumps(arguments)).json())

    answers: list[Any] = []
    thread = threading.Thread(target=send)
    thread.start()
    try:
        wait_until(lambda: scene.owner.execute(running).fetchall())
        yield
        assert answers == []
    finally:
        scene.owner.execute(f"select pg_cancel_backend(pid) from ({running}) as r")
        thread.join(30)


def test_a_slow_list_of_quotas_delays_no_other_user(scene: Scene) -> None:
    """Through a runtime, both use the counter of the operator's shared quota."""
    other = new_user(scene.http).through(scene.runtime.runtime)
    other.rpc("set_llm_key", provider=scene.provider, key="locks_test_0000000000000000000000000001")
    with slowly(scene, "list_llm_quotas", {}):
        other.rpc("resolve_llm_route", p_request_id=request_id(), p_model=f"{scene.provider}/m-1")
        assert other.records(provider=scene.provider, model="m-1")
    scene.http.delete_user(other)


def test_a_slow_list_of_prices_delays_no_administrator(scene: Scene) -> None:
    model = {"p_provider": scene.provider, "p_model": "m-3"}
    with slowly(scene, "list_llm_prices", model):
        price = scene.http.admin.rpc("set_llm_price", **model, p_rates={"input": 2})
    assert price["model"] == "m-3"
