"""`supa-llm runtimes`, on a real project."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.cli.conftest import Cli
from tests.support import Stack, User, unique


def answers(stack: Stack, user: User, secret: str) -> bool:
    """Whether the project accepts a runtime secret."""
    return "runtime_unknown" not in stack.rpc("resolve_llm_route", user.access_token, secret).text


def test_a_secret_is_printed_once_for_the_environment(supa_llm: Cli, stack: Stack, user: User) -> None:
    name = unique("app")
    done = supa_llm("runtimes", "add", name)
    assert done.stderr == f"Registered the runtime {name}.\n"
    variable, secret = done.stdout.strip().split("=", 1)
    assert variable == "SUPA_LLM_RUNTIME_SECRET"
    assert answers(stack, user, secret)
    assert secret not in supa_llm("runtimes", "list", "--json").stdout
    for options in ((), ("--dry-run",)):
        again = supa_llm("runtimes", "add", name, *options)
        assert again.returncode == 1
        assert again.stderr.endswith(
            f"rotate its secret: supa-llm runtimes rotate '{name}' [runtime_exists]\n"
        )


def test_a_secret_is_written_to_a_private_file_and_not_printed(
    supa_llm: Cli, stack: Stack, user: User, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("OPENAI_API_KEY=sk-test\nexport SUPA_LLM_RUNTIME_SECRET=old\n")
    done = supa_llm("runtimes", "add", unique("app"), "--env-file", str(file))
    assert done.returncode == 0, done.stderr
    kept, line = file.read_text().splitlines()
    assert kept == "OPENAI_API_KEY=sk-test"
    secret = line.removeprefix("SUPA_LLM_RUNTIME_SECRET=")
    assert secret not in done.stdout + done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert answers(stack, user, secret)


def test_no_runtime_is_registered_if_its_secret_cannot_be_kept(supa_llm: Cli, tmp_path: Path) -> None:
    name = unique("app")
    done = supa_llm("runtimes", "add", name, "--env-file", str(tmp_path / "missing" / ".env"))
    assert done.returncode == 1
    assert done.stderr.endswith("[file_unwritable]\n")
    assert name not in supa_llm("runtimes", "list").stdout


def test_a_secret_is_rotated_with_an_overlap_then_revoked(supa_llm: Cli, stack: Stack, user: User) -> None:
    name = unique("app")
    first = json.loads(supa_llm("runtimes", "add", name, "--json").stdout)
    rotated = json.loads(supa_llm("runtimes", "rotate", name, "--overlap", "2", "--json").stdout)
    assert rotated["id"] == first["id"]
    assert answers(stack, user, first["secret"])
    assert answers(stack, user, rotated["secret"])
    (row,) = [line for line in supa_llm("runtimes", "list").stdout.splitlines() if name in line]
    assert "previous secret until" in row
    last = json.loads(supa_llm("runtimes", "rotate", first["id"], "--overlap", "0", "--json").stdout)
    assert not answers(stack, user, first["secret"])
    assert not answers(stack, user, rotated["secret"])
    assert supa_llm("runtimes", "revoke", name, "--dry-run").stdout.startswith("Would revoke")
    assert answers(stack, user, last["secret"])
    assert supa_llm("runtimes", "revoke", name, "--yes").stdout == f"Revoked the runtime {name}.\n"
    assert not answers(stack, user, last["secret"])
    assert name not in supa_llm("runtimes", "list").stdout
    assert name in supa_llm("runtimes", "list", "--all").stdout
    gone = supa_llm("runtimes", "rotate", name)
    assert (gone.returncode, "does not exist" in gone.stderr) == (1, True)
