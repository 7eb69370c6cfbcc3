"""The spool: usage on disk survives the process, belongs to one process at a time, and is bounded."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from supa_llm.client.recorder import Recorder
from supa_llm.client.spool import Spool
from supa_llm.errors import ConfigurationError, DatabaseUnavailableError
from tests.support import wait_until
from tests.unit.test_recorder import ANNA, NEVER, Database, event, ticketed, token


def die(spool: Spool) -> None:
    """What is left when the process of a spool is killed."""
    if spool._file is not None:
        os.close(spool._file)
    spool._begin()


def left(directory: Path) -> list[Any]:
    return [entry for _, entry in Spool(directory).take_over()]


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_events_that_were_not_removed_are_found_after_a_crash(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    numbers = [spool.add(None, ticketed(f"{n}")) for n in range(5)]
    spool.add("anna", event("of anna"))
    spool.remove([numbers[1], numbers[3]])
    die(spool)
    assert left(tmp_path) == [*((None, ticketed(f"{n}")) for n in (0, 2, 4)), ("anna", event("of anna"))]


def test_events_that_are_taken_over_survive_the_next_crash_too(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.add(None, ticketed("1"))
    die(first)
    second = Spool(tmp_path)
    assert len(second.take_over()) == 1
    second.add(None, ticketed("2"))
    assert len(files(tmp_path)) == 1
    die(second)
    assert [fields["request_id"] for _, fields in left(tmp_path)] == ["1", "2"]


def test_the_file_of_a_live_process_is_left_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(None, ticketed("1"))
    assert left(tmp_path) == []
    child = os.fork()  # it inherits the open file
    if child == 0:
        spool.begin_child()
        spool.add(None, ticketed("child"))
        os._exit(0)
    os.waitpid(child, 0)
    assert left(tmp_path) == [(None, ticketed("child"))]
    die(spool)
    assert left(tmp_path) == [(None, ticketed("1"))]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_was_cut_off_is_skipped(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path)
    spool.add(None, ticketed("1"))
    spool.add(None, ticketed("2"))
    die(spool)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    with path.open("ab") as file:
        file.write(b'\nnull\n{"number": "x"}\n\xff\n[]\n{"removed": [{}]}\n{"removed": 3}')
        file.write(b'\n{"number":3,"owner":null,"event":{"request_id":"3"}}')
    assert [fields["request_id"] for _, fields in left(tmp_path)] == ["1", "3"]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "spool"
    spool = Spool(directory)
    spool.add(None, ticketed("1"))
    (path,) = files(directory)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_file_stays_small(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    waiting = [spool.add(None, ticketed(f"{n}")) for n in range(10)]
    for n in range(10_000):
        waiting.append(spool.add(None, ticketed(f"more {n}")))
        spool.remove([waiting.pop(0)])
    (path,) = files(tmp_path)
    assert path.stat().st_size < 300_000
    die(spool)
    assert len(left(tmp_path)) == 10


def test_a_clean_end_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.remove([spool.add(None, ticketed("1"))])
    assert spool.close() == 0
    assert files(tmp_path) == []


def test_a_full_disk_is_reported_once_and_does_not_stop_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    database = Database()
    usage = Recorder(database, spool=Spool(tmp_path))
    monkeypatch.setattr(os, "write", full)
    for n in range(5):
        usage.put(ticketed(f"{n}"), ANNA)
    assert usage.flush(5)
    usage.close(1)
    assert database.taken == [f"{n}" for n in range(5)]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "No space left" in caplog.text


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="usage_spool"):
            Spool(path)


def test_the_recorder_replays_what_a_killed_process_left(tmp_path: Path) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    killed = Recorder(database, spool=Spool(tmp_path))
    for n in range(5):
        killed.put(ticketed(f"{n}"), ANNA)
    assert killed._spool
    die(killed._spool)
    killed._lanes.clear()
    database.error = None
    usage = Recorder(database, spool=Spool(tmp_path))
    assert usage.flush(5)
    assert database.taken == [f"{n}" for n in range(5)]
    usage.close(1)
    assert files(tmp_path) == []


def test_closing_leaves_unsent_events_in_the_spool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.error = DatabaseUnavailableError("away")
    usage = Recorder(database, spool=Spool(tmp_path))
    usage.put(ticketed("1"), ANNA)
    usage.put(event("2"), ANNA)
    usage.close(0.1)
    assert usage.dropped == 0
    assert "2 usage event(s) are not recorded yet" in caplog.text
    assert left(tmp_path) == [(None, ticketed("1")), ("anna", event("2"))]


def test_replayed_events_without_a_ticket_wait_for_a_token_of_their_user(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add("anna", event("1"))
    spool.add("bert", event("2"))
    spool.add(None, ticketed("3"))
    die(spool)
    database = Database()
    usage = Recorder(database, spool=Spool(tmp_path))
    assert not usage.flush(0.1)
    assert database.taken == ["3"]
    newer = token(exp=NEVER)
    usage.renew(newer)
    wait_until(lambda: database.taken == ["3", "1"])
    assert database.batches[-1][1] == newer.secret.reveal()
    usage.close(1)
    assert usage.dropped == 0
    assert left(tmp_path) == [("bert", event("2"))]


def test_replayed_events_that_are_refused_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path)
    spool.add(None, ticketed("1"))
    die(spool)
    database = Database()
    database.refused = {"1": "ticket_expired"}
    usage = Recorder(database, spool=Spool(tmp_path))
    assert not usage.flush(5)
    assert usage.dropped == 1
    assert "ticket_expired" in caplog.text
    usage.close(1)
    assert files(tmp_path) == []
