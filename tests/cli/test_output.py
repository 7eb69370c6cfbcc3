"""What all commands have in common: exit codes, errors, colors, completion, and docs/cli.md."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.cli.conftest import Cli
from tests.cli.test_help import COMMANDS
from tests.support import Stack
from tools import cli as reference


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--version", 0),
        ("providers list", 1),
        ("unknown", 2),
        ("providers list --unknown", 2),
        ("quotas set x cost day", 2),
    ],
)
def test_exit_codes(arguments: str, code: int, tmp_path: Path) -> None:
    """tests/cli/test_ask.py has 130, tests/cli/test_doctor.py has those of doctor."""
    assert run(*arguments.split(), cwd=tmp_path).returncode == code


def test_an_expected_error_is_one_line_on_standard_error(tmp_path: Path) -> None:
    done = run("providers", "list", "--json", cwd=tmp_path)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith("[project_unknown]")


def test_verbose_shows_requests_and_where_an_error_was_raised(supa_llm: Cli, stack: Stack) -> None:
    done = supa_llm("--verbose", "providers", "list", "--json")
    assert json.loads(done.stdout)
    assert f"HTTP Request: POST {stack.api_url}/rest/v1/rpc/list_llm_providers" in done.stderr
    failed = supa_llm("-v", "users", "show", "nobody@example.com")
    assert failed.returncode == 1
    assert "Traceback" in failed.stderr
    assert "users.py" in failed.stderr
    assert failed.stderr.splitlines()[-1].endswith("[unknown_user]")
    assert "Traceback" not in supa_llm("users", "show", "nobody@example.com").stderr
    for each in (done, failed):
        assert stack.secret_key not in each.stdout + each.stderr


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_switches_colors_off_on_a_terminal(
    variables: dict[str, str], colored: bool, tmp_path: Path
) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        program = [sys.executable, "-c", "from supa_llm_cli.main import main; main()", "providers", "list"]
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        os.execve(sys.executable, program, {**kept, "TERM": "xterm", **variables})
    shown = b""
    try:
        while piece := os.read(terminal, 1000):
            shown += piece
    except OSError:  # the command has ended
        pass
    os.waitpid(child, 0)
    os.close(terminal)
    assert b"[project_unknown]" in shown
    assert (b"\x1b[" in shown) is colored


def test_completion(tmp_path: Path) -> None:
    asked = {"_SUPA_LLM_COMPLETE": "complete_bash", "COMP_WORDS": "supa-llm quo", "COMP_CWORD": "1"}
    assert run(cwd=tmp_path, **asked).stdout.split() == ["quotas"]


def test_the_reference_has_every_command_and_option() -> None:
    sections = dict(re.findall(r"^### supa-llm ([\w -]+)\n(.*?)(?=^##|\Z)", reference.page(), re.M | re.S))
    assert set(sections) == set(filter(None, COMMANDS))
    for name, text in sections.items():
        for parameter in COMMANDS[name].params:
            shown = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
            assert (shown or parameter.name) in text, (name, parameter.name)
