"""`supa-llm demo`: it runs, checks its claims, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
from supa_llm_cli.demo.show import as_typed

from tests.cli.command import run, start
from tests.support import ROOT


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The temporary directory of the demo."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A read-only directory without a project."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    directory.chmod(0o555)
    return directory


def test_every_claim_holds(temporary: Path, elsewhere: Path) -> None:
    done = run("demo", cwd=elsewhere, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    lines = done.stdout.splitlines()
    for key_line in (
        "  real      none. To use real providers, set OPENAI_API_KEY, GROQ_API_KEY, …",
        "    1  groq/llama-3.1-8b-instant    Ada's key gsk…yAda  task_override",
        "  ✓ Mistral, next in Ben's order, answered instead",
        "  ✓ Cleo gets none of these rows",
        "  ✓ each user's totals match their receipts",
        "  ✓ everything the demo started has stopped",
        "Next steps",
    ):
        assert key_line in lines
    for failure in ("server_error 500", "timeout", "auth 401", "rate_limited 429"):
        assert f"openai/gpt-5-mini            {failure}" in done.stdout
    assert lines[-1].endswith("checks passed.")

    advice = lines[lines.index("Next steps") + 1 : -2]
    assert len(advice) == 4
    assert all(shutil.which(shlex.split(line)[0]) for line in advice)

    # The README shows this output.
    readme = (ROOT / "README.md").read_text().partition("```text\n")[2].partition("```")[0]
    shown = [line for line in readme.splitlines() if line.strip() != "…"]
    assert shown
    assert set(map(_timeless, shown)) <= set(map(_timeless, lines))

    assert "\x1b" not in done.stdout + done.stderr  # plain when piped
    assert len(lines) <= 130
    assert list(temporary.glob("[!.]*")) == []
    assert list(elsewhere.iterdir()) == []


def test_a_failed_claim_is_shown_and_fails_the_demo(temporary: Path, elsewhere: Path) -> None:
    # This setting of llmock fails every request, so no preferred provider answers.
    done = run("demo", cwd=elsewhere, TMPDIR=str(temporary), LLMOCK_ERROR_RATE_500="1")
    assert done.returncode == 1
    assert "✗ groq answered the first attempt with Ada's own key" in done.stdout
    assert "answered by: groq, key: user, attempts: 1, found answered by: none" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("checks failed. See ✗ above.")
    # The recorded usage is still correct.
    assert "✓ each user's totals match their receipts" in done.stdout
    assert "Traceback" not in done.stderr


def test_ctrl_c_leaves_nothing_behind(temporary: Path, elsewhere: Path) -> None:
    with start("demo", cwd=elsewhere, TMPDIR=str(temporary)) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline()  # everything is up
        processes = _children(demo.pid)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGINT
    assert "Traceback" not in errors
    assert list(temporary.glob("[!.]*")) == []
    assert processes
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_missing_packages_are_reported_with_the_command_that_installs_them(elsewhere: Path) -> None:
    done = run("demo", cwd=elsewhere, without="llmock,psycopg")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (
        "Error: The demo needs packages that are not installed (psycopg, llmock). "
        "Run: pip install 'supa-llm[demo]' [local_extra_missing]"
    )


def test_next_steps_name_programs_that_the_shell_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "a clone" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python", "supa-llm"):
        (scripts / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path / "a clone")
    assert (as_typed("supa-llm"), as_typed(None)) == (".venv/bin/supa-llm", ".venv/bin/python")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert shlex.split(as_typed("supa-llm")) == [str(scripts / "supa-llm")]
    monkeypatch.setenv("PATH", f"{scripts}:{os.defpath}")
    assert (as_typed("supa-llm"), as_typed(None)) == ("supa-llm", "python")


def _timeless(line: str) -> str:
    return re.sub(r" +\d+ ms", " 0 ms", line)


def _children(pid: int) -> list[int]:
    """The child processes of a process, such as the emulator."""
    listed = [Path(f"/proc/{pid}/task/{task}/children") for task in os.listdir(f"/proc/{pid}/task")]
    return [int(child) for file in listed if file.exists() for child in file.read_text().split()]
