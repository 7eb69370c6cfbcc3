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


@pytest.fixture
def as_user(stack: Stack, tmp_path: Path) -> Cli:
    """Runs `supa-llm` for users of the project, with an empty configuration directory and no keyring."""

    def as_user(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=tmp_path, **{**users_environment(stack, tmp_path), **options})

    return as_user


def users_environment(stack: Stack, folder: Path) -> dict[str, str]:
    """The variables of a command for users."""
    return {
        "SUPABASE_URL": stack.api_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
