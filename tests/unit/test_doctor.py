"""What `supa-llm doctor` reports about servers that answer in ways the local stack does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from supa_llm_cli import doctor

from supa_llm import InstalledVersion, InvalidInputError, Problem
from tests.support import ROOT

URL = "https://project.test"


def http(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer))


def codes(problems: Iterable[Problem]) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in problems]


class Database:
    """An administrator's access to a database of a version and a time."""

    def __init__(self, installed: str = "", ahead: float = 0.0, refusal: str = "") -> None:
        self.installed, self.ahead, self.refusal = installed or version("supa-llm"), ahead, refusal

    def get_version(self) -> InstalledVersion:
        return InstalledVersion(self.installed, datetime.now(UTC) + timedelta(seconds=self.ahead))

    def dismiss_alerts(self, ids: list[Any]) -> int:
        assert ids == []
        if self.refusal:
            raise InvalidInputError("refused", code=self.refusal)
        return 0


@pytest.mark.parametrize(
    ("database", "found"),
    [
        (Database(), []),
        (Database(installed="0.0.9"), [("versions_differ", "error")]),
        (Database(installed="99.0"), [("versions_differ", "error")]),
        (Database(ahead=25), []),
        (Database(ahead=40), [("clocks_differ", "warning")]),
        (Database(ahead=-40), [("clocks_differ", "warning")]),
    ],
)
def test_the_version_and_clock_of_the_database(database: Any, found: list[tuple[str, str]]) -> None:
    assert codes(doctor._version(database)) == found


def test_a_postgrest_whose_calls_the_database_does_not_recognize() -> None:
    database: Any = Database()
    assert codes(doctor._plain_calls(database)) == []
    database = Database(refusal="plain_call_required")
    assert codes(doctor._plain_calls(database)) == [("postgrest_unknown", "error")]
    database = Database(refusal="another_error")
    with pytest.raises(InvalidInputError):
        list(doctor._plain_calls(database))


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (406, {"code": "PGRST106", "message": "The schema must be one of: public"}, []),
        (200, [], [("schema_exposed", "error")]),
        (403, {"code": "42501", "message": "permission denied"}, [("schema_exposed", "error")]),
    ],
)
def test_an_exposed_private_schema(status: int, body: object, found: list[tuple[str, str]]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-profile"] == "llm_private"
        return httpx.Response(status, json=body)

    assert codes(doctor._exposed_schema(http(answer), URL)) == found


def test_an_auth_service_that_is_away() -> None:
    def closed(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert codes(doctor._auth(http(closed), URL)) == [("auth_unreachable", "error")]
    for answer, found in (
        (httpx.Response(200), []),
        (httpx.Response(404), []),
        (httpx.Response(503), [("auth_unreachable", "error")]),
    ):
        assert codes(doctor._auth(http(lambda _: answer), URL)) == found  # noqa: B023


def test_the_guide_lists_every_problem() -> None:
    guide = set(
        re.findall(r"^\| `(\w+)` \| (error|warning) \|", (ROOT / "docs" / "doctor.md").read_text(), re.M)
    )
    client = (ROOT / "cli" / "supa_llm_cli" / "doctor.py").read_text()
    database = (ROOT / "supabase" / "schemas" / "89_problems.sql").read_text()
    named = set(re.findall(r"_(error|warning)\(\s*\"(\w+)\"", client))
    named |= {(severity, code) for code, severity in re.findall(r"'(\w+)', '(error|warning)'", database)}
    named |= {
        ("error", code)
        for code in ("master_key_missing", "master_key_unreadable", "migrations_missing", "rows_missing")
    }
    assert guide == {(code, severity) for severity, code in named}
