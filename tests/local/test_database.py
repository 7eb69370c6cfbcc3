"""Roles, owners, default grants and the vault are those of a hosted project."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm.local import LocalStack

Connection = psycopg.Connection[tuple[Any, ...]]
API_ROLES = ("anon", "authenticated", "service_role")


@pytest.fixture
def db(stack: LocalStack) -> Iterator[Connection]:
    """A connection as `postgres`, in a transaction that is rolled back."""
    with psycopg.connect(stack.env()["DB_URL"]) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def superuser(stack: LocalStack) -> Iterator[Connection]:
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        yield connection


def rows(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


def test_postgres_17_with_the_expected_settings(superuser: Connection) -> None:
    assert rows(superuser, "select current_setting('server_version_num')::int / 10000") == [(17,)]
    assert rows(superuser, "show timezone") == [("UTC",)]
    assert rows(superuser, "show server_encoding") == [("UTF8",)]


def test_roles_have_the_attributes_of_a_hosted_project(superuser: Connection) -> None:
    found = {
        row[0]: row[1:]
        for row in rows(
            superuser,
            "select rolname, rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls, "
            "rolreplication, rolinherit from pg_roles where rolname !~ '^pg_'",
        )
    }
    assert found == {
        "supabase_admin": (True, True, True, True, True, True, True),
        "postgres": (False, True, True, True, True, True, True),
        "supabase_auth_admin": (False, True, True, False, False, False, False),
        "authenticator": (False, True, False, False, False, False, False),
        "anon": (False, False, False, False, False, False, True),
        "authenticated": (False, False, False, False, False, False, True),
        "service_role": (False, False, False, False, True, False, True),
    }


def test_owners_are_those_of_a_hosted_project(superuser: Connection) -> None:
    owners = dict(rows(superuser, "select nspname, nspowner::regrole::text from pg_namespace"))
    assert owners["public"] == "pg_database_owner"
    assert owners["auth"] == "supabase_auth_admin"
    assert owners["extensions"] == "postgres"
    assert owners["vault"] == "supabase_admin"
    assert rows(superuser, "select datdba::regrole::text from pg_database where datname = 'postgres'") == [
        ("postgres",)
    ]
    tables = rows(superuser, "select distinct tableowner from pg_tables where schemaname = 'auth'")
    assert tables == [("supabase_auth_admin",)]
    extensions = rows(
        superuser, "select extname, extnamespace::regnamespace::text from pg_extension order by 1"
    )
    assert ("pgcrypto", "extensions") in extensions
    assert ("pg_stat_statements", "extensions") in extensions


def test_timeouts_of_the_api_roles(superuser: Connection) -> None:
    settings = dict(
        rows(
            superuser,
            "select setrole::regrole::text, setconfig from pg_db_role_setting where setdatabase = 0",
        )
    )
    assert settings["anon"] == ["statement_timeout=3s"]
    assert settings["authenticated"] == ["statement_timeout=8s"]
    assert settings["authenticator"] == ["statement_timeout=8s", "lock_timeout=8s"]


@pytest.mark.parametrize(
    "statement",
    [
        "create table auth.mine (id int)",
        "alter table auth.users add column mine int",
        "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
        "alter role supabase_admin with password 'x'",
        "create role mine superuser",
        "select pg_read_file('supa_llm_vault.key')",
        "copy (select 1) to program 'true'",
        "insert into vault.secrets (secret) values ('plain')",
        "set role supabase_admin",
        "set role supabase_auth_admin",
    ],
)
def test_postgres_cannot(db: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "create table public.mine (owner uuid references auth.users (id))",
        "create schema mine; create table mine.things (id int)",
        "create function public.f() returns trigger language plpgsql as 'begin return new; end'; "
        "create trigger mine after insert on auth.users for each row execute function public.f()",
        "insert into auth.users (id, email) values (gen_random_uuid(), 'made@by.seed')",
        "create role mine nologin; grant mine to authenticator",
        "set role anon",
        "set role service_role",
        "create extension if not exists pgcrypto with schema extensions",
        "create extension pg_trgm with schema extensions",
        "alter default privileges in schema public revoke all on tables from anon",
        "select extensions.digest('x', 'sha256')",
        "select * from extensions.pg_stat_statements",
    ],
)
def test_postgres_can(db: Connection, statement: str) -> None:
    db.execute(statement)


def privileges_of_new_objects(url: str) -> dict[str, set[str]]:
    """The grants of each API role on a new table, sequence and function, beyond those of PUBLIC."""
    with psycopg.connect(url) as connection:
        connection.execute("create table public.fresh (id int); create sequence public.fresh_seq")
        connection.execute("create function public.fresh() returns int language sql as 'select 1'")
        found: dict[str, set[str]] = {role: set() for role in API_ROLES}
        for role, kind, privilege in connection.execute(
            """
            select a.grantee::regrole::text, o.kind, a.privilege_type
            from (
              select 'table' as kind, relacl as acl from pg_class where oid = 'public.fresh'::regclass
              union all select 'sequence', relacl from pg_class where oid = 'public.fresh_seq'::regclass
              union all select 'function', proacl from pg_proc where oid = 'public.fresh()'::regprocedure
            ) o, aclexplode(o.acl) a
            where a.grantee <> 0
            """
        ):
            if role in found:
                found[role].add(f"{kind} {privilege.lower()}")
        connection.rollback()
        return found


def test_old_default_privileges_grant_everything(stack: LocalStack) -> None:
    for granted in privileges_of_new_objects(stack.env()["DB_URL"]).values():
        assert {
            "table select",
            "table insert",
            "table truncate",
            "sequence usage",
            "function execute",
        } <= granted


def test_new_default_privileges_grant_nothing_that_the_api_uses(tmp_path: Path, project: Path) -> None:
    stack = LocalStack(tmp_path / "state", project=project, port=0, throwaway=True, default_privileges="new")
    try:
        stack.up()
        for granted in privileges_of_new_objects(stack.env()["DB_URL"]).values():
            assert granted == {
                "table truncate", "table references", "table trigger", "table maintain", "sequence update"
            }  # fmt: skip
    finally:
        stack.destroy()


def test_a_secret_is_stored_updated_and_deleted(db: Connection) -> None:
    [(secret_id,)] = rows(db, "select vault.create_secret('s3cret ü', 'mine', 'what for')")
    assert isinstance(secret_id, uuid.UUID)
    read = "select name, description, decrypted_secret from vault.decrypted_secrets where id = %s"
    assert rows(db, read, secret_id) == [("mine", "what for", "s3cret ü")]
    db.execute("select vault.update_secret(%s, 'changed', new_description => 'else')", [secret_id])
    assert rows(db, read, secret_id) == [("mine", "else", "changed")]
    db.execute("select vault.update_secret(%s, new_name => 'renamed')", [secret_id])
    assert rows(db, read, secret_id) == [("renamed", "else", "changed")]
    [(empty_id,)] = rows(db, "select vault.create_secret('')")
    assert rows(db, read, empty_id) == [(None, "", "")]
    db.execute("delete from vault.secrets where id = %s", [secret_id])
    assert rows(db, read, secret_id) == []


def test_the_vault_has_the_hosted_interface(db: Connection) -> None:
    signatures = dict(
        rows(
            db,
            "select proname, pg_get_function_arguments(oid) || ' -> ' || pg_get_function_result(oid) "
            "from pg_proc where pronamespace = 'vault'::regnamespace and proname like '%%\\_secret'",
        )
    )
    assert signatures == {
        "create_secret": "new_secret text, new_name text DEFAULT NULL::text, "
        "new_description text DEFAULT ''::text, new_key_id uuid DEFAULT NULL::uuid -> uuid",
        "update_secret": "secret_id uuid, new_secret text DEFAULT NULL::text, "
        "new_name text DEFAULT NULL::text, new_description text DEFAULT NULL::text, "
        "new_key_id uuid DEFAULT NULL::uuid -> void",
    }
    columns = (
        "select array_agg(attname::text order by attnum) from pg_attribute where attrelid = %s::regclass"
    )
    assert rows(db, columns, "vault.decrypted_secrets") == [
        (
            [
                "id",
                "name",
                "description",
                "secret",
                "decrypted_secret",
                "key_id",
                "nonce",
                "created_at",
                "updated_at",
            ],
        )
    ]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_users_cannot_read_the_vault(db: Connection, role: str) -> None:
    db.execute(f"set local role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select * from vault.decrypted_secrets")


def test_service_role_can_use_the_vault(db: Connection) -> None:
    db.execute("set local role service_role")
    db.execute("select vault.create_secret('x', 'by service_role')")
    assert rows(
        db, "select decrypted_secret from vault.decrypted_secrets where name = 'by service_role'"
    ) == [("x",)]


def test_no_file_of_the_database_contains_a_plaintext(stack: LocalStack, superuser: Connection) -> None:
    canary = f"canary-{uuid.uuid4()}"
    [(secret_id,)] = rows(superuser, "select vault.create_secret(%s, 'canary')", canary)
    superuser.execute("select vault.update_secret(%s, %s)", [secret_id, canary + "-changed"])
    superuser.execute("checkpoint")
    try:
        [(data,)] = rows(superuser, "show data_directory")
        searched = 0
        for file in Path(str(data)).rglob("*"):
            if file.is_file():
                searched += 1
                assert canary.encode() not in file.read_bytes(), file
        assert searched > 100
    finally:
        superuser.execute("delete from vault.secrets where id = %s", [secret_id])


def test_a_ciphertext_cannot_be_decrypted_in_another_row_or_with_another_key(superuser: Connection) -> None:
    with superuser.transaction(force_rollback=True):
        [(first,)] = rows(superuser, "select vault.create_secret('first')")
        [(second,)] = rows(superuser, "select vault.create_secret('second')")
        superuser.execute(
            "update vault.secrets as moved set secret = s.secret, nonce = s.nonce "
            "from vault.secrets as s where s.id = %s and moved.id = %s",
            [first, second],
        )
        with pytest.raises(psycopg.errors.ExternalRoutineInvocationException), superuser.transaction():
            rows(superuser, "select decrypted_secret from vault.decrypted_secrets where id = %s", second)
        with pytest.raises(psycopg.errors.ExternalRoutineInvocationException), superuser.transaction():
            rows(
                superuser,
                "select extensions.pgp_sym_decrypt_bytea(decode(secret, 'base64'), 'wrong') "
                "from vault.secrets where id = %s",
                first,
            )


def test_reading_a_secret_derives_its_key_in_one_step(superuser: Connection) -> None:
    """The root key is random, so hashing it thousands of times would only slow every read down."""
    superuser.execute("select vault.create_secret('hot', 'hot')")
    try:
        [(secret,)] = rows(superuser, "select decode(secret, 'base64') from vault.secrets where name = 'hot'")
    finally:
        superuser.execute("delete from vault.secrets where name = 'hot'")
    # A packet of the encrypted session key (RFC 4880, 5.3): tag 3, length, version 4, AES-256, salted S2K.
    assert (secret[0], tuple(secret[2:5])) == (0xC3, (4, 9, 1))
