"""The policy tests in supabase/tests: what they catch, and that their reader misses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm.errors import ConfigurationError
from supa_llm.local.policies import PolicyResult, policy_tests, prepared, run_file
from tests.support import Stack
from tools.mutants import DOCS, EQUIVALENT, mutants


@pytest.fixture(scope="module")
def pgtap(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[Any]]:
    """A transaction with pgTAP."""
    with (
        psycopg.connect(stack.db_url) as connection,
        prepared(connection, tmp_path_factory.mktemp("none"), print),
    ):
        yield connection


def test_every_mutant_is_listed_and_none_survives(pgtap: psycopg.Connection[Any]) -> None:
    """Trying them takes a minute, so only `make policies` does."""
    listed = DOCS.read_text()
    names = [it.name for it in mutants(pgtap) if not it.kind.startswith("grant")]
    assert [name for name in names if name not in listed] == [], "Run: make policies"
    assert "SURVIVES" not in listed


def test_mutants_that_cannot_be_caught_exist(pgtap: psycopg.Connection[Any]) -> None:
    assert EQUIVALENT.keys() - {mutant.name for mutant in mutants(pgtap)} == set()


@pytest.mark.parametrize("file", policy_tests(), ids=lambda file: file.name)
def test_a_file_runs_under_supabase_test_db(file: Path) -> None:
    """psql runs each file in a session of its own. It rolls back, and has no commands of psql's."""
    text = file.read_text()
    statements = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    assert statements.startswith("begin;\nselect plan(")
    assert statements.endswith("select * from finish();\nrollback;\n")
    assert len(re.findall(r"^(begin|rollback|commit);", text, re.MULTILINE)) == 2
    assert not re.search(r"^\\", text, re.MULTILINE)
    assert text.startswith("-- ")


def read(pgtap: psycopg.Connection[Any], folder: Path, body: str) -> PolicyResult:
    file = folder / "a_property.test.sql"
    file.write_text(f"begin;\n{body}\nrollback;\n")
    return run_file(pgtap, file)


def test_a_failure_has_its_diagnostics(pgtap: psycopg.Connection[Any], tmp_path: Path) -> None:
    result = read(
        pgtap,
        tmp_path,
        "select plan(2); select ok(true, 'first'); select is(1, 2, 'second'); select finish();",
    )
    assert result.name == "a property"
    assert result.tests == 2
    (failure,) = result.failures
    assert failure.startswith("second\n")
    assert "have: 1" in failure


def test_an_error_ends_the_file_and_keeps_what_failed_before(
    pgtap: psycopg.Connection[Any], tmp_path: Path
) -> None:
    result = read(
        pgtap, tmp_path, "select plan(3); select ok(false, 'first'); select 1 / 0; select ok(true);"
    )
    assert result.tests == 1
    assert [failure.splitlines()[0] for failure in result.failures] == ["first", "ERROR:  division by zero"]


def test_tests_that_did_not_run_are_a_failure(pgtap: psycopg.Connection[Any], tmp_path: Path) -> None:
    assert read(pgtap, tmp_path, "select plan(2); select ok(true);").failures == (
        "2 tests were planned, and 1 ran.",
    )
    assert read(pgtap, tmp_path, "select 1;").failures


def test_a_file_leaves_nothing_for_the_next(pgtap: psycopg.Connection[Any], tmp_path: Path) -> None:
    body = "select plan(1); create table public.left_behind (); set local role anon; select ok(true);"
    assert read(pgtap, tmp_path, body).failures == ()
    assert read(pgtap, tmp_path, body).failures == ()


def test_pgtap_that_the_database_has_is_used(pgtap: psycopg.Connection[Any], tmp_path: Path) -> None:
    """Loading it a second time would fail."""
    with prepared(pgtap, tmp_path, print):
        assert run_file(pgtap, policy_tests()[0]).failures == ()


def test_a_database_without_supa_llm_is_an_error(stack: Stack, tmp_path: Path) -> None:
    with psycopg.connect(stack.db_url) as connection:
        connection.execute("alter schema llm_private rename to elsewhere")
        with pytest.raises(ConfigurationError) as info, prepared(connection, tmp_path, print):
            pass
        connection.rollback()
    assert info.value.code == "migrations_missing"


def test_a_role_that_cannot_load_pgtap_is_an_error(stack: Stack, tmp_path: Path) -> None:
    with psycopg.connect(stack.db_url) as connection:
        connection.execute("set role authenticated")
        with pytest.raises(ConfigurationError) as info, prepared(connection, tmp_path, print):
            pass
    assert info.value.code == "policies_untestable"
