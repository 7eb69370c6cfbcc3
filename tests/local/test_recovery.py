"""`up` repairs a stack after kill -9, a lost pid file, a reused pid or an interrupted start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from supa_llm.local import LocalStack
from supa_llm.local.layout import SERVICES
from tests.local.support import cli_command, environment, layout_of, processes_of


def pids(stack: LocalStack) -> dict[str, int]:
    return {service.name: service.pid for service in stack.status().services if service.pid is not None}


def lives(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_dead(pid: int) -> None:
    deadline = time.monotonic() + 5
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[LocalStack]:
    """A stack for tests that repair it."""
    stack = LocalStack(tmp_path_factory.mktemp("patient") / "state", project=project, port=0, throwaway=True)
    try:
        stack.up()
        with psycopg.connect(stack.env()["DB_URL"]) as connection:
            connection.execute("insert into public.plants (name) values ('kept')")
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def running(patient: LocalStack) -> LocalStack:
    """The stack, started again after each test."""
    patient.up()
    return patient


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process whose pid a stale file names."""
    with subprocess.Popen(["sleep", "120"]) as process:
        yield process
        process.kill()


def assert_whole(stack: LocalStack) -> None:
    assert stack.status().running
    with psycopg.connect(stack.env()["DB_URL"]) as connection:
        found = connection.execute("select count(*) from public.plants where name = 'kept'").fetchone()
    assert found == (1,)
    names = " ".join(processes_of(stack))
    assert names.count("postgrest") == 1
    assert len([line for line in processes_of(stack) if "node" in line or "MainThread" in line]) == 1


@pytest.mark.parametrize(
    "victims", [*((name,) for name in SERVICES), SERVICES], ids=lambda names: "+".join(names)
)
def test_up_repairs_after_kill_9(running: LocalStack, victims: tuple[str, ...]) -> None:
    before = pids(running)
    for name in victims:
        os.kill(before[name], signal.SIGKILL)
    for name in victims:
        wait_dead(before[name])
    status = {service.name: service.running for service in running.status().services}
    assert [name for name in SERVICES if not status[name]] == [name for name in SERVICES if name in victims]

    running.up()

    assert_whole(running)
    assert all(pids(running)[name] != before[name] for name in victims)


def test_a_backend_that_outlives_its_killed_server_does_not_block_the_next(running: LocalStack) -> None:
    with psycopg.connect(running.env()["DB_URL"], autocommit=True) as connection:
        backend = connection.info.backend_pid
        # A stopped process does not notice that its parent is gone, like a process in a long system call.
        os.kill(backend, signal.SIGSTOP)
        os.kill(pids(running)["postgres"], signal.SIGKILL)
        running.up()
        wait_dead(backend)
        assert not lives(backend)
    assert_whole(running)


def test_a_hanging_service_is_restarted(running: LocalStack) -> None:
    before = pids(running)
    os.kill(before["rest"], signal.SIGSTOP)
    running.up()
    assert_whole(running)
    assert pids(running)["rest"] != before["rest"]
    assert pids(running)["postgres"] == before["postgres"]


def test_down_completes_after_services_were_killed(running: LocalStack) -> None:
    os.kill(pids(running)["postgres"], signal.SIGKILL)
    running.down()
    assert processes_of(running) == []


def test_an_unrelated_process_with_a_reused_pid_is_not_killed(
    running: LocalStack, bystander: subprocess.Popen[bytes]
) -> None:
    layout = layout_of(running)
    for name, pid in pids(running).items():
        os.kill(pid, signal.SIGKILL)
        wait_dead(pid)
        record = json.loads(layout.pid_file(name).read_text())
        layout.pid_file(name).write_text(json.dumps({**record, "pid": bystander.pid}))
    # PostgreSQL has its own pid file, and refuses to start while a process has that pid.
    own = layout.data / "postmaster.pid"
    own.write_text("\n".join([str(bystander.pid), *own.read_text().splitlines()[1:]]))

    assert not any(service.running for service in running.status().services)
    running.up()
    assert_whole(running)
    running.down()
    assert bystander.poll() is None


def test_lost_pid_files_do_not_start_services_twice(running: LocalStack) -> None:
    before = running.env()
    for file in (running.directory / "pids").iterdir():
        file.unlink()
    running.up()
    assert_whole(running)
    assert running.env() == before, "its own services are no reason to take other ports"
    for file in (running.directory / "pids").iterdir():
        file.write_text("not json")
    running.down()
    assert processes_of(running) == []


def test_services_of_a_deleted_directory_do_not_block_the_next_stack(own_stack: LocalStack) -> None:
    own_stack.up()
    left = [int(line.split()[0]) for line in processes_of(own_stack)]
    port = int(own_stack.env()["API_URL"].rpartition(":")[2])
    run = layout_of(own_stack).run
    shutil.rmtree(own_stack.directory)
    again = LocalStack(own_stack.directory, project=own_stack.project, port=port, throwaway=True)
    try:
        again.up()
        assert not any(lives(pid) for pid in left)
    finally:
        again.destroy()
        shutil.rmtree(run, ignore_errors=True)


def test_an_incomplete_cluster_is_recreated(own_stack: LocalStack) -> None:
    own_stack.up()
    own_stack.down()
    (layout_of(own_stack).data / "supa_llm_complete").unlink()
    own_stack.up()
    with psycopg.connect(own_stack.env()["DB_URL"]) as connection:
        assert connection.execute("select count(*) from public.plants").fetchone() == (2,)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_interrupted_start_leaves_nothing_running(own_stack: LocalStack, signal_number: int) -> None:
    with start_in_background(own_stack) as starting:
        wait_for_step(starting, "Supabase Auth")
        starting.send_signal(signal_number)
        assert starting.wait(30) != 0
    assert processes_of(own_stack) == []


@pytest.mark.parametrize("step", ["Setting up roles", "Supabase Auth", "Pushing"])
def test_up_repairs_the_leftovers_of_a_killed_up(own_stack: LocalStack, step: str) -> None:
    with start_in_background(own_stack) as starting:
        wait_for_step(starting, step)
        if step == "Pushing":
            time.sleep(0.3)
        starting.kill()
        starting.wait(30)
    assert processes_of(own_stack) != []
    own_stack.up()
    with psycopg.connect(own_stack.env()["DB_URL"]) as connection:
        connection.execute("insert into public.plants (name) values ('kept')")
    assert_whole(own_stack)


def start_in_background(stack: LocalStack) -> subprocess.Popen[str]:
    places = ("--directory", str(stack.directory), "--project", str(stack.project), "--port", "0")
    return subprocess.Popen(
        cli_command("local", "up", *places),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for_step(starting: subprocess.Popen[str], step: str) -> None:
    assert starting.stderr is not None
    for line in starting.stderr:
        if step in line:
            return
    pytest.fail(f"the start ended before {step}")
