"""Read a database's catalog as text, to compare two databases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg

#: Kind → its objects, each one text that starts with the object's name and holds every property of it.
Catalog = Mapping[str, frozenset[str]]


def _grants(acl: str, owner: str, kind: str) -> str:
    """The grants to everyone but the owner. Default privileges read the same whether stored or implied."""
    return f"""
      array(
        select a.grantee::regrole::text || ' ' || a.privilege_type || ' ' || a.is_grantable
        from aclexplode(coalesce({acl}, acldefault({kind}, {owner}))) as a
        where a.grantee <> {owner} order by 1
      )::text
    """


# The names and bounds of month partitions depend on the day on which the database was created.
_MONTH = re.compile(r"_\d{4}_\d{2}(?!\d)")
_BOUND = re.compile(r"FOR VALUES FROM \(.*\) TO \(.*\)")

_RELATION_GRANTS = _grants(
    "c.relacl", "c.relowner", "case c.relkind when 'S' then 's' else 'r' end::\"char\""
)
_FUNCTION_GRANTS = _grants("p.proacl", "p.proowner", "'f'")
_TYPE_GRANTS = _grants("t.typacl", "t.typowner", "'T'")
_SCHEMA_GRANTS = _grants("n.nspacl", "n.nspowner", "'n'")
_COLUMN_GRANTS = _grants("a.attacl", "c.relowner", "'c'")

_OWN = "n.nspname in ('llm_private', 'public')"

_QUERIES = {
    "schema": f"""
      select n.nspname, n.nspowner::regrole, obj_description(n.oid), {_SCHEMA_GRANTS}
      from pg_namespace as n where n.nspname = 'llm_private'
    """,
    "extension": """
      select e.extname, n.nspname
      from pg_extension as e inner join pg_namespace as n on n.oid = e.extnamespace
    """,
    "relation": f"""
      select n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner::regrole, c.relrowsecurity,
        c.relforcerowsecurity, c.reloptions, c.relreplident, pg_get_partkeydef(c.oid),
        pg_get_expr(c.relpartbound, c.oid), obj_description(c.oid), {_RELATION_GRANTS}
      from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
    """,
    "partition": f"""
      select i.inhrelid::regclass, i.inhparent::regclass
      from pg_inherits as i
      inner join pg_class as c on c.oid = i.inhrelid
      inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN}
    """,
    "view": f"""
      select n.nspname, c.relname, pg_get_viewdef(c.oid)
      from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN} and c.relkind in ('v', 'm')
    """,
    "sequence": f"""
      select n.nspname, c.relname, s.seqtypid::regtype, s.seqstart, s.seqincrement,
        s.seqmin, s.seqmax, s.seqcycle
      from pg_sequence as s
      inner join pg_class as c on c.oid = s.seqrelid
      inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN}
    """,
    "column": f"""
      select n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage,
        a.attcollation::regcollation, col_description(c.oid, a.attnum), {_COLUMN_GRANTS}
      from pg_attribute as a
      inner join pg_class as c on c.oid = a.attrelid
      inner join pg_namespace as n on n.oid = c.relnamespace
      left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where {_OWN} and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
    """,
    "constraint": f"""
      select n.nspname, k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated,
        obj_description(k.oid)
      from pg_constraint as k inner join pg_namespace as n on n.oid = k.connamespace
      where {_OWN}
    """,
    "index": f"""
      select n.nspname, c.relname, pg_get_indexdef(c.oid), c.reloptions, obj_description(c.oid)
      from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN} and c.relkind in ('i', 'I')
    """,
    "type": f"""
      select n.nspname, t.typname, t.typtype, t.typowner::regrole, t.typdefault, t.typbasetype::regtype,
        array(select e.enumlabel from pg_enum as e where e.enumtypid = t.oid order by e.enumsortorder),
        obj_description(t.oid), {_TYPE_GRANTS}
      from pg_type as t inner join pg_namespace as n on n.oid = t.typnamespace
      where {_OWN}
    """,
    "function": f"""
      select p.oid::regprocedure, pg_get_functiondef(p.oid), p.proowner::regrole, obj_description(p.oid),
        {_FUNCTION_GRANTS}
      from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
      where {_OWN} and p.prokind in ('f', 'p')
    """,
    "policy": """
      select schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check
      from pg_policies where schemaname in ('llm_private', 'public')
    """,
    "trigger": f"""
      select t.tgrelid::regclass, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
      from pg_trigger as t
      inner join pg_class as c on c.oid = t.tgrelid
      inner join pg_namespace as n on n.oid = c.relnamespace
      where {_OWN} and not t.tgisinternal
    """,
    # The rows that the migrations insert, without the times at which they did.
    "row": """
      select 'llm_providers', to_jsonb(r) - '{created_at,updated_at}'::text[]
      from public.llm_providers as r union all
      select 'llm_tasks', to_jsonb(r) from public.llm_tasks as r union all
      select 'price_units', to_jsonb(r) from llm_private.price_units as r union all
      select 'operator_settings', to_jsonb(r) - 'updated_at' from llm_private.operator_settings as r union all
      select 'usage_retention', to_jsonb(r) from llm_private.usage_retention as r union all
      select 'master_keys', to_jsonb(count(*)) from llm_private.master_keys
    """,
}


def read(connection: psycopg.Connection[Any]) -> Catalog:
    """Read every object of `public` and `llm_private`, without the months of partitions."""
    found = {}
    for kind, query in _QUERIES.items():
        # An empty search path makes PostgreSQL print every name with its schema.
        with connection.transaction(), connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute("set local search_path = ''")
            rows = cursor.execute(query).fetchall()
        found[kind] = frozenset(_without_month(" ".join(str(value) for value in row)) for row in rows)
    return found


def differences(one: Catalog, other: Catalog) -> list[str]:
    """List the objects that only one database has: `-` those of the first, `+` those of the other."""
    return [
        f"{sign} {kind} {text}"
        for kind in _QUERIES
        for sign, texts in (("-", one[kind] - other[kind]), ("+", other[kind] - one[kind]))
        for text in sorted(texts)
    ]


def _without_month(text: str) -> str:
    dated = _MONTH.sub("_YYYY_MM", text)
    return _BOUND.sub("FOR VALUES FROM (…) TO (…)", dated) if dated != text else text
