"""Other users of the machine cannot read the stack's secrets, and other machines cannot reach the stack."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from supa_llm.local import LocalStack
from tests.local.support import Run, layout_of, processes_of


def secrets_of(stack: LocalStack) -> list[str]:
    secrets = stack._known()[1]
    layout = layout_of(stack)
    values = [value for value in vars(secrets).values() if "\n" not in value]
    return [*values, (layout.data / "supa_llm_vault.key").read_text()]


def test_only_their_owner_can_read_the_files(stack: LocalStack) -> None:
    layout = layout_of(stack)
    for root in {stack.directory, layout.run}:
        assert root.stat().st_mode & 0o777 == 0o700
        for path in root.rglob("*"):
            if not path.is_symlink() and path.parent == root and path.is_dir():
                assert path.stat().st_mode & 0o077 == 0, path
    for path in (layout.secrets, layout.settings, layout.data / "supa_llm_vault.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    for path in (layout.service("rest") / "rest.conf", layout.service("auth") / "front.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    for path in [*(stack.directory / "logs").iterdir(), *(stack.directory / "pids").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user; the modes are tested above")
def test_another_user_cannot_read_the_files(stack: LocalStack) -> None:
    layout = layout_of(stack)
    nobody = pwd.getpwnam("nobody")
    for path in (layout.secrets, layout.service("auth") / "front.json", layout.data / "supa_llm_vault.key"):
        tried = subprocess.run(
            ["cat", str(path)],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        assert tried.returncode != 0
        assert tried.stdout == b""


def test_no_secret_is_in_a_command_line_or_log(own_stack: LocalStack) -> None:
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes())
                except OSError:
                    continue
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        own_stack.up()
    finally:
        done.set()
        watcher.join()
    assert any(b"db\0push" in command for command in seen), "the push was watched"
    for secret in secrets_of(own_stack):
        assert not any(secret.encode() in command for command in seen)
        for log in (own_stack.directory / "logs").iterdir():
            assert secret not in log.read_text(), log


def test_the_log_shows_no_values_of_failed_statements(stack: LocalStack) -> None:
    canary = "sk-canary-0123456789"
    with psycopg.connect(stack.env()["DB_URL"], autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute(f"select '{canary}'::int")
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute(f"insert into public.notes (owner, body) values (null, '{canary}')")
    for log in (stack.directory / "logs").iterdir():
        text = log.read_text()
        if log.name == "postgres.log":
            # Only the message may quote the value that could not be converted.
            text = text.replace(f'invalid input syntax for type integer: "{canary}"', "")
        assert canary not in text


def test_everything_listens_on_loopback_only(stack: LocalStack) -> None:
    inodes = set()
    for line in processes_of(stack):
        # A backend of PostgreSQL may end meanwhile.
        with contextlib.suppress(FileNotFoundError):
            for descriptor in Path(f"/proc/{line.split()[0]}/fd").iterdir():
                inodes.add(os.readlink(descriptor))
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1])
    assert len(listening) == 3
    assert {address.rpartition(":")[0] for address in listening} == {"0100007F"}
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    # Listening sockets with a name in the file system or in the abstract namespace.
    assert not [
        line for line in unix if f"socket:[{line[6]}]" in inodes and len(line) > 7 and line[3] == "00010000"
    ]


def test_the_database_requires_a_password(stack: LocalStack) -> None:
    url = stack.env()["DB_URL"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace("postgresql://postgres:", "postgresql://postgres:x"))


def test_services_do_not_run_as_root(stack: LocalStack) -> None:
    users = {Path(f"/proc/{line.split()[0]}").stat().st_uid for line in processes_of(stack)}
    assert 0 not in users
    assert len(users) == 1


def test_git_ignores_the_state(stack: LocalStack) -> None:
    assert (stack.directory / ".gitignore").read_text() == "*\n"


def test_an_ordinary_users_stack_is_in_their_own_directory(
    as_ordinary_user: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = Path("/tmp") if os.geteuid() == 0 else tmp_path_factory.mktemp("ordinary")
    home = base / f"supa-llm-test-{os.getpid()}"
    home.mkdir()
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
    try:
        arguments = ("--directory", str(home / "state"))
        started = as_ordinary_user("local", "up", *arguments, "--port", "0")
        assert started.returncode == 0, started.stderr
        mine = LocalStack(home / "state")
        assert (home / "state" / "data").is_dir()
        assert {path.lstat().st_uid for path in home.rglob("*")} == {home.stat().st_uid}
        status = as_ordinary_user("local", "status", *arguments, "-o", "env")
        assert status.returncode == 0
        assert "API_URL" in status.stdout
        stopped = as_ordinary_user("local", "down", *arguments)
        assert stopped.returncode == 0
        again = as_ordinary_user("local", "up", *arguments)
        assert again.returncode == 0, again.stderr
        purged = as_ordinary_user("local", "down", "--purge", *arguments)
        assert purged.returncode == 0, purged.stderr
        assert not mine.directory.exists()
    finally:
        as_ordinary_user("local", "down", "--purge", "--directory", str(home / "state"))
        home.rmdir()
