"""The privileges that functions need, read from their source.

A function that runs with its owner's rights needs privileges on what it reads and writes, and on what the
helpers that it calls read and write. This reads SQL with regular expressions: enough for the code in
supabase/schemas, whose tables and functions are all written with their schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

#: A table and a privilege on it, such as ("llm_private.quotas", "SELECT").
Privilege = tuple[str, str]

_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
_RELATION = re.compile(
    r"(?P<before>(?P<insert>\binsert into)|\bupdate|\bdelete from|\block table|\bfrom|\bjoin|\busing|,)\s+"
    # A name before a parenthesis is a function, but for `insert into table (column, …)`.
    r"(?P<name>(?:llm_private|public)\.\w+)\b(?(insert)|(?!\s*\())(?:\s+as\s+(?P<alias>\w+))?",
    re.IGNORECASE,
)
_ROW_LOCK = re.compile(r"\bfor (?:no key update|update|key share|share)\b(?: of (\w+))?", re.IGNORECASE)
_CALL = re.compile(r"\b((?:llm_private|public)\.\w+)\s*\(")


@dataclass(frozen=True)
class Function:
    """A function of supa-llm."""

    name: str
    body: str
    definer: bool
    owner: str
    #: Who fires it needs no privilege on it.
    trigger: bool


@dataclass
class Needs:
    """What a function needs, with the helpers that run with the same rights."""

    tables: set[Privilege] = field(default_factory=set)
    #: Functions that run with the rights of another owner.
    functions: set[str] = field(default_factory=set)


def code(source: str) -> str:
    """SQL without comments and texts."""
    return _COMMENT_OR_TEXT.sub(lambda it: "''" if it[0].startswith("'") else "", source)


def needed(connection: psycopg.Connection[Any], role: str) -> Needs:
    """What the functions of a role need that run with its rights."""
    functions = {it.name: it for it in _functions(connection)}
    views = dict(_rows(connection, _VIEWS))
    extra: dict[str, list[str]] = {}
    for table, called in _rows(connection, _CALLED_BY_TABLES):
        extra.setdefault(table, []).append(called)
    found = Needs()
    waiting = [it.body for it in functions.values() if it.definer and it.owner == role]
    seen: set[str] = set()
    while waiting:
        body = waiting.pop()
        tables = set(table_privileges(body))
        found.tables |= tables
        called = set(_CALL.findall(body))
        for table, privilege in tables:
            called.update(extra.get(table, ()) if privilege != "SELECT" else ())
            if table in views and table not in seen:
                seen.add(table)
                waiting.append(code(views[table]))
        for name in called & functions.keys() - seen:
            seen.add(name)
            if not functions[name].definer:
                waiting.append(functions[name].body)
            elif functions[name].owner != role and not functions[name].trigger:
                found.functions.add(name)
    return found


def table_privileges(body: str) -> Iterator[Privilege]:
    """The privileges on tables and views that a function's own statements need."""
    for statement in body.split(";"):
        conflict = re.search(r"\bon conflict\b", statement, re.IGNORECASE)
        for it in _RELATION.finditer(statement):
            table, before = it["name"], it["before"].lower()
            match before:
                case "insert into":
                    yield table, "INSERT"
                    if conflict or re.search(r"\breturning\b", statement, re.IGNORECASE):
                        yield table, "SELECT"
                    if conflict and re.search(r"\bdo update\b", statement, re.IGNORECASE):
                        yield table, "UPDATE"
                case "update" | "lock table":
                    yield from ((table, "UPDATE"), (table, "SELECT"))
                case "delete from":
                    yield from ((table, "DELETE"), (table, "SELECT"))
                case _:
                    yield table, "SELECT"
        for lock in _ROW_LOCK.finditer(statement):
            yield from ((table, "UPDATE") for table in _locked(statement[: lock.start()], lock[1]))


def _locked(before: str, alias: str | None) -> Iterable[str]:
    """The tables whose rows `for update` locks: the one with the alias, or those of the nearest `from`."""
    if alias:
        return [it["name"] for it in _RELATION.finditer(before) if it["alias"] == alias]
    nearest = list(re.finditer(r"\bfrom\b", before, re.IGNORECASE))[-1].start()
    return [it["name"] for it in _RELATION.finditer(before[nearest:])]


_FUNCTIONS = """
select n.nspname || '.' || p.proname, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.prosecdef,
  p.proowner::regrole::text, p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
where n.nspname in ('llm_private', 'public')
"""
_VIEWS = """
select n.nspname || '.' || c.relname, pg_get_viewdef(c.oid)
from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('llm_private', 'public') and c.relkind = 'v'
"""
#: Functions that a write to a table calls: those in its defaults, and its triggers.
_CALLED_BY_TABLES = """
select n.nspname || '.' || c.relname,
  (regexp_matches(pg_get_expr(d.adbin, d.adrelid), '(llm_private\\.\\w+)\\(', 'g'))[1]
from pg_attrdef as d
inner join pg_class as c on c.oid = d.adrelid
inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('llm_private', 'public')
union all
select n.nspname || '.' || c.relname, f.nspname || '.' || p.proname
from pg_trigger as t
inner join pg_class as c on c.oid = t.tgrelid
inner join pg_namespace as n on n.oid = c.relnamespace
inner join pg_proc as p on p.oid = t.tgfoid
inner join pg_namespace as f on f.oid = p.pronamespace
where n.nspname in ('llm_private', 'public') and not t.tgisinternal
"""


def _rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    # An empty search path makes PostgreSQL print every name with its schema.
    with connection.transaction(), connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute("set local search_path = ''")
        return cursor.execute(query.encode()).fetchall()


def _functions(connection: psycopg.Connection[Any]) -> Iterator[Function]:
    for name, body, *properties in _rows(connection, _FUNCTIONS):
        yield Function(name, code(body), *properties)
