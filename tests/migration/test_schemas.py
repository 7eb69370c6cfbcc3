"""supabase/schemas is the source, and the migrations build the same database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from supa_llm.local import LocalStack
from tests.database.support import Connection, owner
from tests.support import ROOT, Stack
from tools.catalog import Catalog, differences, read
from tools.migration import built, schema_files


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A database to which the Supabase CLI pushed the migrations."""
    local = LocalStack(tmp_path_factory.mktemp("migrated"), project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        with owner(Stack.from_env(local.env())) as connection:
            yield connection
    finally:
        local.destroy()


@pytest.fixture(scope="module")
def declared(empty: psycopg.Connection[Any]) -> Catalog:
    """The catalog that the schema files build."""
    return built(empty, schema_files(ROOT))


def test_migrations_and_schema_files_build_the_same_database(declared: Catalog, migrated: Connection) -> None:
    assert differences(declared, read(migrated)) == []


ALTERATIONS = {
    "schema": "comment on schema llm_private is 'Something else.'",
    "extension": "create extension hstore with schema extensions",
    "relation": "alter table llm_private.quotas disable row level security",
    "partition": "create table llm_private.more partition of public.llm_audit_log for values from "
    "('00000000-0000-0000-0000-000000000000') to ('00000000-0000-0000-0000-000000000001')",
    "view": "create or replace view llm_private.adjusted_events as "
    "select * from llm_private.adjusted_events where false",
    "sequence": "alter sequence llm_private.recalculations_id_seq increment by 2",
    "column": "alter table public.llm_keys alter column hint set default ''",
    "constraint": "alter table llm_private.quotas add constraint more check (amount < 10)",
    "index": "drop index llm_private.quotas_user",
    "type": "grant usage on type llm_private.route_line to anon",
    "function": "grant execute on function llm_private.set_key to service_role",
    "policy": 'alter policy "users read their own audit log" on public.llm_audit_log using (true)',
    "trigger": "alter table public.llm_prices disable trigger forget_charges",
    "row": "update public.llm_providers set position = 11 where id = 'openai'",
}


def test_the_database_has_objects_of_every_compared_kind(declared: Catalog) -> None:
    assert declared.keys() == ALTERATIONS.keys()
    assert all(declared.values())


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_a_difference_of_any_kind_is_found(kind: str, migrated: Connection) -> None:
    before = read(migrated)
    with migrated.transaction(force_rollback=True):
        migrated.execute(ALTERATIONS[kind].encode())
        after = read(migrated)
    assert before[kind] != after[kind]
    assert any(line[2:].startswith(f"{kind} ") for line in differences(before, after))
