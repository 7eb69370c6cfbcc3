"""supabase/schemas is the source, and the migration makes the same database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from supa_llm.local import LocalStack
from tests.database.support import Connection, owner
from tests.migration.catalogue import differences, read
from tests.support import ROOT, Stack
from tools.migration import schema_files


@contextlib.contextmanager
def _database(directory: Path, project: Path) -> Iterator[Connection]:
    local = LocalStack(directory, project=project, port=0, throwaway=True)
    try:
        local.up()
        with owner(Stack.from_env(local.env())) as connection:
            yield connection
    finally:
        local.destroy()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A database that got the migrations, from the Supabase CLI."""
    with _database(tmp_path_factory.mktemp("migrated"), ROOT) as connection:
        yield connection


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A database in which the schema files were run, in their order."""
    empty = tmp_path_factory.mktemp("empty")
    (empty / "supabase" / "migrations").mkdir(parents=True)
    with _database(tmp_path_factory.mktemp("declared"), empty) as connection:
        for path in schema_files(ROOT):
            connection.execute(path.read_bytes())
        yield connection


def test_migrations_and_schema_files_make_the_same_database(
    declared: Connection, migrated: Connection
) -> None:
    assert differences(read(declared), read(migrated)) == []


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


def test_no_kind_of_object_is_looked_for_in_vain(declared: Connection) -> None:
    found = read(declared)
    assert found.keys() == ALTERATIONS.keys()
    assert all(found.values())


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_a_difference_of_any_kind_is_seen(kind: str, migrated: Connection) -> None:
    before = read(migrated)
    with migrated.transaction(force_rollback=True):
        migrated.execute(ALTERATIONS[kind].encode())
        after = read(migrated)
    assert before[kind] != after[kind]
    assert any(line[2:].startswith(f"{kind} ") for line in differences(before, after))
