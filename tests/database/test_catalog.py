"""Owners, privileges and policies of supa-llm's functions, tables and sequences in the system catalog."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.database.support import API_ROLES, Connection, owner
from tests.database.surface import PRIVATE_GRANTS, RPCS, SHARED, TABLES
from tests.support import ROOT


@pytest.fixture(scope="module", params=["old", "new"])
def catalog(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """The system catalog of a stack with old or new default privileges."""
    with owner(request.getfixturevalue("stack" if request.param == "old" else "new_stack")) as connection:
        yield connection


def rows(catalog: Connection, query: str) -> list[dict[str, Any]]:
    return catalog.execute(query).fetchall()


@pytest.fixture(scope="module")
def functions(catalog: Connection) -> list[dict[str, Any]]:
    roles = ", ".join(f"'{role}'" for role in API_ROLES)
    return rows(
        catalog,
        f"""
        select n.nspname as schema, p.proname as name, p.oid::regprocedure::text as signature,
          p.prosecdef as definer, p.proconfig as config, p.proowner::regrole::text as owner,
          p.prorettype::regtype::text as returns,
          array_length(string_to_array(trim(p.prosrc, E'\\n'), E'\\n'), 1) as lines,
          obj_description(p.oid) as comment,
          array(
            select r from unnest(array[{roles}]) as r where has_function_privilege(r, p.oid, 'execute')
          ) as granted,
          exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a where a.grantee = 0
          ) as public_may
        from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
        where n.nspname in ('llm_private', 'public')
        order by n.nspname, p.proname
        """,
    )


@pytest.fixture(scope="module")
def relations(catalog: Connection) -> list[dict[str, Any]]:
    return rows(
        catalog,
        """
        select n.nspname as schema, c.relname as name, c.relkind as kind, c.relrowsecurity as rls,
          c.relowner::regrole::text as owner, obj_description(c.oid) as comment,
          c.relispartition as is_partition
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('llm_private', 'public') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        order by n.nspname, c.relname
        """,
    )


def test_every_public_function_is_declared_and_has_llm_in_its_name(functions: list[dict[str, Any]]) -> None:
    public = {function["name"] for function in functions if function["schema"] == "public"}
    assert public == set(RPCS)
    assert all("llm" in name for name in public)


def test_no_function_is_overloaded(functions: list[dict[str, Any]]) -> None:
    """PostgREST picks an overload by argument names, so a missing argument could select another one."""
    names = [(function["schema"], function["name"]) for function in functions]
    assert len(names) == len(set(names))


def test_every_row_that_a_function_returns_has_a_named_type(functions: list[dict[str, Any]]) -> None:
    assert [function["name"] for function in functions if function["returns"] == "record"] == []


def test_a_function_does_one_thing(functions: list[dict[str, Any]]) -> None:
    long = {function["name"] for function in functions if function["lines"] > 80}
    assert long == set()


def test_every_rpc_runs_with_its_callers_privileges(functions: list[dict[str, Any]]) -> None:
    assert [f["name"] for f in functions if f["schema"] == "public" and f["definer"]] == []


def test_every_function_pins_its_search_path(functions: list[dict[str, Any]]) -> None:
    assert [
        f["signature"] for f in functions if "search_path=pg_catalog, pg_temp" not in (f["config"] or ())
    ] == []


def test_every_function_but_helpers_is_owned_by_postgres(functions: list[dict[str, Any]]) -> None:
    """For the helpers, see test_definer.py."""
    others = [f for f in functions if f["schema"] == "public" or not f["definer"]]
    assert [f["signature"] for f in others if f["owner"] != "postgres"] == []


def test_every_function_has_a_comment(functions: list[dict[str, Any]]) -> None:
    assert [f["signature"] for f in functions if not f["comment"]] == []


def test_each_function_is_executable_by_exactly_the_declared_roles(functions: list[dict[str, Any]]) -> None:
    for function in functions:
        declared: frozenset[str] = (
            RPCS[function["name"]].roles
            if function["schema"] == "public"
            else PRIVATE_GRANTS.get(function["name"], frozenset())
        )
        assert set(function["granted"]) == declared, function["signature"]
        assert not function["public_may"], function["signature"]
    assert {f["name"] for f in functions if f["schema"] == "llm_private"} >= set(PRIVATE_GRANTS)


def test_private_functions_open_to_the_api_are_security_definer(
    functions: list[dict[str, Any]],
) -> None:
    """A function that runs as its caller can do nothing there, so its grant would be a leftover."""
    private = [f for f in functions if f["schema"] == "llm_private"]
    assert [f["signature"] for f in private if f["granted"] and not f["definer"]] == []


def test_every_public_table_is_declared_and_has_llm_in_its_name(relations: list[dict[str, Any]]) -> None:
    public = {r["name"] for r in relations if r["schema"] == "public" and r["kind"] != "S"}
    assert public == set(TABLES)
    assert all("llm" in name for name in public)


def test_every_table_has_row_level_security(relations: list[dict[str, Any]]) -> None:
    assert [r["name"] for r in relations if r["kind"] in "rp" and not r["rls"]] == []


def test_every_table_is_owned_by_postgres_and_has_a_comment(
    relations: list[dict[str, Any]],
) -> None:
    assert [r["name"] for r in relations if r["owner"] != "postgres"] == []
    tables = [r for r in relations if r["kind"] in "rp" and not r["is_partition"]]
    assert [r["name"] for r in tables if not r["comment"]] == []


def test_api_roles_may_only_select_from_public_tables(catalog: Connection) -> None:
    """This includes sequences, and TRUNCATE, which bypasses row level security."""
    grants = rows(
        catalog,
        """
        select n.nspname || '.' || c.relname as relation, a.privilege_type as privilege,
          case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        cross join lateral aclexplode(
          coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
        ) as a
        where n.nspname in ('llm_private', 'public') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
          and a.grantee not in (c.relowner, 'llm_definer'::regrole)
        """,
    )
    granted = {(row["relation"], row["grantee"], row["privilege"]) for row in grants}
    assert granted == {
        (f"public.{table}", role, "SELECT") for table in TABLES for role in ("authenticated", "service_role")
    }


def test_no_column_has_its_own_grants(catalog: Connection) -> None:
    columns = rows(
        catalog,
        """
        select a.attrelid::regclass::text as relation, a.attname as name
        from pg_attribute as a
        inner join pg_class as c on c.oid = a.attrelid
        inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('llm_private', 'public') and a.attacl is not null
        """,
    )
    assert columns == []


def test_policies_let_signed_in_users_read_only_their_own_rows(catalog: Connection) -> None:
    policies = rows(
        catalog,
        "select tablename, cmd, roles::text[] as roles, qual, permissive from pg_policies "
        "where schemaname in ('public', 'llm_private') and not roles @> '{llm_definer}'",
    )
    assert {policy["tablename"] for policy in policies} == set(TABLES)
    for policy in policies:
        table = policy["tablename"]
        owner = "user_id" if table in SHARED else TABLES[table]
        assert policy["cmd"] == "SELECT"
        assert policy["roles"] == ["authenticated"]
        expected = f"({owner} = ( SELECT llm_private.user_id() AS user_id))"
        if table in SHARED:
            expected = f"((user_id IS NULL) OR {expected})"
        expected = "true" if owner is None else f"(llm_private.is_not_estimate() AND {expected})"
        assert policy["qual"] == expected, table


def test_the_primary_key_of_an_owned_table_starts_with_the_owner(catalog: Connection) -> None:
    """The index serves the table's policy, and the table can be sharded by owner."""
    leading = rows(
        catalog,
        """
        select c.relname as name, a.attname as first
        from pg_index as i
        inner join pg_class as c on c.oid = i.indrelid
        inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indisprimary and c.relnamespace = 'public'::regnamespace
        """,
    )
    assert {row["name"]: row["first"] for row in leading}.items() >= {
        table: owner for table, owner in TABLES.items() if owner
    }.items()


