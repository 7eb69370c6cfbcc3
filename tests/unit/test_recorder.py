"""The recorder: sends usage in the background, retries, is bounded, and reports every loss."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from supa_llm.client.recorder import Recorder
from supa_llm.client.session import Identity
from supa_llm.database.call import Call
from supa_llm.errors import DatabaseUnavailableError, NotSignedInError
from supa_llm.values.secrets import Secret
from tests.support import unsigned_token, wait_until


class Database:
    """Receives recorded usage, or is unavailable."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.tries = 0
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def __call__(self, call: Call[Any], token: Secret) -> None:
        self.tries += 1
        self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.taken.append((call.name, token.reveal()))


@contextmanager
def recorder(database: Database, **options: Any) -> Iterator[Recorder]:
    made = Recorder(database, **options)
    yield made
    database.open.set()
    database.error = None
    made.flush(5)


def event(name: str) -> Call[None]:
    return Call(name, {}, lambda _: None)


@pytest.fixture
def anna() -> Identity:
    return Identity(unsigned_token(sub="anna"))


def test_usage_is_sent_in_the_background(anna: Identity) -> None:
    database = Database()
    database.open.clear()
    with recorder(database) as usage:
        started = time.monotonic()
        for n in range(100):
            usage.put(event(f"{n}"), anna)
        assert time.monotonic() - started < 1
        database.open.set()
        assert usage.flush(5)
        assert {name for name, _ in database.taken} == {f"{n}" for n in range(100)}
        assert usage.dropped == 0


def test_usage_is_sent_with_the_users_newest_token(anna: Identity) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database) as usage:
        usage.put(event("1"), anna)
        wait_until(lambda: database.tries > 0)
        anna.token = Identity("refreshed").token
        database.error = None
        assert usage.flush(5)
    assert database.taken == [("1", "refreshed")]


def test_usage_is_retried_while_the_database_is_unavailable(
    anna: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("supa_llm.client.recorder._LONGEST_PAUSE", 0.02)
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database) as usage:
        for n in range(10):
            usage.put(event(f"{n}"), anna)
        assert not usage.flush(0.2)
        tries = database.tries
        assert 2 < tries < 100
        database.error = None
        assert usage.flush(5)
        assert len(database.taken) == 10
        assert usage.dropped == 0


def test_a_full_queue_drops_the_oldest_event_with_a_warning(
    anna: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    database.open.clear()
    with recorder(database, capacity=5, workers=1) as usage:
        usage.put(event("sending"), anna)
        wait_until(lambda: database.tries == 1)
        for n in range(8):
            usage.put(event(f"{n}"), anna)
        assert usage.dropped == 3
        database.open.set()
        assert usage.flush(5)
        usage.close(1)
    assert [name for name, _ in database.taken] == ["sending", "3", "4", "5", "6", "7"]
    said = [record.getMessage() for record in caplog.records if record.name == "supa_llm"]
    assert said == [
        "1 usage event(s) could not be recorded: the queue was full. In total 1 were dropped.",
        "2 usage event(s) could not be recorded: the queue was full. In total 3 were dropped.",
    ]


def test_refused_usage_is_dropped_with_a_warning(anna: Identity, caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.error = NotSignedInError("expired")
    with recorder(database) as usage:
        usage.put(event("1"), anna)
        assert usage.flush(5)
        assert (usage.dropped, database.tries) == (1, 1)
    assert "not_signed_in" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_retries_end(anna: Identity, caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database, patience=0.0) as usage:
        usage.put(event("1"), anna)
        assert usage.flush(5)
        assert usage.dropped == 1
    assert "unavailable" in caplog.text


def test_closing_drops_unsent_usage_and_reports_the_count(
    anna: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database) as usage:
        for n in range(3):
            usage.put(event(f"{n}"), anna)
        usage.close(0.1)
        assert usage.dropped == 3
    assert "closing waited 0.1 s" in caplog.text


def test_idle_threads_end(anna: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._IDLE", 0.05)
    database = Database()
    with recorder(database) as usage:
        usage.put(event("1"), anna)
        assert usage.flush(5)
        wait_until(lambda: not usage._workers)
        usage.put(event("2"), anna)
        assert usage.flush(5)
    assert [name for name, _ in database.taken] == ["1", "2"]


def test_flush_sends_without_threads(anna: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    database = Database()
    with recorder(database) as usage:
        usage.put(event("1"), anna)
        usage.put(event("2"), anna)
        assert usage.flush(5)
    assert [name for name, _ in database.taken] == ["1", "2"]
