"""Callers of the database in these tests, and the two worlds in which they call it.

`Http` is the public API: PostgREST, with one transaction per call. `Transaction` is a single transaction that
is rolled back at the end. In it, a test can also change global state (operator settings, the catalog) and
query tables directly with `sql`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb

from supa_llm.engine import POOL
from supa_llm.local import LocalStack
from tests.support import ROOT, Stack, asks_again, key_for, next_arguments, unique, wait_until

Connection = psycopg.Connection[dict[str, Any]]

API_ROLES = ("anon", "authenticated", "service_role")

#: The tables of llm_private whose rows release a key.
GRANTS = ("leases", "key_reveals", "key_checks")


class Refused(Exception):  # noqa: N818 - an expected outcome, not an error
    """The database refused a call. `code` is supa-llm's error code, or else PostgREST's or the SQLSTATE."""

    def __init__(self, code: str, status: int | None, message: str, hint: str, raw: str) -> None:
        super().__init__(f"{status} {code}: {message} {hint}")
        self.code, self.status, self.message, self.hint, self.raw = code, status, message, hint, raw


@contextlib.contextmanager
def refused(code: str, status: int | None = None) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """Expect the block to be refused with this code and, if given, this HTTP status."""
    with pytest.raises(Refused) as info:
        yield info
    assert info.value.code == code, info.value
    assert status is None or info.value.status == status, info.value


class World(Protocol):
    """A way to call the database."""

    def call(self, caller: Caller, function: str, arguments: Mapping[str, Any]) -> Any: ...

    def commit_grants(self) -> None: ...

    def add_user(self, user_id: str) -> None: ...

    def add_session(self, user_id: str, session_id: str) -> None: ...


@dataclass(frozen=True)
class Caller:
    """A caller with credentials: a role, a user's token claims, and an optional runtime secret."""

    world: World
    role: str
    claims: Mapping[str, Any] | None = None
    runtime: str | None = None

    @property
    def id(self) -> str:
        """The user's id."""
        assert self.claims is not None
        return str(self.claims["sub"])

    def rpc(self, function: str, /, **arguments: Any) -> Any:
        """Call an RPC, and again if its response asks for it, as clients do. Raises Refused."""
        answer = self.once(function, **arguments)
        # More often than clients do, because some tests replace keys all the time.
        for _ in range(20):
            if not asks_again(answer):
                return answer
            self.world.commit_grants()
            answer = self.once(function, **next_arguments(answer, arguments))
        raise AssertionError(f"{function} still asks to be called again")

    def once(self, function: str, /, **arguments: Any) -> Any:
        """Call an RPC once. Raises Refused."""
        return self.world.call(self, function, arguments)

    def through(self, secret: str | None) -> Caller:
        """Return the same caller, using the runtime with this secret."""
        return replace(self, runtime=secret)

    def with_claims(self, **claims: Any) -> Caller:
        """Return the same user with a changed token; None removes a claim."""
        merged = {**(self.claims or {}), **claims}
        return replace(self, claims={name: value for name, value in merged.items() if value is not None})

    def in_new_session(self) -> Caller:
        """Return the same user, signed in once more."""
        session_id = str(uuid.uuid4())
        self.world.add_session(self.id, session_id)
        return self.with_claims(session_id=session_id)

    def holds_key(self, provider: str, number: int = 0) -> dict[str, Any]:
        """Store a key, and return its masked entry."""
        stored = self.rpc("set_llm_key", provider=provider, key=key_for(provider, number))
        assert isinstance(stored, dict)
        return stored

    def records(self, **changes: Any) -> bool:
        """Record an attempt, successful by default. Return whether it was new."""
        return bool(self.rpc("record_llm_usage", **usage_event(**changes)))


def new_user(world: World) -> Caller:
    """Create an account, and return it as a signed-in caller."""
    user_id = str(uuid.uuid4())
    world.add_user(user_id)
    now = int(time.time())
    claims = {
        "sub": user_id,
        "role": "authenticated",
        "aud": "authenticated",
        "iat": now,
        "exp": now + 3600,
    }
    return Caller(world, "authenticated", claims).in_new_session()