def test_every_foreign_key_is_indexed(catalog: Connection) -> None:
    """Without an index, deleting one account or provider would scan whole tables."""
    missing = rows(
        catalog,
        """
        select k.conrelid::regclass::text as name, k.conname as key
        from pg_constraint as k
        where k.contype = 'f' and k.connamespace in ('public'::regnamespace, 'llm_private'::regnamespace)
          and not exists (
            select from pg_index as i
            where i.indrelid = k.conrelid
              and (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
          )
        """,
    )
    assert missing == []


def test_only_the_api_roles_and_the_helpers_may_use_the_private_schema(catalog: Connection) -> None:
    grants = rows(
        catalog,
        "select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as grantee, "
        "a.privilege_type as privilege "
        "from pg_namespace as n, aclexplode(n.nspacl) as a "
        "where n.nspname = 'llm_private' and a.grantee <> n.nspowner",
    )
    assert {(row["grantee"], row["privilege"]) for row in grants} == {
        ("anon", "USAGE"),
        ("authenticated", "USAGE"),
        ("service_role", "USAGE"),
        ("llm_definer", "USAGE"),
    }


def test_no_supa_llm_trigger_is_on_a_table_of_the_project(catalog: Connection) -> None:
    """A failing trigger on auth.users would block sign-ups."""
    triggers = rows(
        catalog,
        "select tgrelid::regclass::text as name from pg_trigger as t "
        "inner join pg_proc as p on p.oid = t.tgfoid "
        "where p.pronamespace in ('public'::regnamespace, 'llm_private'::regnamespace) "
        "and tgrelid::regclass::text !~ 'llm'",
    )
    assert triggers == []


def calls_of_the_client() -> Iterator[tuple[str, set[str]]]:
    """Return each RPC that the client calls, with the parameters that the call names."""
    for path in (ROOT / "src" / "supa_llm" / "database").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Call"), args=[ast.Constant(value=str(name)), arguments, _]):
                    texts = [str(it.value) for it in ast.walk(arguments) if isinstance(it, ast.Constant)]
                    yield name, {text for text in texts if re.fullmatch(r"p_\w+", text)}


def test_the_client_calls_rpcs_by_their_names_and_parameters(catalog: Connection) -> None:
    """A client method that only calls one RPC therefore needs no test of its own."""
    found = rows(
        catalog,
        "select proname as name, proargnames[:pronargs] as parameters from pg_proc "
        "where pronamespace = 'public'::regnamespace",
    )
    parameters = {row["name"]: set(row["parameters"] or ()) for row in found}
    calls = list(calls_of_the_client())
    assert len(calls) > 30
    assert [(name, named) for name, named in calls if not named <= parameters.get(name, set())] == []
    assert {name for name, _ in calls} <= set(RPCS)
