"""Server-sent events are the same however the network splits them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from supa_llm.wire.sse import Event, EventParser

STREAM = (
    "\ufeffdata: first\n\n"
    ": a comment\r\n"
    "event: named\r\nid: 7\r\nretry: 10\r\ndata: two\r\ndata:  lines é\r\n\r\n"
    "data\rdata:x\r\r"
    "event: without data\n\n"
    "data: last\n\n"
).encode()
EVENTS = [Event("", "first"), Event("named", "two\n lines é"), Event("", "\nx"), Event("", "last")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_where_the_bytes_are_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    parser = EventParser()
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    events = [event for piece in pieces for event in parser.feed(piece)]
    assert [*events, *parser.end()] == EVENTS


def test_byte_by_byte() -> None:
    parser = EventParser()
    assert [event for byte in STREAM for event in parser.feed(bytes([byte]))] == EVENTS


def test_a_last_event_without_its_blank_line_is_not_lost() -> None:
    parser = EventParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.end() == [Event("", "[DONE]")]
