"""The recorder: sends usage in batches in the background, retries, is bounded, and reports every loss."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from supa_llm.client.recorder import Recorder
from supa_llm.client.session import AccessToken
from supa_llm.database.call import Call
from supa_llm.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidInputError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.secrets import Secret
from supa_llm.values.usage import Recording
from tests.support import unsigned_token, wait_until

NEVER, SOON = 4_102_444_800, 4_000_000_000


class Database:
    """Receives recorded usage, refuses some of it, or is unavailable.

    Attributes:
        batches: the names of the events of each call, with its token.
        refused: the code with which the events of a name are refused.
        poison: calls with an event of this name fail.
        tokens: the tokens that are accepted; None for all.
        dropped: the reported drops by reason.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], str | None]] = []
        self.refused: dict[str, str] = {}
        self.poison: str | None = None
        self.tokens: set[str] | None = None
        self.tries = 0
        self.dropped: Counter[str] = Counter()
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def __call__(self, call: Call[list[Recording]], token: Secret | None) -> list[Recording]:
        assert call.name == "record_llm_usage_batch"
        self.tries += 1
        self.open.wait(10)
        if self.error is not None:
            raise self.error
        if token is not None and self.tokens is not None and token.reveal() not in self.tokens:
            raise NotSignedInError("expired")
        dropped = call.args.get("p_dropped")
        names = [sent["request_id"] for sent in call.args["p_events"]]
        if self.poison in names:
            raise InvalidInputError("a malformed event", code="invalid_argument")
        self.dropped.update(dropped or {})
        self.batches.append((names, token.reveal() if token else None))
        return call.parse(
            [
                {"status": "refused", "code": self.refused[name]} if name in self.refused else RECORDED
                for name in names
            ]
        )

    @property
    def taken(self) -> list[str]:
        return [name for names, _ in self.batches for name in names]


RECORDED = {"status": "recorded"}


@contextmanager
def recorder(database: Database, **options: Any) -> Iterator[Recorder]:
    made = Recorder(database, **options)
    yield made
    database.open.set()
    database.error = None
    made.close(1)


def event(name: str) -> dict[str, Any]:
    return {"request_id": name}


def ticketed(name: str) -> dict[str, Any]:
    return {"request_id": name, "ticket": "t"}


def token(sub: str = "anna", exp: int = SOON, salt: str = "") -> AccessToken:
    return AccessToken.read(unsigned_token(sub=sub, exp=exp, salt=salt))


ANNA = token()


def test_usage_is_sent_in_the_background() -> None:
    database = Database()
    database.open.clear()
    with recorder(database) as usage:
        started = time.monotonic()
        for n in range(100):
            usage.put(event(f"{n}"), ANNA)
        assert time.monotonic() - started < 1
        database.open.set()
        assert usage.flush(5)
        assert database.taken == [f"{n}" for n in range(100)]
        assert usage.dropped == 0


def test_the_next_call_reports_what_was_dropped() -> None:
    database = Database()
    database.open.clear()
    with recorder(database, capacity=10) as usage:
        usage.put(event("first"), ANNA)
        wait_until(lambda: database.tries == 1)
        for n in range(15):
            usage.put(event(f"{n}"), ANNA)
        database.open.set()
        assert not usage.flush(5)  # it waits, and reports the loss
        assert database.dropped == {"queue_full": 5}
        database.poison = "poison"
        usage.put(event("poison"), ANNA)
        assert not usage.flush(5)
        database.refused["bad"] = "invalid_argument"
        usage.put(event("bad"), ANNA)  # the database counts it itself
        usage.put(event("last"), ANNA)
        assert not usage.flush(5)
        assert database.dropped == {"queue_full": 5, "refused": 1}
        assert usage.dropped == 7


