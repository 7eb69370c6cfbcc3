"""A URL or credential in the wrong variable is refused with what to set, and never shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.command import run
from tests.support import Stack

URL, SECRET, PUBLISHABLE, RUNTIME = (
    "SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_PUBLISHABLE_KEY", "SUPA_LLM_RUNTIME_SECRET",
)  # fmt: skip
RIGHT = {
    URL: "https://project.test",
    SECRET: "sb_secret_x",
    PUBLISHABLE: "sb_publishable_x",
    RUNTIME: "slr_x",
}


@pytest.mark.parametrize(
    ("command", "wrong", "code"),
    [
        ("providers list", {URL: "https://canary.supabase.co/rest/v1"}, "project_url_invalid"),
        ("providers list", {URL: "https://supabase.com/dashboard/project/canary"}, "project_url_invalid"),
        ("providers list", {URL: "canary.supabase.co"}, "project_url_invalid"),
        ("providers list", {SECRET: "sb_publishable_canary"}, "secret_key_required"),
        ("providers list", {SECRET: "slr_canary"}, "secret_key_required"),
        ("panel --port 0", {URL: "https://canary.supabase.co/rest/v1"}, "project_url_invalid"),
        ("panel --port 0", {PUBLISHABLE: "sb_secret_canary"}, "publishable_key_required"),
        ("panel --port 0", {PUBLISHABLE: "slr_canary"}, "publishable_key_required"),
        ("panel --port 0", {RUNTIME: "sb_secret_canary"}, "runtime_secret_invalid"),
        ("login", {URL: "https://canary.supabase.co/auth/v1"}, "project_url_invalid"),
        ("whoami", {PUBLISHABLE: "sb_secret_canary"}, "publishable_key_required"),
        ("ask Hello", {PUBLISHABLE: "slr_canary"}, "publishable_key_required"),
    ],
)
def test_a_value_in_the_wrong_variable_is_refused(
    command: str, wrong: dict[str, str], code: str, tmp_path: Path
) -> None:
    done = run(*command.split(), cwd=tmp_path, **{**RIGHT, **wrong})
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert next(iter(wrong)) in done.stderr
    assert "canary" not in done.stdout + done.stderr


class Website(BaseHTTPRequestHandler):
    """Responds to every call with the same page."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        page = b"<!doctype html><title>Welcome</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Print no requests."""


@contextmanager
def website() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Website) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_website_is_not_a_project(tmp_path: Path) -> None:
    with website() as url:
        done = run("providers", "list", cwd=tmp_path, **{**RIGHT, URL: url})
    assert done.returncode == 1
    assert "[project_url_invalid]" in done.stderr
    assert "SUPABASE_URL" in done.stderr


def test_doctor_reports_an_invalid_url_as_a_problem(stack: Stack, tmp_path: Path) -> None:
    wrong = {URL: f"{stack.api_url}/rest/v1", SECRET: stack.secret_key}
    done = run("doctor", "--offline", cwd=tmp_path, **wrong)
    assert done.returncode == 2
    assert "[project_url_invalid]" in done.stdout
    assert "SUPABASE_URL" in done.stdout
