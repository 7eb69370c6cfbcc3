"""The role llm_definer: which functions it owns, and that it has what they need and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.database.privileges import code, needed
from tests.database.support import Connection, owner
from tests.support import Stack

ROLE = "llm_definer"
#: Definer functions that keep the rights of postgres → why, as a pattern in their code.
AUTH, VAULT = r"\mauth\.", r"\mvault\."
PARTITIONS = r"llm_private\.(add_month_partition|drop_months)\("
APPEND_ONLY = r"delete from public\.llm_audit_log"
KEPT = {
    **dict.fromkeys(
        [
            "administrator",
            "after_members_left",
            "can_act",
            "check_account",
            "check_quota_scope",
            "check_step_up",
            "confirmed_email",
            "ensure_owner",
            "group_members",
            "hold_account",
            "is_anonymous",
            "key_holder",
            "list_users",
            "lock_team",
            "members_json",
            "refuse_user",
            "remove_team",
            "require_account",
            "require_session",
            "set_user_group",
            "signed_in_at",
            "team_json",
            "user_group",
            "user_id",
        ],
        AUTH,
    ),
    **dict.fromkeys(
        ["destroy_master_keys", "master_key_problems", "put_in_vault", "readable_master_key"], VAULT
    ),
    **dict.fromkeys(["add_month_partitions", "drop_old_audit", "drop_old_events"], PARTITIONS),
    "remove_user_data": APPEND_ONLY,
}


@pytest.fixture(scope="module")
def connection(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


@pytest.fixture
def helper(connection: Connection) -> Iterator[Connection]:
    """A transaction with the rights of the role, which is rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute("set local role llm_definer")
        yield connection


def names(connection: Connection, query: str) -> set[str]:
    return {str(row["name"]) for row in connection.execute(query.encode()).fetchall()}


def test_every_definer_function_belongs_to_the_role_or_is_an_exception(connection: Connection) -> None:
    definers = (
        "select proname as name from pg_proc where pronamespace = 'llm_private'::regnamespace and prosecdef"
    )
    of_the_role = names(connection, f"{definers} and proowner = '{ROLE}'::regrole")
    assert names(connection, f"{definers} and proowner = 'postgres'::regrole") == set(KEPT)
    assert names(connection, definers) == of_the_role | set(KEPT)
    assert len(of_the_role) > 60


@pytest.mark.parametrize("reason", [AUTH, VAULT, PARTITIONS, APPEND_ONLY])
def test_an_exception_has_its_reason(connection: Connection, reason: str) -> None:
    bodies = connection.execute(
        "select proname as name, prosrc as body from pg_proc where pronamespace = 'llm_private'::regnamespace"
    ).fetchall()
    matching = connection.execute(
        "select b.name from unnest(%s::text[], %s::text[]) as b (name, body) where b.body ~ %s",
        [[row["name"] for row in bodies], [code(row["body"]) for row in bodies], reason],
    ).fetchall()
    assert {name for name, why in KEPT.items() if why == reason} <= {row["name"] for row in matching}


def test_the_role_owns_only_functions(connection: Connection) -> None:
    owned = names(
        connection,
        "select distinct classid::regclass::text as name from pg_shdepend"
        f" where refobjid = '{ROLE}'::regrole and deptype = 'o'",
    )
    assert owned == {"pg_proc"}


def test_the_role_can_neither_log_in_nor_pass_row_level_security(connection: Connection) -> None:
    row = connection.execute(
        "select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
        " from pg_roles where rolname = %s",
        [ROLE],
    ).fetchone()
    assert row is not None
    assert not any(row.values())
    memberships = f"select roleid::regrole as name from pg_auth_members where member = '{ROLE}'::regrole"
    assert names(connection, memberships) == set()
    members = f"select member::regrole as name from pg_auth_members where roleid = '{ROLE}'::regrole"
    assert names(connection, members) == {"postgres"}


def test_the_role_has_exactly_the_privileges_that_its_functions_need(connection: Connection) -> None:
    needs = needed(connection, ROLE)
    granted = connection.execute(
        """
        select n.nspname || '.' || c.relname as relation, a.privilege_type as privilege
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        cross join lateral aclexplode(c.relacl) as a
        where a.grantee = 'llm_definer'::regrole
        """
    ).fetchall()
    tables = {(row["relation"], row["privilege"]) for row in granted}
    assert (needs.tables - tables, "missing in 92_definer.sql") == (set(), "missing in 92_definer.sql")
    assert (tables - needs.tables, "not needed") == (set(), "not needed")
    functions = names(
        connection,
        "select n.nspname || '.' || p.proname as name from pg_proc as p"
        " inner join pg_namespace as n on n.oid = p.pronamespace"
        " cross join lateral aclexplode(p.proacl) as a"
        " where p.prosecdef and p.proowner <> a.grantee and a.grantee = 'llm_definer'::regrole",
    )
    assert (needs.functions - functions, "missing in 92_definer.sql") == (set(), "missing in 92_definer.sql")
    assert (functions - needs.functions, "not needed") == (set(), "not needed")
    schemas = (
        "select n.nspname || ' ' || a.privilege_type as name from pg_namespace as n"
        " cross join lateral aclexplode(n.nspacl) as a where a.grantee = 'llm_definer'::regrole"
    )
    assert names(connection, schemas) == {"llm_private USAGE", "extensions USAGE"}


@pytest.mark.parametrize(
    "statement",
    [
        "select from auth.users",
        "select from vault.decrypted_secrets",
        "update public.llm_audit_log set action = action",
        "delete from public.llm_usage_events",
        "truncate llm_private.quotas",
        "alter table llm_private.quotas disable row level security",
        "create table public.mine (id bigint)",
        "create function llm_private.mine() returns integer language sql return 1",
        "alter role llm_definer login",
        "drop schema llm_private cascade",
    ],
)
def test_what_the_role_cannot_do(helper: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), helper.transaction():
        helper.execute(statement.encode())


def test_row_level_security_binds_the_role(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute('drop policy "helpers check rows themselves" on public.llm_tasks')
        connection.execute("set local role llm_definer")
        assert connection.execute("select from public.llm_tasks").fetchall() == []


def test_a_new_function_goes_to_the_role_and_a_second_run_changes_nothing(connection: Connection) -> None:
    owned = f"select proname as name from pg_proc where proowner = '{ROLE}'::regrole"
    with connection.transaction(force_rollback=True):
        before = names(connection, owned)
        connection.execute(
            "create function llm_private.mine() returns integer language sql security definer"
            " set search_path = pg_catalog, pg_temp return 1"
        )
        for _ in range(2):
            connection.execute("select llm_private.assign_helpers()")
            assert names(connection, owned) - before == {"mine"}
        create = "select has_schema_privilege('llm_definer', 'llm_private', 'create')::text as name"
        assert names(connection, create) == {"false"}
