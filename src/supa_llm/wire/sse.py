"""Server-sent events: bytes in, events out. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``name`` is empty if the server sent none."""

    name: str
    data: str


class EventParser:
    """Parses an event stream that arrives in pieces cut anywhere, also inside a line ending or a character.

    Args:
        limit: most bytes of one event; a longer one raises ValueError.

    Example:
        >>> EventParser().feed(b"data: 1\\n\\n")
        [Event(name='', data='1')]
    """

    def __init__(self, limit: int = 2**20) -> None:
        self._limit = limit
        self._size = 0  # of the event so far
        self._rest: list[bytes] = []  # an incomplete line
        self._begun = False
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that ``piece`` completes."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")  # the second half of a CRLF that was cut in two
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines(keepends=True)
        events = []
        for line in lines:
            self._rest.append(line)
            self._size += len(line)
            if self._size > self._limit:
                raise ValueError("the event is too large")
            if line.endswith((b"\n", b"\r")):
                events.append(self._line(self._taken().rstrip(b"\r\n")))
        return [event for event in events if event]

    def end(self) -> list[Event]:
        """The last event if the server did not end it with a blank line, as some servers do."""
        events = [self._line(self._taken()), self._line(b"")]
        return [event for event in events if event]

    def _taken(self) -> bytes:
        line, self._rest = b"".join(self._rest), []
        if not self._begun:
            self._begun, line = True, line.removeprefix(_BOM)
        return line

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        field, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        elif not self._data:
            self._size = 0  # comments (an empty field), id and retry mean nothing here
        return None
