"""`supa-llm test policies`, on a real project."""

from __future__ import annotations

import json
from pathlib import Path

from supa_llm.local.policies import policy_tests
from tests.cli.command import run
from tests.support import Stack

NAMES = [file.name.removesuffix(".test.sql").replace("_", " ") for file in policy_tests()]


def test_every_property_holds_and_has_a_line(stack: Stack, tmp_path: Path) -> None:
    done = run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL=stack.db_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(NAMES) > 15
    assert done.stdout.splitlines() == [
        *(f"✓ {name}" for name in NAMES),
        f"All {len(NAMES)} properties hold.",
    ]


def test_nothing_remains_in_the_database(stack: Stack, tmp_path: Path) -> None:
    with stack.connect() as connection:
        query = (
            "select (select count(*) from auth.users where email like '%@policies.test'),"
            " (select count(*) from public.llm_providers where id = 'policies'),"
            " to_regproc('extensions.plan') is null"
        )
        run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL=stack.db_url)
        assert connection.execute(query).fetchone() == (0, 0, True)


def test_a_property_that_fails_is_named_with_the_reason(stack: Stack, tmp_path: Path) -> None:
    with stack.connect() as connection:
        connection.execute("grant update on public.llm_prices to authenticated")
        try:
            done = run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL=stack.db_url)
            as_json = run("test", "policies", "--json", cwd=tmp_path, SUPABASE_DB_URL=stack.db_url)
        finally:
            connection.execute("revoke update on public.llm_prices from authenticated")
    assert done.returncode == as_json.returncode == 1
    assert "✗ nobody writes tables directly\n    neither has another privilege" in done.stdout
    assert done.stdout.endswith(f"1 of {len(NAMES)} properties failed.\n")
    report = json.loads(as_json.stdout)
    assert report["passed"] is False
    assert [it["name"] for it in report["properties"]] == NAMES
    (failed,) = [it for it in report["properties"] if it["failures"]]
    assert failed["file"] == "nobody_writes_tables_directly.test.sql"
    assert failed["tests"] > 10
    assert "llm_prices" in failed["failures"][0]


def test_without_a_database_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL="", DB_URL="")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: No database selected. Set SUPABASE_DB_URL")


def test_an_unreachable_database_is_an_error_without_the_password(tmp_path: Path) -> None:
    url = "postgresql://postgres:hunter2@127.0.0.1:1/postgres"
    done = run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL=url)
    assert done.returncode == 1
    assert "[database_unreachable]" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_malformed_address_is_an_error_without_the_password(tmp_path: Path) -> None:
    done = run("test", "policies", cwd=tmp_path, SUPABASE_DB_URL="postgres//postgres:hunter2@host")
    assert done.returncode == 1
    assert "[database_unreachable]" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