def test_drops_are_reported_again_if_the_call_fails() -> None:
    database = Database()
    database.error = DatabaseUnavailableError("down")
    with recorder(database, patience=0.01) as usage:
        usage.put(event("lost"), ANNA)
        wait_until(lambda: usage.dropped == 1)
        usage.put(event("lost too"), ANNA)
        wait_until(lambda: usage.dropped == 2)
        database.error = None
        usage.put(event("kept"), ANNA)
        assert not usage.flush(5)
        assert database.dropped == {"database_unavailable": 2}


def test_what_waits_while_a_call_runs_goes_in_one_call() -> None:
    database = Database()
    database.open.clear()
    with recorder(database) as usage:
        usage.put(ticketed("first"), ANNA)
        wait_until(lambda: database.tries == 1)
        for n in range(300):
            usage.put(ticketed(f"{n}"), token(f"user-{n}"))
        database.open.set()
        assert usage.flush(5)
    assert [len(names) for names, _ in database.batches] == [1, 200, 100]
    assert database.taken == ["first", *(f"{n}" for n in range(300))]
    assert {sent for _, sent in database.batches} == {None}  # tickets need no token


def test_without_tickets_each_user_has_calls_of_their_own() -> None:
    database = Database()
    database.open.clear()
    bert = token("bert")
    with recorder(database, workers=1) as usage:
        for n in range(3):
            usage.put(event(f"a{n}"), ANNA)
            usage.put(event(f"b{n}"), bert)
        database.open.set()
        assert usage.flush(5)
    for whose, name in ((ANNA, "a"), (bert, "b")):
        sent = [it for names, used in database.batches if used == whose.secret.reveal() for it in names]
        assert sent == [f"{name}{n}" for n in range(3)]


def test_the_events_of_a_request_arrive_in_order_also_after_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._FIRST_PAUSE", 0.01)
    database = Database()
    with recorder(database) as usage:
        for round_ in range(20):
            database.error = DatabaseUnavailableError("away") if round_ % 3 == 0 else None
            for n in range(10):
                usage.put(ticketed(f"{10 * round_ + n}"), ANNA)
            time.sleep(0.005)
        database.error = None
        assert usage.flush(5)
    assert database.taken == [f"{n}" for n in range(200)]


def _note(recorded: list[str], name: str, _: Recording) -> None:
    recorded.append(name)