def runtime_user(world: Transaction | Http) -> Caller:
    """Create an account, and return it as a caller through a registered runtime."""
    return new_user(world).through(world.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"])


class Http:
    """PostgREST, with the stack's API keys and with user tokens signed like the project's own."""

    def __init__(self, stack: Stack, jwt_secret: str) -> None:
        self.stack = stack
        self._jwt_secret = jwt_secret
        self.client = httpx.Client(base_url=f"{stack.api_url}/rest/v1", timeout=30, limits=POOL)
        self.anon = Caller(self, "anon")
        self.admin = Caller(self, "service_role")

    def add_user(self, user_id: str) -> None:
        with self.stack.connect() as connection:
            _insert_user(connection, user_id)

    def add_session(self, user_id: str, session_id: str) -> None:
        with self.stack.connect() as connection:
            _insert_session(connection, user_id, session_id)

    def commit_grants(self) -> None:
        """Nothing to do: each call is a transaction."""

    def delete_user(self, user: Caller) -> None:
        with self.stack.connect() as connection:
            connection.execute("delete from auth.users where id = %s", [user.id])

    def call(self, caller: Caller, function: str, arguments: Mapping[str, Any]) -> Any:
        return read(self.send(caller, "POST", f"rpc/{function}", content=json.dumps(arguments)))

    def send(
        self,
        caller: Caller,
        method: str,
        path: str,
        *,
        content: str | bytes = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> httpx.Response:
        """Send any request as this caller."""
        key = self.stack.secret_key if caller.role == "service_role" else self.stack.publishable_key
        sent = {"apikey": key, "content-type": "application/json"}
        if caller.claims is not None:
            token = jwt.encode(dict(caller.claims), self._jwt_secret, "HS256")
            sent["authorization"] = f"Bearer {token}"
        if caller.runtime is not None:
            sent["x-llm-runtime"] = caller.runtime
        more = headers.items() if isinstance(headers, Mapping) else headers
        return self.client.request(method, path, content=content, headers=[*sent.items(), *more])


def read(response: httpx.Response) -> Any:
    """Return the JSON of a response. Raises Refused."""
    if response.is_success:
        return response.json() if response.content else None
    error = response.json()
    coded = str(error["code"]).startswith("PT")
    raise Refused(
        error["details"] if coded else error["code"],
        response.status_code,
        error["message"],
        error["hint"] or "",
        response.text,
    )


class Transaction:
    """The database in an open transaction, as `postgres` and as each API role."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.anon = Caller(self, "anon")
        self.admin = Caller(self, "service_role")

    def add_user(self, user_id: str) -> None:
        _insert_user(self.connection, user_id)

    def add_session(self, user_id: str, session_id: str) -> None:
        _insert_session(self.connection, user_id, session_id)

    def commit_grants(self) -> None:
        """Make this transaction's grants look as if an earlier transaction had committed them.

        Only a grant of an earlier transaction releases a key. Each call of a client is a transaction, but a
        test's calls share one that is never committed. 3 is PostgreSQL's first transaction number.
        """
        for table in GRANTS:
            self.sql(
                f"update llm_private.{table} set granted_in = '3'"
                " where granted_in = pg_current_xact_id_if_assigned()"
            )

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a query as the owner of the schema."""
        cursor = self.connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *parameters: Any) -> Any:
        """Run a query as the owner of the schema, and return its only value."""
        (row,) = self.sql(query, *parameters)
        (value,) = row.values()
        return value

    @contextlib.contextmanager
    def as_owner(self) -> Iterator[Connection]:
        """Act as the owner of the schema. Raises Refused and then undoes only this block."""
        try:
            with self.connection.transaction():
                yield self.connection
        except psycopg.Error as error:
            state = error.sqlstate or ""
            coded = state.startswith("PT")
            raise Refused(
                (error.diag.message_detail or "") if coded else state,
                int(state[2:]) if coded else None,
                error.diag.message_primary or str(error),
                error.diag.message_hint or "",
                str(error),
            ) from None

    @contextlib.contextmanager
    def as_role(self, caller: Caller) -> Iterator[Connection]:
        """Act as this caller, as PostgREST does. Raises Refused and then undoes only this block."""
        headers = {} if caller.runtime is None else {"x-llm-runtime": caller.runtime}
        claims = "" if caller.claims is None else json.dumps(dict(caller.claims))
        with self.as_owner() as connection:
            connection.execute(
                "select set_config('request.jwt.claims', %s, true),"
                " set_config('request.headers', %s, true), set_config('role', %s, true)",
                [claims, json.dumps(headers), caller.role],
            )
            yield connection
            connection.execute("set local role none")

    def call(self, caller: Caller, function: str, arguments: Mapping[str, Any]) -> Any:
        if function in ("set_llm_key", "set_llm_team_key", "begin_llm_key_check"):
            query, parameters = (
                f"select * from public.{function}(%s::json)",
                [json.dumps(arguments, ensure_ascii=False)],
            )
        else:
            named = ", ".join(f"{name} => %s" for name in arguments)
            query, parameters = (
                f"select * from public.{function}({named})",
                list(map(_adapt, arguments.values())),
            )
        with self.as_role(caller) as connection:
            cursor = connection.execute(query, parameters)
            rows = cursor.fetchall()
        assert cursor.description is not None
        if [column.name for column in cursor.description] == [function]:
            (row,) = rows
            return row[function] if row[function] != "" else None
        return rows


@contextlib.contextmanager
def rolled_back(connection: Connection) -> Iterator[Transaction]:
    """Open a transaction, and roll it back at the end."""
    with connection.transaction(force_rollback=True):
        yield Transaction(connection)


@contextlib.contextmanager
def logging_project(
    directory: Path, settings: Mapping[str, str]
) -> Iterator[tuple[Http, psycopg.Connection[Any]]]:
    """Start a project of its own in a directory, with these settings of PostgreSQL. It gives keys to users.

    Returns PostgREST and a connection as the superuser.
    """
    local = LocalStack(directory, project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        stack = Stack.from_env(local.env())
        assert stack.jwt_secret is not None
        stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
        http = Http(stack, stack.jwt_secret)
        with http.client, psycopg.connect(local.superuser_url, autocommit=True) as admin:
            for name, value in settings.items():
                admin.execute(f"alter system set {name} = '{value}'".encode())
            admin.execute("select pg_reload_conf()")
            for name, value in settings.items():
                wait_until(partial(_shows, admin, name, value))
            yield http, admin
    finally:
        local.destroy()


def _shows(connection: psycopg.Connection[Any], name: str, value: str) -> bool:
    return connection.execute(f"show {name}".encode()).fetchone() == (value,)


def owner(stack: Stack) -> Connection:
    """Connect as the database owner, in autocommit, with rows as dicts."""
    return psycopg.connect(stack.db_url, autocommit=True, row_factory=dict_row)


def _adapt(value: Any) -> Any:
    json_array = isinstance(value, list) and value and isinstance(value[0], dict)
    return Jsonb(value) if isinstance(value, dict) else Json(value) if json_array else value


def _insert_user(connection: psycopg.Connection[Any], user_id: str) -> None:
    connection.execute(
        "insert into auth.users (id, aud, role, email) values (%s, 'authenticated', 'authenticated', %s)",
        [user_id, f"{user_id}@example.com"],
    )


def _insert_session(connection: psycopg.Connection[Any], user_id: str, session_id: str) -> None:
    connection.execute("insert into auth.sessions (id, user_id) values (%s, %s)", [session_id, user_id])


def request_id(at: float | None = None) -> str:
    """Return a UUIDv7 for now, or for another time in seconds since 1970."""
    milliseconds = int((time.time() if at is None else at) * 1000)
    bits = milliseconds << 80 | 7 << 76 | int.from_bytes(os.urandom(10), "big") & (1 << 76) - 1
    return str(uuid.UUID(int=bits & ~(3 << 62) | 2 << 62))


def usage_event(**changes: Any) -> dict[str, Any]:
    """Return arguments of record_llm_usage for a successful attempt; `changes` omit the p_ prefix."""
    event = {
        "request_id": request_id(),
        "attempt": 1,
        "provider": "groq",
        "model": "llama-3.1-8b-instant",
        "key_source": "user",
        "outcome": "succeeded",
        **changes,
    }
    return {f"p_{name}": value for name, value in event.items()}


@dataclass(frozen=True)
class Adopter:
    """An existing project, and its inventory before supa-llm's migrations."""

    stack: Stack
    before: dict[str, list[Any]]


# Everything that is not supa-llm's, with owners and privileges.
_INVENTORY = {
    "default privileges": "select defaclrole::regrole::text, defaclnamespace::regnamespace::text, "
    "defaclobjtype::text, defaclacl::text from pg_default_acl",
    "settings of roles": "select setdatabase, setrole::regrole::text, setconfig from pg_db_role_setting",
    "roles": "select * from pg_roles where rolname <> 'llm_definer'",
    "memberships": "select * from pg_auth_members where roleid is distinct from to_regrole('llm_definer')",
    "database": "select * from pg_database where datname = current_database()",
    "schemas": "select nspname, nspowner::regrole::text, "
    # The one grant on an object of the project.
    "replace(nspacl::text, ',llm_definer=U/postgres', '') from pg_namespace "
    "where nspname !~ '^(pg_temp|pg_toast_temp|llm_private$|supabase_migrations$)'",
    "extensions": "select extname, extversion, extnamespace::regnamespace::text from pg_extension",
    "relations": "select oid::regclass::text, relkind::text, relowner::regrole::text, relacl::text, "
    "relrowsecurity, reloptions from pg_class "
    "where relnamespace::regnamespace::text !~ '^(pg_|llm_private$|supabase_migrations$)' "
    "and relname !~ 'llm'",
    "functions": "select oid::regprocedure::text, proowner::regrole::text, proacl::text, proconfig, prosrc "
    "from pg_proc where pronamespace::regnamespace::text <> 'llm_private' and proname !~ 'llm'",
    "policies": "select * from pg_policies where schemaname <> 'llm_private' and tablename !~ 'llm'",
    "triggers": "select tgrelid::regclass::text, tgname from pg_trigger"
    " where not tgisinternal and tgrelid::regclass::text !~ 'llm'",
    "event triggers": "select evtname, evtenabled::text from pg_event_trigger",
    "publications": "select pubname, puballtables from pg_publication",
    "published tables": "select * from pg_publication_tables",
}


def inventory(connection: Connection) -> dict[str, list[Any]]:
    """Return everything in a database that is not supa-llm's."""
    return {
        kind: sorted(repr(row) for row in connection.execute(query).fetchall())
        for kind, query in _INVENTORY.items()
    }
