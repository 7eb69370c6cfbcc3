"""`supa-llm doctor`, on a real project: what it finds, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import run
from tests.support import Stack

Doctor = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def doctor(stack: Stack, tmp_path: Path) -> Doctor:
    """Runs `supa-llm doctor` for the project in the environment."""

    def supa_llm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        project = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run("doctor", *arguments, cwd=tmp_path, **{**project, **environment})

    return supa_llm


def found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The problems by code."""
    return {problem["code"]: problem for problem in json.loads(done.stdout)}


def test_a_sound_installation(doctor: Doctor, stack: Stack) -> None:
    done = doctor("--offline", "--json")
    # Other tests leave usage behind, which warnings may be about.
    assert all(problem["severity"] == "warning" for problem in found(done).values()), done.stdout
    assert done.returncode == (1 if found(done) else 0)
    done = doctor("--offline")
    assert done.stdout.endswith("No problems found.\n") or "0 errors" in done.stdout


def test_an_error_names_the_problem_and_what_to_do(doctor: Doctor, stack: Stack) -> None:
    with stack.connect() as connection:
        connection.execute("grant select on llm_private.key_secrets to authenticated")
        try:
            done = doctor("--offline")
        finally:
            connection.execute("revoke select on llm_private.key_secrets from authenticated")
    assert done.returncode == 2
    assert (
        "error  table llm_private.key_secrets: More roles may use it: select to authenticated."
        " [grants_widened]\n  Revoke these grants.\n" in done.stdout
    )
    assert "1 error" in done.stdout


def test_keys_in_variables_where_they_do_not_belong(doctor: Doctor, stack: Stack) -> None:
    legacy = stack.sign(role="service_role") if stack.jwt_secret else stack.secret_key
    for key in (stack.secret_key, legacy):
        done = doctor("--offline", "--json", SUPABASE_PUBLISHABLE_KEY=key)
        assert found(done)["secret_key_published"]["subject"] == "variable SUPABASE_PUBLISHABLE_KEY"
        assert done.returncode == 2
        assert key not in done.stdout
    assert "secret_key_published" not in found(
        doctor("--offline", "--json", SUPABASE_PUBLISHABLE_KEY=stack.publishable_key)
    )


def test_the_secret_of_a_runtime(doctor: Doctor, stack: Stack) -> None:
    secret = stack.admin("register_llm_runtime", p_name="doctor")["secret"]
    assert "runtime_unknown" not in found(doctor("--offline", "--json", SUPA_LLM_RUNTIME_SECRET=secret))
    unknown = found(doctor("--offline", "--json", SUPA_LLM_RUNTIME_SECRET="slr_unknown"))
    assert unknown["runtime_unknown"]["severity"] == "error"
    other = found(doctor("--offline", "--json", SUPA_LLM_RUNTIME_SECRET=stack.secret_key))
    assert other["runtime_secret_invalid"]["severity"] == "error"


def test_a_migration_that_was_edited(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    assert run("init", "--yes", cwd=tmp_path).returncode == 0
    assert "migration_changed" not in found(doctor("--offline", "--json"))
    (copy,) = (tmp_path / "supabase" / "migrations").glob("*.sql")
    copy.write_text(copy.read_text() + "-- mine\n")
    problem = found(doctor("--offline", "--json"))["migration_changed"]
    assert problem["subject"] == f"supabase/migrations/{copy.name}"


def test_providers_that_cannot_be_reached(doctor: Doctor, stack: Stack) -> None:
    stack.admin(
        "set_llm_provider",
        p_provider={"id": "doctor-gone", "base_url": "http://127.0.0.1:9", "default_model": "m"},
    )
    try:
        problems = [
            it for it in json.loads(doctor("--json").stdout) if it["subject"] == "provider doctor-gone"
        ]
    finally:
        stack.admin("remove_llm_provider", p_provider="doctor-gone")
    assert [it["code"] for it in problems] == ["provider_unreachable"]


def test_a_project_without_the_migrations(doctor: Doctor, not_a_project: str) -> None:
    done = doctor("--offline", "--json", SUPABASE_URL=not_a_project)
    assert done.returncode == 2
    assert [problem["subject"] for problem in json.loads(done.stdout)] == ["project"]


def test_no_project_at_all(doctor: Doctor) -> None:
    problems = found(doctor("--offline", "--json", SUPABASE_URL="http://127.0.0.1:9"))
    assert problems.keys() == {"auth_unreachable", "database_unavailable"}


@pytest.fixture
def not_a_project() -> Iterator[str]:
    """The URL of a server that answers everything with the page of a website."""

    class Website(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Not found</html>")

        do_POST = do_GET  # noqa: N815 - the name is that of the base class

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Website)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
