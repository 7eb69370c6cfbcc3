"""Calls that carry another user's ids in every argument that can hold one.

They are built from the system catalog, so a new RPC is attacked without a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.database.arguments import arguments_of
from tests.database.support import Connection
from tests.database.surface import RPCS, Victim

#: Types of arguments that hold ids, and the values that each is given.
ID_KINDS = frozenset({"uuid", "uuid[]", "bigint", "text", "text[]", "json", "jsonb"})

#: Types of arguments that cannot hold an id.
OTHER_KINDS = frozenset({"boolean", "date", "double precision", "integer", "timestamp with time zone"})

#: Columns that name the owner of a row, with the field of `Victim` that they hold.
OWNERS = {"user_id": "id", "owner": "id", "owner_id": "id", "team_id": "team_id"}
#: Tables whose own id is the owner's.
OWNERS_OF = {"llm_private.teams": {"id": "team_id"}}

#: Tables without such a column: nothing in them belongs to a user.
NOBODYS = frozenset(
    {
        "llm_private.audit_seal_points",
        "llm_private.audit_sealing",
        "llm_private.charges",
        "llm_private.dropped_events",
        "llm_private.installation",
        "llm_private.master_keys",
        "llm_private.operator_settings",
        "llm_private.price_list",
        "llm_private.price_names",
        "llm_private.price_tiers",
        "llm_private.price_units",
        "llm_private.recalculations",
        "llm_private.refused_events",
        "llm_private.runtimes",
        "llm_private.ticket_keys",
        "llm_private.usage_measures",
        "llm_private.usage_retention",
        "llm_private.usage_rollups",
        "llm_providers",
        "llm_tasks",
    }
)

_PARAMETERS = """
select p.proname as function, coalesce(p.proargnames[a.number], '') as name, format_type(a.type, null) as kind
from pg_proc as p
left join lateral unnest(p.proargtypes::oid[]) with ordinality as a (type, number) on true
where p.pronamespace = 'public'::regnamespace and p.proname ~ 'llm'
order by p.proname, a.number
"""

_TABLES = """
select c.oid::regclass::text as name, array_agg(a.attname::text) as columns
from pg_class as c inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p') and not c.relispartition and (
  c.relnamespace = 'llm_private'::regnamespace
  or c.relnamespace = 'public'::regnamespace and c.relname ~ 'llm'
)
group by c.oid
"""

_UUID_COLUMNS = """
select distinct a.attname::text as name from pg_attribute as a inner join pg_class as c on c.oid = a.attrelid
where a.atttypid = 'uuid'::regtype and a.attnum > 0 and c.relkind in ('r', 'p')
  and c.relnamespace in ('llm_private'::regnamespace, 'public'::regnamespace)
"""


@dataclass(frozen=True)
class Catalog:
    """What the system catalog says about supa-llm's API and tables.

    Attributes:
        parameters: of each public function, name → type. A function that takes the body has the name "".
        tables: each table, with its columns.
        id_fields: names under which a JSON argument may carry an id.
    """

    parameters: Mapping[str, Mapping[str, str]]
    tables: Mapping[str, list[str]]
    id_fields: frozenset[str]

    @classmethod
    def read(cls, connection: Connection) -> Catalog:
        parameters: dict[str, dict[str, str]] = {}
        for row in connection.execute(_PARAMETERS).fetchall():
            of_function = parameters.setdefault(row["function"], {})
            if row["kind"] is not None:
                of_function[row["name"]] = row["kind"]
        tables = {row["name"]: row["columns"] for row in connection.execute(_TABLES).fetchall()}
        columns = {row["name"] for row in connection.execute(_UUID_COLUMNS).fetchall()}
        return cls(parameters, tables, frozenset(columns | {f"p_{name}" for name in columns}))

    def owned(self) -> dict[str, dict[str, str]]:
        """Return the tables whose rows have an owner: the columns that name them, and fields of `Victim`."""
        found = {
            table: OWNERS_OF.get(table) or {it: OWNERS[it] for it in OWNERS if it in columns}
            for table, columns in self.tables.items()
        }
        return {table: columns for table, columns in found.items() if columns}

    def attacks(self, function: str, victim: Victim) -> Iterator[dict[str, Any]]:
        """Yield calls of an RPC, each with one of the victim's ids in one place."""
        aimed = dict(RPCS[function].attack(victim))
        complete = {**arguments_of(function), **aimed}
        yield aimed
        if "" in self.parameters[function]:
            for body in (aimed, arguments_of(function)):
                yield from (it for it in self._within(body, victim) if isinstance(it, dict))
            return
        for name, kind in self.parameters[function].items():
            for value in self._values(kind, victim):
                yield {**complete, name: value}
            if kind in ("json", "jsonb"):
                for example in (complete.get(name), arguments_of(function).get(name)):
                    for value in self._within(example, victim):
                        yield {**complete, name: value}

    def _values(self, kind: str, victim: Victim) -> Iterator[Any]:
        user, numbers = victim.id, victim.numbers()
        texts = [*victim.uuids(), f"{user}/{victim.request_id}/0/{user}", f"{user}/0", f"user:{user}"]
        match kind:
            case "uuid":
                yield from victim.uuids()
            case "uuid[]":
                yield victim.uuids()
            case "bigint":
                yield from numbers
            case "text":
                yield from texts
            case "text[]":
                yield texts
                yield [user]
            case "json" | "jsonb":
                yield from ([user], victim.ids(), [victim.ids()])

    def _within(self, example: Any, victim: Victim) -> Iterator[Any]:
        """Yield an argument with an id in place of each value, and under each name that could hold one."""
        match example:
            case dict():
                named = {**dict.fromkeys(sorted(self.id_fields), victim.id), **victim.ids()}
                yield from ({**example, name: value} for name, value in named.items())
                for name, inner in example.items():
                    yield {**example, victim.id: inner}
                    yield from ({**example, name: it} for it in self._within(inner, victim))
            case list():
                for number, inner in enumerate(example):
                    for it in self._within(inner, victim):
                        yield [*example[:number], it, *example[number + 1 :]]
            case _:
                yield from victim.ids().values()
