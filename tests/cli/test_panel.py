"""`supa-llm panel`: the panel on this machine, for a named project or the local stack."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from supa_llm.local import LocalStack
from tests.cli.command import start
from tests.support import ROOT, Stack, key_for


@contextmanager
def panel(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run `supa-llm panel` in a folder without a stack, and kill it at the end if it still runs."""
    process = start("panel", *arguments, cwd=folder, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_panel_of_the_local_stack_is_a_runtime(tmp_path: Path) -> None:
    local = LocalStack(tmp_path / ".supa-llm", project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        with panel(tmp_path, "--port", "0", SUPA_LLM_GROQ_API_KEY="gsk_operators_own") as process:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            user = Stack.from_env(local.env()).sign_up()
            user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
            begun = httpx.post(
                f"{found[0]}/llm/explain",
                json={},
                headers={"Authorization": f"Bearer {user.access_token}"},
            )
            assert [it["key_source"] for it in begun.json()["candidates"]] == ["user", "operator"]
    finally:
        local.destroy()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_panel_prints_its_url_and_ends_on_a_signal(
    stack: Stack, tmp_path: Path, end: signal.Signals
) -> None:
    named = {"SUPABASE_URL": stack.api_url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key}
    offers = {"SUPA_LLM_RUNTIME_SECRET": "slr_not_a_secret", "SUPA_LLM_GROQ_API_KEY": "gsk_operators_own"}
    with panel(tmp_path, "--port", "0", **named, **offers) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        url = found[0]
        assert httpx.get(f"{url}/config.json").json() == {
            "url": stack.api_url, "publishable_key": stack.publishable_key, "runtime": "/llm",
        }  # fmt: skip
        assert "<supa-llm-settings" in httpx.get(url).text
        offered = httpx.get(f"{url}/llm/operator-providers")
        assert offered.json() == {"providers": ["groq"]}
        process.send_signal(end)
        rest = "".join(process.communicate(timeout=60))
    assert rest == ""


def test_a_used_port_is_reported(stack: Stack, tmp_path: Path) -> None:
    named = {"SUPABASE_URL": stack.api_url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with panel(tmp_path, "--port", str(taken.getsockname()[1]), **named) as process:
            _, answer = process.communicate(timeout=60)
    assert "[local_port_in_use]" in answer
    assert process.returncode == 1


def test_missing_settings_are_reported(tmp_path: Path) -> None:
    with panel(tmp_path) as process:
        _, answer = process.communicate(timeout=60)
    assert "supa-llm local up" in answer
    assert "[project_unknown]" in answer
    with panel(tmp_path, "--url", "https://x.example") as process:
        _, answer = process.communicate(timeout=60)
    assert "SUPABASE_PUBLISHABLE_KEY" in answer
    assert "[project_unknown]" in answer
    with panel(tmp_path, without="uvicorn") as process:
        _, answer = process.communicate(timeout=60)
    assert "supa-llm[panel]" in answer
    assert "[missing_extra]" in answer
