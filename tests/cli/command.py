"""Runs `supa-llm` as a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
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


def start(*arguments: str, cwd: Path, without: str = "", **environment: str) -> subprocess.Popen[str]:
    """Start `supa-llm` with pipes for its output, without the packages in `without`."""
    # A narrow terminal would hide columns.
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, without, *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `supa-llm` and wait until it ends."""
    process = start(*arguments, cwd=cwd, **options)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)
