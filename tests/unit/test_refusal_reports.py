"""Refusal reports: in the background, few, bounded, and never in the way of the request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supa_llm.client import refusal_reports
from supa_llm.client.refusal_reports import RefusalReports
from supa_llm.client.session import AccessToken
from supa_llm.database.call import Call
from supa_llm.errors import DatabaseUnavailableError, NotSignedInError
from supa_llm.values.secrets import Secret
from tests.support import unsigned_token, wait_until


class Database:
    """Keeps each report with its token, fails, or hangs."""

    def __init__(self) -> None:
        self.reports: list[tuple[dict[str, int], str]] = []
        self.tries = 0
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def __call__(self, call: Call[None], token: Secret) -> None:
        assert call.name == "record_llm_refusals"
        self.tries += 1
        self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.reports.append((dict(call.args["p_refusals"]), token.reveal()))


def token(sub: str = "anna", salt: str = "") -> AccessToken:
    return AccessToken.read(unsigned_token(sub=sub, exp=4_000_000_000, salt=salt))


@contextmanager
def reports(database: Database) -> Iterator[RefusalReports]:
    made = RefusalReports(database)
    yield made
    database.open.set()
    made.close(1)


def test_the_first_refusal_is_reported_at_once_and_more_of_them_together() -> None:
    database, anna = Database(), token()
    with reports(database) as refusals:
        refusals.add("no_usable_key", anna)
        wait_until(lambda: bool(database.reports))
        for _ in range(100):
            refusals.add("no_usable_key", anna)
        refusals.add("quota_exceeded", anna)
        time.sleep(0.1)
        assert database.reports == [({"no_usable_key": 1}, anna.secret.reveal())]
    assert database.reports[1][0] == {"no_usable_key": 100, "quota_exceeded": 1}


def test_a_later_refusal_is_reported_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "_EVERY", 0.05)
    database = Database()
    with reports(database) as refusals:
        for number in range(1, 4):
            refusals.add("no_usable_key", token())
            wait_until(lambda number=number: sum(it["no_usable_key"] for it, _ in database.reports) == number)
        wait_until(lambda: refusals._worker is None)  # nothing is left to wait for
        refusals.add("no_usable_key", token())
        wait_until(lambda: len(database.reports) == 4)


def test_closing_reports_what_was_counted_during_the_first_report() -> None:
    database = Database()
    database.open.clear()
    with reports(database) as refusals:
        refusals.add("no_usable_key", token())
        wait_until(lambda: database.tries == 1)
        refusals.add("no_usable_key", token())
        refusals.add("unknown_model", token())
        threading.Timer(0.1, database.open.set).start()
        refusals.close(5)
    assert [report for report, _ in database.reports] == [
        {"no_usable_key": 1},
        {"no_usable_key": 1, "unknown_model": 1},
    ]


def test_other_errors_are_not_reported() -> None:
    database = Database()
    with reports(database) as refusals:
        refusals.add("a text of the user", token())
        refusals.add("bad_request", token())
    assert database.tries == 0


def test_a_hanging_database_holds_up_neither_the_request_nor_the_end() -> None:
    database = Database()
    database.open.clear()
    with reports(database) as refusals:
        began = time.monotonic()
        for _ in range(1000):
            refusals.add("no_usable_key", token())
        refusals.close(0.1)
        assert time.monotonic() - began < 1


def test_a_report_waits_while_the_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "_EVERY", 0.02)
    database = Database()
    database.error = DatabaseUnavailableError("down")
    with reports(database) as refusals:
        refusals.add("no_usable_key", token())
        wait_until(lambda: database.tries >= 2)
        database.error = None
        wait_until(lambda: database.reports == [({"no_usable_key": 1}, token().secret.reveal())])


def test_a_report_with_a_refused_token_is_lost() -> None:
    database = Database()
    database.error = NotSignedInError("expired")
    with reports(database) as refusals:
        refusals.add("no_usable_key", token())
        wait_until(lambda: database.tries == 1)
    assert database.tries == 1


def test_a_forged_token_takes_no_refusals_of_its_user() -> None:
    database = Database()
    database.open.clear()
    with reports(database) as refusals:
        for salt in ("true", "forged", "true"):
            refusals.add("no_usable_key", token(salt=salt))
        database.open.set()
        refusals.close(2)
    counts: dict[str, int] = {}
    for report, used in database.reports:
        counts[used] = counts.get(used, 0) + report["no_usable_key"]
    assert counts == {token(salt="true").secret.reveal(): 2, token(salt="forged").secret.reveal(): 1}


def test_the_number_of_waiting_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "_TOKENS", 3)
    database = Database()
    database.open.clear()
    with reports(database) as refusals:
        for number in range(10):
            refusals.add("no_usable_key", token(f"user-{number}"))
        database.open.set()
        refusals.close(2)
    assert len(database.reports) == 3
