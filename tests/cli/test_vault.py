"""`supa-llm vault`: its state, rotations that are interrupted, and tickets."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.command import start
from tests.cli.conftest import Cli
from tests.owners import many_owners
from tests.support import Stack, User, key_for, wait_until

#: So many owners that a rotation takes several batches.
OWNERS = 7_000


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with stack.connect() as connection:
        yield connection


def masters(stack: Stack) -> list[int]:
    return [it["id"] for it in stack.admin("get_llm_vault")["master_keys"]]


def test_the_status_shows_owners_and_ticket_keys(supa_llm: Cli, stack: Stack, user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    shown = supa_llm("vault", "status")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^master key +created \(UTC\) +owners +status$", shown.stdout, re.MULTILINE)
    assert re.search(r"^ticket key +created \(UTC\) +status$", shown.stdout, re.MULTILINE)
    assert "in use" in shown.stdout
    vault = json.loads(supa_llm("vault", "status", "--json").stdout)
    assert vault["master_keys"][-1]["owners"] >= 1
    assert (vault["pending"], vault["left"], vault["unreadable"]) == (False, 0, 0)


def test_a_rotation_reports_what_it_did(supa_llm: Cli, stack: Stack, user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 1))
    before = masters(stack)
    would = supa_llm("vault", "rotate", "--dry-run")
    assert re.fullmatch(r"Would rotate the master key: [\d,]+ data keys? left to encrypt\.\n", would.stdout)
    assert masters(stack) == before
    done = supa_llm("vault", "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^Rotated the master key: encrypted [\d,]+ data keys? with the new one, "
        r"destroyed 1 earlier master key\.$",
        done.stdout,
        re.MULTILINE,
    )
    assert "docs/backup.md" in done.stdout
    assert not set(masters(stack)) & set(before)
    assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq", 1)
    again = json.loads(supa_llm("vault", "rotate", "--yes", "--json").stdout)
    assert (again["destroyed"], again["unreadable"], again["dry_run"]) == (1, 0, False)
    assert again["rewrapped"] >= 1


def test_a_killed_rotation_loses_nothing_and_is_resumed(
    supa_llm: Cli, stack: Stack, user: User, db: psycopg.Connection[Any], tmp_path: Path
) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq", 1))
    before = masters(stack)
    with many_owners(db, OWNERS):
        environment = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        process = start("vault", "rotate", "--yes", cwd=tmp_path, **environment)
        try:
            wait_until(lambda: len(masters(stack)) > len(before))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        pending = stack.admin("get_llm_vault")
        assert pending["pending"]
        assert 0 < pending["left"] < OWNERS
        assert set(before) <= set(masters(stack))
        readable = (
            "select count(*) from llm_private.key_owners as o where llm_private.data_key(o.id) is not null"
        )
        count = db.execute(readable.encode()).fetchone()
        assert count
        assert count[0] > OWNERS
        assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq", 1)

        status = supa_llm("vault", "status")
        assert "A rotation is pending:" in status.stdout
        doctor = supa_llm("doctor", "--offline")
        assert "[vault_rotation_unfinished]" in doctor.stdout
        assert "supa-llm vault rotate" in doctor.stdout
        would = supa_llm("vault", "rotate", "--dry-run")
        assert "Would finish the pending rotation of the master key: " in would.stdout

        done = json.loads(supa_llm("vault", "rotate", "--yes", "--json").stdout)
        # The one that was interrupted, not another one.
        assert (done["destroyed"], done["unreadable"]) == (len(before), 0)
        assert len(masters(stack)) == 1
        assert db.execute(readable.encode()).fetchone() == count
        assert user.rpc("reveal_llm_key", p_provider="groq")["key"] == key_for("groq", 1)
    assert "vault_rotation_unfinished" not in supa_llm("doctor", "--offline").stdout


def test_tickets_are_signed_with_a_new_key(supa_llm: Cli, stack: Stack) -> None:
    before = stack.admin("get_llm_vault")["ticket_keys"]
    done = supa_llm("vault", "rotate", "--tickets", "--overlap", "2", "--yes")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"Rotated the key that signs tickets\. Earlier tickets are valid until [-\d]+ [:\d]+ UTC\.\n",
        done.stdout,
    )
    after = stack.admin("get_llm_vault")["ticket_keys"]
    assert [it["valid_until"] is None for it in after[-2:]] == [False, True]
    assert after[-1]["id"] > before[-1]["id"]
    shown = supa_llm("vault", "status").stdout
    assert re.search(r"valid until [-\d]+ [:\d]+$", shown, re.MULTILINE)