def test_each_event_has_its_own_answer(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.open.clear()
    database.refused = {"3": "ticket_expired", "7": "unknown_provider"}
    recorded: list[str] = []
    with recorder(database) as usage:
        for n in range(10):
            usage.put(ticketed(f"{n}"), ANNA, partial(_note, recorded, f"{n}"))
        database.open.set()
        assert not usage.flush(5)
        assert usage.dropped == 2
    assert recorded == list("01245689")
    assert "ticket_expired" in caplog.text
    assert "unknown_provider" in caplog.text


def test_an_event_that_makes_its_call_fail_is_found_and_loses_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database()
    database.open.clear()
    database.poison = "137"
    with recorder(database) as usage:
        usage.put(ticketed("first"), ANNA)
        wait_until(lambda: database.tries == 1)
        for n in range(300):
            usage.put(ticketed(f"{n}"), ANNA)
        database.open.set()
        assert not usage.flush(5)
        assert usage.dropped == 1
    assert database.taken == ["first", *(f"{n}" for n in range(300) if n != 137)]
    assert database.tries < 40
    assert "invalid_argument" in caplog.text


def test_a_batch_that_takes_too_long_is_retried_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._FIRST_PAUSE", 0.01)
    database = Database()

    def slow(call: Call[list[Recording]], secret: Secret | None) -> list[Recording]:
        if len(call.args["p_events"]) > 10:
            raise DatabaseUnavailableError("statement timeout")
        return database(call, secret)

    database.open.clear()
    usage = Recorder(slow)
    for n in range(100):
        usage.put(ticketed(f"{n}"), ANNA)
    database.open.set()
    assert usage.flush(5)
    assert database.taken == [f"{n}" for n in range(100)]


def test_a_refused_token_waits_for_a_newer_one_of_the_same_user() -> None:
    database = Database()
    newer = token(exp=NEVER)
    database.tokens = {newer.secret.reveal()}
    with recorder(database) as usage:
        usage.put(event("1"), ANNA)
        usage.put(event("2"), ANNA)
        wait_until(lambda: database.tries > 0)
        usage.renew(token("bert", exp=NEVER))
        assert not usage.flush(0.1)
        usage.renew(newer)
        assert usage.flush(5)
        assert usage.dropped == 0
    assert database.taken == ["1", "2"]
    assert {used for _, used in database.batches} == {newer.secret.reveal()}


def test_another_event_brings_a_newer_token_too() -> None:
    database = Database()
    newer = token(exp=NEVER)
    database.tokens = {newer.secret.reveal()}
    with recorder(database) as usage:
        usage.put(event("1"), ANNA)
        wait_until(lambda: database.tries > 0)
        usage.put(event("2"), newer)
        assert usage.flush(5)
    assert database.taken == ["1", "2"]


def test_a_token_that_is_only_refused_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgREST may find that a token was issued in the future."""
    monkeypatch.setattr("supa_llm.client.recorder._REFUSED_PAUSE", 0.02)
    database = Database()
    database.tokens = set()
    with recorder(database) as usage:
        usage.put(event("1"), ANNA)
        wait_until(lambda: database.tries > 1)
        database.tokens = None
        wait_until(lambda: database.taken == ["1"])


def test_an_expired_token_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._REFUSED_PAUSE", 0.02)
    database = Database()
    database.tokens = set()
    with recorder(database) as usage:
        usage.put(event("1"), token(exp=1_000))
        assert not usage.flush(0.3)
        assert database.tries == 1


def test_usage_whose_token_stays_refused_is_dropped_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._REFUSED_PAUSE", 0.02)
    database = Database()
    database.tokens = set()
    with recorder(database, patience=0.1) as usage:
        for n in range(3):
            usage.put(event(f"{n}"), ANNA)
        assert not usage.flush(5)
        assert usage.dropped == 3
    assert "access token (not_signed_in)" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_closing_does_not_wait_for_a_newer_token(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.tokens = set()
    usage = Recorder(database)
    usage.put(event("1"), ANNA)
    wait_until(lambda: database.tries > 0)
    started = time.monotonic()
    usage.close(5)
    assert time.monotonic() - started < 2
    assert usage.dropped == 1
    assert "not_signed_in" in caplog.text


def test_usage_is_retried_while_the_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("supa_llm.client.recorder._LONGEST_PAUSE", 0.02)
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database) as usage:
        for n in range(10):
            usage.put(event(f"{n}"), ANNA)
        assert not usage.flush(0.2)
        tries = database.tries
        assert 2 < tries < 100
        database.error = None
        assert usage.flush(5)
        assert len(database.taken) == 10
        assert usage.dropped == 0


def test_a_full_queue_drops_the_oldest_event_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.open.clear()
    with recorder(database, capacity=5, workers=1) as usage:
        usage.put(event("sending"), ANNA)
        wait_until(lambda: database.tries == 1)
        for n in range(8):
            usage.put(event(f"{n}"), ANNA if n % 2 else token("bert"))
        assert usage.dropped == 3
        database.open.set()
        assert not usage.flush(5)
        usage.close(1)
    assert sorted(database.taken) == ["3", "4", "5", "6", "7", "sending"]
    said = [record.getMessage() for record in caplog.records if record.name == "supa_llm"]
    assert said == [
        "1 usage event(s) could not be recorded: the queue was full. In total 1 were dropped.",
        "2 usage event(s) could not be recorded: the queue was full. In total 3 were dropped.",
    ]


@pytest.mark.parametrize("error", [ForbiddenError("No.", code="runtime_unknown"), DatabaseError("No.")])
def test_usage_that_the_database_refuses_is_dropped_with_a_warning(
    error: SupaLLMError, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("supa_llm.client.recorder._LONGEST_PAUSE", 0.01)
    database = Database()
    database.error = error
    with recorder(database) as usage:
        for n in range(4):
            usage.put(ticketed(f"{n}"), ANNA)
        assert not usage.flush(5)
        assert usage.dropped == 4
    assert error.code in caplog.text


def test_a_failure_without_a_clear_cause_is_retried() -> None:
    """Such as a proxy's own error while the project restarts."""
    database = Database()
    database.error = DatabaseError("error 500")
    with recorder(database) as usage:
        usage.put(ticketed("1"), ANNA)
        wait_until(lambda: database.tries == 1)
        database.error = None
        assert usage.flush(5)
        assert usage.dropped == 0
    assert database.taken == ["1"]


def test_retries_end(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database, patience=0.0) as usage:
        usage.put(event("1"), ANNA)
        assert not usage.flush(5)
        assert usage.dropped == 1
    assert "unavailable" in caplog.text


def test_closing_drops_unsent_usage_and_reports_the_count(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    with recorder(database) as usage:
        for n in range(3):
            usage.put(event(f"{n}"), ANNA)
        usage.close(0.1)
        assert usage.dropped == 3
    assert "closing waited 0.1 s" in caplog.text


def test_flush_is_false_after_a_loss_however_much_is_recorded_later() -> None:
    database = Database()
    database.refused = {"lost": "ticket_expired"}
    with recorder(database) as usage:
        usage.put(ticketed("kept"), ANNA)
        assert usage.flush(5)
        usage.put(ticketed("lost"), ANNA)
        wait_until(lambda: usage.dropped == 1)
        assert not usage.flush(5)
        usage.put(ticketed("kept too"), ANNA)
        assert not usage.flush(5)
    assert database.taken == ["kept", "lost", "kept too"]


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supa_llm.client.recorder._IDLE", 0.05)
    database = Database()
    with recorder(database) as usage:
        usage.put(event("1"), ANNA)
        assert usage.flush(5)
        wait_until(lambda: not usage._workers)
        usage.put(event("2"), ANNA)
        assert usage.flush(5)
    assert database.taken == ["1", "2"]


def test_flush_sends_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    database = Database()
    with recorder(database) as usage:
        usage.put(event("1"), ANNA)
        usage.put(event("2"), ANNA)
        assert usage.flush(5)
    assert database.taken == ["1", "2"]


def test_a_forked_process_begins_with_an_empty_queue_and_a_free_lock() -> None:
    database = Database()
    database.open.clear()
    with recorder(database) as usage:
        usage.put(ticketed("parent"), ANNA)
        wait_until(lambda: database.tries == 1)
        usage.put(ticketed("waiting"), ANNA)
        with usage._changed:  # a fork copies locks as they are
            child = os.fork()
            if child == 0:
                database.batches.clear()
                database.open = threading.Event()
                database.open.set()
                usage.put(ticketed("child"), ANNA)
                done = usage.flush(5) and database.taken == ["child"]
                os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        database.open.set()
        assert usage.flush(5)
    assert database.taken == ["parent", "waiting"]


def test_a_child_of_multiprocessing_records_its_usage_at_its_end() -> None:
    reader, writer = os.pipe()

    def slow(call: Call[list[Recording]], _: Secret | None) -> list[Recording]:
        time.sleep(0.1)
        for sent in call.args["p_events"]:
            os.write(writer, f"{sent['request_id']} ".encode())
        return call.parse([RECORDED for _ in call.args["p_events"]])

    usage = Recorder(slow)
    usage.put(ticketed("parent"), ANNA)

    def child() -> None:
        usage.put(ticketed("1"), ANNA)
        usage.put(ticketed("2"), ANNA)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(10)
    assert usage.flush(5)
    assert process.exitcode == 0
    assert sorted(os.read(reader, 1000).decode().split()) == ["1", "2", "parent"]
    os.close(reader)
    os.close(writer)
