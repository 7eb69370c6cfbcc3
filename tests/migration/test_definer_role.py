"""The role llm_definer belongs to the whole server: the migration and its removal respect what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support import ROOT
from tools.migration import migration_files

REMOVAL = (ROOT / "supabase" / "uninstall.sql").read_bytes()
OTHER = "another_app"


@pytest.fixture
def installed(empty: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A database with supa-llm, as empty afterwards as before."""
    install(empty)
    try:
        yield empty
    finally:
        if exists(empty, "to_regnamespace('llm_private')"):
            empty.execute(REMOVAL)


def install(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        for path in migration_files(ROOT):
            connection.execute(path.read_bytes())


def exists(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(f"select {name} is not null".encode()).fetchone()
    assert row is not None
    return bool(row[0])


def test_the_migration_needs_no_superuser(empty: psycopg.Connection[Any]) -> None:
    """The attributes of postgres on a hosted project."""
    row = empty.execute(
        "select rolsuper, rolcreaterole, rolbypassrls from pg_roles where rolname = current_user"
    ).fetchone()
    assert row is not None
    assert tuple(row) == (False, True, True)
    with empty.transaction(force_rollback=True):
        install(empty)
        assert exists(empty, "to_regrole('llm_definer')")


def test_a_role_that_a_reset_left_is_used_again(empty: psycopg.Connection[Any]) -> None:
    with empty.transaction(force_rollback=True):
        empty.execute("create role llm_definer")
        install(empty)


@pytest.mark.parametrize(
    "right", ["login", "createdb", "createrole", "bypassrls", "in role pg_read_all_data"]
)
def test_a_role_with_more_rights_is_refused(empty: psycopg.Connection[Any], right: str) -> None:
    with empty.transaction(force_rollback=True):
        empty.execute(f"create role llm_definer {right}".encode())
        with pytest.raises(psycopg.errors.RaiseException, match="has more rights"):
            install(empty)


def test_removal_drops_the_role(installed: psycopg.Connection[Any]) -> None:
    installed.execute(REMOVAL)
    assert not exists(installed, "to_regrole('llm_definer')")


def test_removal_leaves_a_role_that_another_database_uses(installed: psycopg.Connection[Any]) -> None:
    info = installed.info
    installed.execute(f"create database {OTHER}".encode())
    try:
        with psycopg.connect(
            host=info.host,
            port=info.port,
            user=info.user,
            password=info.password,
            dbname=OTHER,
            autocommit=True,
        ) as other:
            other.execute("create schema app; grant usage on schema app to llm_definer")
        installed.execute(REMOVAL)
        assert exists(installed, "to_regrole('llm_definer')")
        assert not exists(installed, "to_regnamespace('llm_private')")
        install(installed)
    finally:
        installed.execute(f"drop database {OTHER}".encode())
    installed.execute(REMOVAL)
    assert not exists(installed, "to_regrole('llm_definer')")
