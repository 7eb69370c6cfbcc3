"""Server-sent events: bytes in, events out. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``name`` is empty if the server sent none."""

    name: str
    data: str


class EventParser:
    """Parses an event stream that arrives in pieces cut anywhere, also inside a line ending or a character.

    Example:
        >>> EventParser().feed(b"data: 1\\n\\n")
        [Event(name='', data='1')]
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that ``piece`` completes."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CRLF that was cut in two
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        lines = (self._rest + piece).splitlines(keepends=True)
        self._rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        return [event for line in lines if (event := self._line(line.rstrip(b"\r\n")))]

    def end(self) -> list[Event]:
        """The last event if the server did not end it with a blank line, as some servers do."""
        events = [self._line(self._rest), self._line(b"")]
        self._rest = b""
        return [event for event in events if event]

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if field.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None  # comments (an empty field), id and retry mean nothing here
