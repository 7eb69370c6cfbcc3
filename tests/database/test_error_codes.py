"""docs/errors.md lists every error code in use, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT

_ROW = re.compile(r"^\| `(\w+)` \| (\d{3})?", re.MULTILINE)
_SQL = re.compile(r"llm_private\.fail\(\s*(\d{3}), '(\w+)'")
# check_value() raises the code that it is called with, with status 400.
_CHECK = re.compile(r"llm_private\.check_value\(\s*'(\w+)'")
# An argument (code="…"), a class attribute (code = "…"), or "code" in JSON.
_PYTHON = re.compile(r'\bcode"?(?:: \w+)?\s*[=:]\s*"(\w+)"')


def sources(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        found = sorted(ROOT.glob(pattern))
        assert found, pattern
        yield from found


def database_codes() -> dict[str, str]:
    """Code → HTTP status."""
    found: dict[str, str] = {}
    for path in sources("supabase/schemas/*.sql"):
        text = path.read_text()
        calls = _SQL.findall(text)
        # The definition, comment and grants of fail() have a type after the parenthesis, so only calls match.
        raising = re.findall(r"perform llm_private\.fail\(\s*\d{3}, (?!p_code)", text)
        assert len(calls) == len(raising), f"computed code: {path}"
        for status, code in [*calls, *(("400", code) for code in _CHECK.findall(text))]:
            assert found.setdefault(code, status) == status, f"{code} has two statuses"
    return found


def client_codes() -> set[str]:
    return {
        code for path in sources("src/**/*.py", "cli/**/*.py") for code in _PYTHON.findall(path.read_text())
    }


def test_every_database_code_is_listed_with_its_status() -> None:
    listed = dict(_ROW.findall((ROOT / "docs" / "errors.md").read_text()))
    assert {code: listed.get(code) for code in database_codes()} == database_codes()


def test_every_client_code_is_listed() -> None:
    listed = dict(_ROW.findall((ROOT / "docs" / "errors.md").read_text()))
    assert client_codes() - listed.keys() == set()


def test_every_listed_code_is_in_use_and_listed_once() -> None:
    listed = [code for code, _ in _ROW.findall((ROOT / "docs" / "errors.md").read_text())]
    assert set(listed) - client_codes() - database_codes().keys() == set()
    assert len(listed) == len(set(listed))
