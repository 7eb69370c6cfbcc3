"""Fixtures of the command line's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.support import Stack

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def supa_llm(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm` as an administrator of the project."""

    def supa_llm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        project = {"SUPABASE_URL": stack.api_url, "SUPABASE_SECRET_KEY": stack.secret_key}
        return run(*arguments, cwd=tmp_path, **{**project, **environment})

    return supa_llm
