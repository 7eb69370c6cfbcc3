"""Everyday use: up, down, status, reset and logs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from supa_llm.errors import LocalError
from supa_llm.local import LocalStack
from tests.local.support import cli_command, environment, processes_of, run_cli

NAMES = [
    "API_URL",
    "DB_URL",
    "PUBLISHABLE_KEY",
    "SECRET_KEY",
    "ANON_KEY",
    "SERVICE_ROLE_KEY",
    "JWT_SECRET",
    "SUPA_LLM_RUNTIME_SECRET",
]


def plants(stack: LocalStack) -> list[str]:
    with psycopg.connect(stack.env()["DB_URL"]) as connection:
        return [str(row[0]) for row in connection.execute("select name from public.plants order by name")]


def add_plant(stack: LocalStack, name: str) -> None:
    with psycopg.connect(stack.env()["DB_URL"]) as connection:
        connection.execute("insert into public.plants (name) values (%s)", [name])


def test_data_urls_and_keys_survive_down_and_a_second_start_is_fast(own_stack: LocalStack) -> None:
    own_stack.up()
    before = own_stack.env()
    add_plant(own_stack, "clover")
    own_stack.down()
    assert processes_of(own_stack) == []

    started = time.monotonic()
    assert own_stack.up().running
    assert time.monotonic() - started < 10

    assert own_stack.env() == before
    assert plants(own_stack) == ["clover", "fern", "moss"]


def test_reset_recreates_and_seeds_and_keeps_urls_and_keys(own_stack: LocalStack) -> None:
    own_stack.up()
    before = own_stack.env()
    add_plant(own_stack, "clover")

    assert own_stack.reset().running

    assert plants(own_stack) == ["fern", "moss"]
    assert own_stack.env() == before


def test_up_pushes_added_migrations(own_stack: LocalStack) -> None:
    own_stack.up()
    migrations = own_stack.project / "supabase" / "migrations"
    (migrations / "20250102000000_more.sql").write_text("create table public.more (id int primary key);\n")

    own_stack.up()

    with psycopg.connect(own_stack.env()["DB_URL"]) as connection:
        versions = connection.execute("select version from supabase_migrations.schema_migrations order by 1")
        assert versions.fetchall() == [("20250101000000",), ("20250102000000",)]
        owner = connection.execute("select tableowner from pg_tables where tablename = 'more'").fetchone()
    assert owner == ("postgres",)
    assert plants(own_stack) == ["fern", "moss"], "the seed ran once"


def test_the_supabase_cli_finds_nothing_left_to_push(stack: LocalStack, project: object) -> None:
    from supa_llm.local.install import cache_directory, install
    from supa_llm.local.layout import layout_for

    settings = stack._settings()
    assert settings is not None
    runtime = install(cache_directory(layout_for(stack.directory, settings.id).user), print)
    url = stack.env()["DB_URL"] + "?sslmode=disable"
    command = [str(runtime.supabase), "db", "push", "--yes", "--workdir", str(stack.directory / "workdir")]
    pushed = subprocess.run([*command, "--db-url", url], capture_output=True, text=True, check=False)
    assert pushed.returncode == 0, pushed.stderr
    assert "up to date" in pushed.stdout + pushed.stderr


def test_a_second_up_changes_nothing(stack: LocalStack) -> None:
    before = stack.status()
    again = run_cli("local", "up", "--directory", str(stack.directory), "--project", str(stack.project))
    assert again.returncode == 0, again.stderr
    assert "already running" in again.stdout
    assert stack.env()["API_URL"] in again.stdout
    assert stack.status() == before


def test_concurrent_ups_start_one_stack(own_stack: LocalStack) -> None:
    other = LocalStack(own_stack.directory, project=own_stack.project, port=0, throwaway=True)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda one: one.up(), [own_stack, other])
    assert first.running
    assert first == second
    assert sum("postgrest" in line for line in processes_of(own_stack)) == 1


def test_down_is_idempotent_and_complete(own_stack: LocalStack) -> None:
    own_stack.down()
    own_stack.up()
    own_stack.down()
    own_stack.down()
    assert processes_of(own_stack) == []
    assert not own_stack.status().running


def test_destroy_leaves_nothing(own_stack: LocalStack) -> None:
    own_stack.up()
    own_stack.destroy()
    assert not own_stack.directory.exists()
    with pytest.raises(LocalError) as caught:
        own_stack.env()
    assert caught.value.code == "local_not_started"


def test_status_prints_the_names_of_supabase_status(stack: LocalStack) -> None:
    as_json = run_cli("local", "status", "-o", "json", "--directory", str(stack.directory))
    assert as_json.returncode == 0
    assert list(json.loads(as_json.stdout)) == NAMES

    as_env = run_cli("local", "status", "-o", "env", SUPA_LLM_HOME=str(stack.directory))
    assert as_env.returncode == 0
    script = f"set -eu\n{as_env.stdout}\nprintf '%s\\n' " + " ".join(f'"${name}"' for name in NAMES)
    read_by_shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert read_by_shell.stdout.splitlines() == list(stack.env().values())


def test_status_of_a_stopped_stack_exits_with_1_and_prints_no_values(own_stack: LocalStack) -> None:
    never = run_cli("local", "status", "--directory", str(own_stack.directory))
    assert never.returncode == 1
    assert "supa-llm local up" in never.stdout
    own_stack.up()
    own_stack.down()
    for output in ("env", "json"):
        stopped = run_cli("local", "status", "-o", output, "--directory", str(own_stack.directory))
        assert stopped.returncode == 1
        assert stopped.stdout == ""
        assert "[local_not_running]" in stopped.stderr
    pretty = run_cli("local", "status", "--directory", str(own_stack.directory))
    assert pretty.returncode == 1
    assert "postgres: stopped" in pretty.stdout


def test_logs_show_each_service_and_can_be_followed(stack: LocalStack) -> None:
    directory = str(stack.directory)
    everything = run_cli("local", "logs", "--directory", directory)
    assert "database system is ready" in everything.stdout
    assert "rest     | " in everything.stdout
    last = run_cli("local", "logs", "postgres", "-n", "1", "--directory", directory)
    assert len(last.stdout.splitlines()) == 1

    command = cli_command("local", "logs", "postgres", "-n", "0", "-f", "--directory", directory)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as following:
        assert following.stdout is not None
        with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
            # It shows what is logged from its start on, which may take a while.
            while not select.select([following.stdout], [], [], 0.5)[0]:
                with pytest.raises(psycopg.errors.RaiseException):
                    connection.execute("do $$ begin raise exception 'told to the log'; end $$")
        assert "told to the log" in following.stdout.readline()
        following.terminate()


def test_logs_end_quietly_when_their_reader_closes_the_pipe(stack: LocalStack) -> None:
    command = cli_command("local", "logs", "--directory", str(stack.directory))
    # Buffered, as by default, so that output is left to write at exit.
    buffered = environment(PYTHONUNBUFFERED="")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        logs = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, env=buffered, check=False
        )
    finally:
        os.close(writing)
    assert (logs.returncode, logs.stderr) == (0, "")


def test_a_narrow_terminal_does_not_break_keys(stack: LocalStack) -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    command = cli_command("local", "status", "--directory", str(stack.directory))
    width = environment(TERM="xterm", COLUMNS="80")
    with subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=width) as shown:
        os.close(end)
        output = b""
        # Linux reports the end of a terminal's output as an error.
        with contextlib.suppress(OSError):
            while chunk := os.read(terminal, 65_536):
                output += chunk
    os.close(terminal)
    assert shown.returncode == 0
    assert [name for name, value in stack.env().items() if value not in output.decode()] == []


def test_the_port_can_be_moved_while_the_stack_is_down(own_stack: LocalStack) -> None:
    own_stack.up()
    port = int(own_stack.env()["API_URL"].rpartition(":")[2])
    moved = LocalStack(own_stack.directory, project=own_stack.project, port=port - 1000)
    with pytest.raises(LocalError) as caught:
        moved.up()
    assert caught.value.code == "local_already_running"
    own_stack.down()
    moved.up()
    assert moved.env()["API_URL"] == f"http://127.0.0.1:{port - 1000}"
    assert plants(moved) == ["fern", "moss"]


def test_a_start_shows_its_steps(own_stack: LocalStack) -> None:
    steps: list[str] = []
    own_stack.up(steps.append)
    text = "\n".join(steps)
    for part in ("PostgreSQL", "Supabase Auth", "1 migration", "PostgREST"):
        assert part in text
