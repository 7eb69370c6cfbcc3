"""Runs `supa-llm` as a separate process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Runs the command line without some packages.
_PROGRAM = """
import sys
for name in filter(None, sys.argv.pop(1).split(",")):
    sys.modules[name] = None
from supa_llm_cli.main import main
sys.argv[0] = "supa-llm"
main()
"""
# Most of a command's time is imports, and the tests run hundreds of commands. The fork server imports once.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "supa_llm_cli.main", "supa_llm.client.admin", "typer.rich_utils"])


def start(
    *arguments: str, cwd: Path, without: str = "", stdin: Any = subprocess.DEVNULL, **environment: str
) -> subprocess.Popen[str]:
    """Start `supa-llm` with pipes for its output, without the packages in `without`."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, without, *arguments],
        cwd=cwd,
        env={**_inherited(), "PYTHONUNBUFFERED": "1", **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *arguments: str, cwd: Path, without: str = "", typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `supa-llm` with `typed` as its standard input, and wait until it ends."""
    if without:
        process = start(*arguments, cwd=cwd, without=without, stdin=subprocess.PIPE, **environment)
        output, errors = process.communicate(typed, timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "input"), Path(folder, "output"), Path(folder, "errors")
        files[0].write_text(typed)
        fork = _FORKS.Process(target=_main, args=(arguments, cwd, {**_inherited(), **environment}, files))
        fork.start()
        fork.join(300)
        if fork.exitcode is None:
            fork.kill()
            raise TimeoutError(f"supa-llm {' '.join(arguments)} did not end.")
        return subprocess.CompletedProcess(
            arguments, fork.exitcode, files[1].read_text(), files[2].read_text()
        )


def _inherited() -> dict[str, str]:
    # A narrow terminal would hide columns.
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"}


def _main(
    arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], files: tuple[Path, Path, Path]
) -> None:
    """Run the command line in this process, as if it had been started by a shell."""
    from supa_llm_cli.main import main

    for descriptor, path in enumerate(files):
        mode = os.O_RDWR | os.O_CREAT
        opened = os.open(path, mode)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0)  # multiprocessing replaces it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["supa-llm", *arguments]
    main()
