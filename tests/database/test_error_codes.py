"""docs/errors.md lists every code that there is, and none that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT

_ROW = re.compile(r"^\| `(\w+)` \| (\d{3})?", re.MULTILINE)
_SQL = re.compile(r"llm_private\.fail\(\s*(\d{3}), '(\w+)'")
# check_value() raises the code that it is called with, as 400.
_CHECK = re.compile(r"llm_private\.check_value\(\s*'(\w+)'")
# As an argument (code="…"), as a class's own (code = "…"), and under "code" in JSON.
_PYTHON = re.compile(r'\bcode"?(?:: \w+)?\s*[=:]\s*"(\w+)"')


def sources(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        found = sorted(ROOT.glob(pattern))
        assert found, pattern
        yield from found


def codes_of_the_database() -> dict[str, str]:
    """Code → HTTP status."""
    found: dict[str, str] = {}
    for path in sources("supabase/schemas/*.sql"):
        text = path.read_text()
        calls = _SQL.findall(text)
        # The function's own definition, comment and grants have a type after the bracket.
        raising = re.findall(r"perform llm_private\.fail\(\s*\d{3}, (?!p_code)", text)
        assert len(calls) == len(raising), f"computed code: {path}"
        for status, code in [*calls, *(("400", code) for code in _CHECK.findall(text))]:
            assert found.setdefault(code, status) == status, f"{code} has two statuses"
    return found


def codes_of_the_client() -> set[str]:
    return {
        code for path in sources("src/**/*.py", "cli/**/*.py") for code in _PYTHON.findall(path.read_text())
    }


def test_every_code_of_the_database_is_listed_with_its_status() -> None:
    listed = dict(_ROW.findall((ROOT / "docs" / "errors.md").read_text()))
    assert {code: listed.get(code) for code in codes_of_the_database()} == codes_of_the_database()


def test_every_code_of_the_client_is_listed() -> None:
    listed = dict(_ROW.findall((ROOT / "docs" / "errors.md").read_text()))
    assert codes_of_the_client() - listed.keys() == set()


def test_no_code_is_listed_that_is_gone_or_listed_twice() -> None:
    listed = [code for code, _ in _ROW.findall((ROOT / "docs" / "errors.md").read_text())]
    assert set(listed) - codes_of_the_client() - codes_of_the_database().keys() == set()
    assert len(listed) == len(set(listed))
