"""`supa-llm login`, `logout` and `whoami`, with real sessions of Supabase Auth."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import run, start
from tests.cli.conftest import Cli, users_environment
from tests.cli.test_credentials import website
from tests.support import PASSWORD, ROOT, Stack, User, unsigned_token, wait_until


def sign_in(as_user: Cli, user: User, **options: str) -> subprocess.CompletedProcess[str]:
    done = as_user("login", typed=f"{user.email}\n{PASSWORD}\n", **options)
    assert done.returncode == 0, done.stderr
    return done


def session_file(folder: Path) -> Path:
    (file,) = (folder / "config" / "supa-llm" / "sessions").glob("*.json")
    return file


def tokens(folder: Path) -> tuple[str, str]:
    stored = json.loads(session_file(folder).read_text())
    return stored["access_token"], stored["refresh_token"]


def expire(folder: Path) -> None:
    """Make the stored access token one that has expired. The refresh token stays."""
    file = session_file(folder)
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "access_token": unsigned_token(sub=stored["user_id"], exp=1_000)}))


def test_a_user_signs_in_and_out(as_user: Cli, user: User, stack: Stack, tmp_path: Path) -> None:
    assert "[not_signed_in]" in as_user("whoami").stderr
    done = sign_in(as_user, user)
    file = session_file(tmp_path)
    assert done.stdout == (
        f"Signed in to {stack.api_url} as {user.email}.\nThe session is stored in {file}.\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    shown = as_user("whoami")
    assert shown.stdout.startswith(f"{user.email} ({user.id})\n")
    as_json = json.loads(as_user("whoami", "--json").stdout)
    assert (as_json["email"], as_json["id"], as_json["project"]) == (user.email, user.id, stack.api_url)
    assert as_json["stored_in"] == str(file)
    access_token, refresh_token = tokens(tmp_path)
    verbose = as_user("--verbose", "whoami")
    assert "HTTP Request: GET" in verbose.stderr
    for each in (done, shown, verbose, as_user("logout")):
        for secret in (access_token, refresh_token, PASSWORD):
            assert secret not in each.stdout + each.stderr
    assert not file.exists()
    ended = stack.rpc("resolve_llm_route", access_token).json()
    assert ended["details"] == "session_ended"
    again = as_user("logout")
    assert (again.returncode, again.stdout) == (0, f"No user is signed in to {stack.api_url}.\n")


def test_a_refused_sign_in_says_why_and_shows_no_password(as_user: Cli, user: User) -> None:
    done = as_user("--verbose", "login", "--email", user.email, typed="canary\n")
    assert done.returncode == 1
    assert "(invalid_credentials)" in done.stderr
    assert "[sign_in_refused]" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    missing = as_user("login", "--email", user.email)
    assert missing.returncode == 2
    assert "Password is missing" in missing.stderr


def test_the_password_is_not_shown_on_a_terminal(stack: Stack, user: User, tmp_path: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        environment = {**os.environ, **users_environment(stack, tmp_path)}
        program = [sys.executable, "-c", "from supa_llm_cli.main import main; main()", "login"]
        os.execve(sys.executable, program, environment)
    shown = ""

    def until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 1000).decode()

    until("Email: ")
    os.write(terminal, f"{user.email}\n".encode())
    until("Password: ")
    os.write(terminal, f"{PASSWORD}\n".encode())
    until("The session is stored in")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert user.email in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize("form", ["lines", "json"])
def test_a_session_of_the_app_is_taken_over(as_user: Cli, user: User, tmp_path: Path, form: str) -> None:
    session = user.client().auth.get_session()
    assert session is not None
    pasted = {
        "lines": f"{session.access_token}\n{session.refresh_token}\n",
        "json": json.dumps(json.loads(session.model_dump_json()), indent=2),
    }[form]
    done = as_user("login", "--tokens", typed=pasted)
    assert done.returncode == 0, done.stderr
    assert tokens(tmp_path) == (session.access_token, session.refresh_token)
    assert user.email in as_user("whoami").stdout


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("sb_secret_canary\ncanary\n", "[access_token_required]"),
        ("canary\ncanary\n", "[not_signed_in]"),
        (unsigned_token(sub="canary", exp=4_000_000_000) + "\ncanary\n", "[sign_in_refused]"),
        ('{"access_token": "canary"}', "no access_token and refresh_token"),
        ('{"canary', "no access_token and refresh_token"),
    ],
)
def test_invalid_tokens_are_refused_and_not_shown(as_user: Cli, typed: str, code: str) -> None:
    done = as_user("--verbose", "login", "--tokens", typed=typed)
    assert done.returncode in (1, 2)
    assert code in " ".join(done.stderr.replace("│", "").split())
    assert "canary" not in done.stdout + done.stderr


def test_an_expired_token_is_refreshed_and_stored(as_user: Cli, user: User, tmp_path: Path) -> None:
    sign_in(as_user, user)
    _, first = tokens(tmp_path)
    expire(tmp_path)
    assert user.email in as_user("whoami").stdout
    _, second = tokens(tmp_path)
    assert second != first
    assert user.email in as_user("whoami").stdout
    assert tokens(tmp_path)[1] == second


def test_concurrent_commands_refresh_the_session_once(
    as_user: Cli, user: User, stack: Stack, tmp_path: Path
) -> None:
    sign_in(as_user, user)
    expire(tmp_path)
    lock = session_file(tmp_path).with_suffix(".lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        environment = users_environment(stack, tmp_path)
        commands = [start("--verbose", "whoami", cwd=tmp_path, **environment) for _ in range(4)]
        wait_until(lambda: all(has_open(it.pid, lock) for it in commands), seconds=120)
    done = [it.communicate(timeout=60) for it in commands]
    assert [it.returncode for it in commands] == [0] * 4
    assert sum(errors.count("grant_type=refresh_token") for _, errors in done) == 1


def has_open(process: int, file: Path) -> bool:
    """Whether a process has a file open: here, whether it has found an expired session, and waits."""
    with contextlib.suppress(OSError):
        return any(os.readlink(it.path) == str(file) for it in os.scandir(f"/proc/{process}/fd"))
    return False


def test_a_session_that_ended_elsewhere_is_reported(as_user: Cli, user: User, tmp_path: Path) -> None:
    sign_in(as_user, user)
    user.client().auth.sign_out({"scope": "global"})
    done = as_user("whoami")
    assert done.returncode == 1
    assert "[session_ended]" in done.stderr
    assert "supa-llm login" in done.stderr
    expire(tmp_path)
    assert "[session_ended]" in as_user("whoami").stderr
    assert as_user("logout").returncode == 0
    assert "[not_signed_in]" in as_user("whoami").stderr


def test_a_sign_out_that_auth_does_not_confirm_keeps_the_session(
    as_user: Cli, user: User, tmp_path: Path
) -> None:
    sign_in(as_user, user)
    closed = "http://127.0.0.1:9"
    file = session_file(tmp_path)
    other = file.with_name("http%3A%2F%2F127.0.0.1%3A9.json")
    other.write_text(file.read_text())
    done = as_user("logout", SUPABASE_URL=closed)
    assert done.returncode == 1
    assert "[database_unavailable]" in done.stderr
    assert other.exists()
    done = as_user("logout", "--local", SUPABASE_URL=closed)
    assert "not revoked" in done.stdout
    assert not other.exists()
    assert user.email in as_user("whoami").stdout


def test_each_project_has_its_own_session(as_user: Cli, user: User) -> None:
    sign_in(as_user, user)
    done = as_user("whoami", SUPABASE_URL="https://other.test")
    assert "No user is signed in to https://other.test." in done.stderr


def keyring(folder: Path, backend: str = "FileKeyring") -> dict[str, str]:
    return {
        "PYTHON_KEYRING_BACKEND": f"tests.cli.keyring_backend.{backend}",
        "PYTHONPATH": str(ROOT),
        "TEST_KEYRING": str(folder / "keyring.json"),
    }


def test_the_session_is_stored_in_the_keyring(as_user: Cli, user: User, tmp_path: Path) -> None:
    sign_in(as_user, user)  # without a keyring
    used = keyring(tmp_path)
    assert user.email in as_user("whoami", **used).stdout  # from the file
    done = sign_in(as_user, user, **used)
    assert "stored in the keyring (keyring backend FileKeyring)" in done.stdout
    assert list((tmp_path / "config").rglob("*.json")) == []
    assert user.email in as_user("whoami", **used).stdout
    assert "refresh_token" in (tmp_path / "keyring.json").read_text()
    assert as_user("logout", **used).returncode == 0
    assert (tmp_path / "keyring.json").read_text() == "{}"


def test_a_locked_keyring_leaves_the_file(as_user: Cli, user: User, tmp_path: Path) -> None:
    done = sign_in(as_user, user, **keyring(tmp_path, "LockedKeyring"))
    assert f"stored in {session_file(tmp_path)}" in done.stdout


def test_the_package_keyring_is_optional(as_user: Cli, user: User, tmp_path: Path) -> None:
    done = sign_in(as_user, user, without="keyring")
    assert f"stored in {session_file(tmp_path)}" in done.stdout


def test_a_website_is_not_a_project(as_user: Cli, user: User) -> None:
    with website() as url:
        done = as_user("login", "--email", user.email, typed="canary\n", SUPABASE_URL=url)
    assert done.returncode == 1
    assert "[project_url_invalid]" in done.stderr


def test_the_local_stack_is_the_default(tmp_path: Path) -> None:
    done = run("whoami", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path))
    assert "[project_unknown]" in done.stderr
    assert "supa-llm local up" in done.stderr
