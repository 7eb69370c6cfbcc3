"""Usage events on disk, for processes that are killed before the database has answered."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from supa_llm.errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("supa_llm")

_REWRITE_AFTER = 1_000  # removed events that the file still contains

#: The user whose token records the event (None if the event has a ticket), and its fields.
Entry = tuple[str | None, Mapping[str, Any]]


class Spool:
    """The events of one process that the database has not answered yet.

    Every process has its own file in the directory, and holds a lock on it while it lives. A process that
    starts takes over the files of processes that have ended. It may send an event that is already recorded,
    which changes nothing. The files contain no keys and no access tokens. They contain tickets, which are
    useless without the runtime's secret.

    A line is written before the caller gets its answer, so it survives the end of the process. It is not
    synced to the disk: if the machine crashes, the events of the last seconds are lost.

    Args:
        directory: on a local disk; created if it does not exist.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        if fcntl is None:
            raise ConfigurationError(
                "'usage_spool' needs file locks, which this system does not have.",
                hint="Leave it out on Windows.",
            )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            usable = os.access(self._directory, os.R_OK | os.W_OK | os.X_OK)
        except OSError:
            usable = False
        if not usable:
            raise ConfigurationError(
                f"'usage_spool' is not a directory that this process can write: {directory}",
                hint="Pass a directory of this app's own on a local disk.",
            )
        self._failing = False
        self._begin()

    def _begin(self) -> None:
        self._file: int | None = None
        self._path = Path()
        self._last = 0
        self._waiting: dict[int, bytes] = {}
        self._removed = 0

    def add(self, owner: str | None, event: Mapping[str, Any]) -> int:
        """Write one event. Returns its number, for :meth:`remove`."""
        self._last += 1
        line = {"number": self._last, "owner": owner, "event": event}
        self._waiting[self._last] = _encoded(line)
        self._write([self._waiting[self._last]])
        return self._last

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove events that were recorded or dropped."""
        removed = [number for number in numbers if self._waiting.pop(number, None)]
        self._removed += len(removed)
        if not self._waiting:
            self._empty()
        elif self._removed > max(_REWRITE_AFTER, len(self._waiting)):
            self._rewrite()
        elif removed:
            self._write([_encoded({"removed": removed})])

    def take_over(self) -> list[tuple[int, Entry]]:
        """The events that ended processes left behind. They are in this process's file from now on."""
        return [found for path in sorted(self._directory.glob("*.jsonl")) for found in self._adopt(path)]

    def close(self) -> int:
        """Release the file, for the next process to take over. Returns the number of events in it."""
        left = len(self._waiting)
        if self._file is not None:
            if not left:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
        self._begin()
        return left

    def begin_child(self) -> None:
        """Leave the file to the parent, whose lock stays."""
        if self._file is not None:
            os.close(self._file)
        self._begin()

    def _adopt(self, path: Path) -> list[tuple[int, Entry]]:
        try:
            with path.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
                    return []
                found = [(self.add(*entry), entry) for entry in _entries(file.read())]
                if not self._failing:  # otherwise this is the only copy on disk
                    path.unlink()
                return found
        except OSError:  # its process lives, or another one has taken it over
            return []

    def _write(self, lines: Iterable[bytes]) -> None:
        try:
            if self._file is None:
                self._file = self._create()
            os.write(self._file, b"".join(lines))
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning(
                    "The usage spool cannot be written (%s). Usage waits in memory only.", error.strerror
                )
            self._failing = True

    def _create(self) -> int:
        """Make this process's file. It gets its name once it is locked, so that no other process takes it."""
        name = uuid4().hex
        hidden = self._directory / f".{name}"
        file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._path = hidden.rename(self._directory / f"{name}.jsonl")
        return file

    def _empty(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
        self._removed = 0

    def _rewrite(self) -> None:
        """Begin a new file with the waiting events only."""
        file, path = self._file, self._path
        self._file, self._removed = None, 0
        self._write(self._waiting.values())
        if self._failing:
            self._file, self._path, file = file, path, self._file
        else:
            path.unlink(missing_ok=True)
        if file is not None:
            os.close(file)


def _encoded(line: Mapping[str, Any]) -> bytes:
    # The line break comes first, so that a line that was cut off does not spoil the next one.
    return b"\n" + json.dumps(line, separators=(",", ":")).encode()


def _entries(data: bytes) -> Iterator[Entry]:
    """The events of a file, without removed ones and without lines that were cut off."""
    found: dict[int, Entry] = {}
    for line in data.split(b"\n"):
        try:
            match json.loads(line):
                case {"number": int(number), "owner": str() | None as owner, "event": dict(event)}:
                    found[number] = (owner, event)
                case {"removed": [*numbers]}:
                    for number in numbers:
                        found.pop(number, None)
        except (ValueError, TypeError):
            continue
    yield from found.values()
