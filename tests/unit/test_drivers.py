"""The drivers' I/O on real connections: how long reads may take, reused connections, and memory."""

from __future__ import annotations

import base64
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from supa_llm.engine import AsyncEngine, Engine, Limits, Timeouts, flow
from supa_llm.engine.inflate import Inflater
from supa_llm.errors import ProviderError, StreamInterruptedError
from supa_llm.wire.base import FaultError
from tests.providers.corpus import Reply
from tests.providers.replay import ReplayServer, replaying
from tests.unit.engine_support import STREAM, Both, candidate

TEXT = [piece.decode() for piece in STREAM]


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with replaying() as server:
        yield server


def engine(both: Both, **limits: int) -> Any:
    return (AsyncEngine if both.asynchronous else Engine)(limits=Limits(**limits))


async def stream(both: Both, made: Any, base_url: str, **timeouts: float) -> tuple[list[str], float]:
    """The pieces of a stream, and how long it took."""
    account = both.account(candidate(base_url=base_url))
    started = time.monotonic()
    chosen = Timeouts(**{"total": 20.0, "attempt": 10.0, "idle": 10.0, **timeouts})
    pieces = await both.pieces(both.stream(made, account, timeouts=chosen))
    return pieces, time.monotonic() - started


async def test_the_limit_of_silence_is_exact_although_an_attempt_may_take_longer(
    both: Both, server: ReplayServer
) -> None:
    url = server.play("silent", [Reply(pieces=TEXT[:2], end="silence")])
    made, started = engine(both), time.monotonic()
    with pytest.raises(StreamInterruptedError):
        await stream(both, made, url, attempt=10.0, idle=0.3)
    assert 0.25 < time.monotonic() - started < 3.0


async def test_a_stream_may_be_silent_for_longer_than_an_attempt_may_take_to_answer(
    both: Both, server: ReplayServer
) -> None:
    url = server.play("paused", [Reply(pieces=[*TEXT[:2], {"pause": 0.6}, *TEXT[2:]])])
    pieces, _ = await stream(both, engine(both), url, attempt=0.3, idle=5.0)
    assert pieces == ["Hel", "lo"]


@pytest.mark.parametrize("end", ["silence", "comments"])
async def test_an_answer_ends_soon_after_its_finish_reason(
    both: Both, server: ReplayServer, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_FAREWELL", 0.4)
    url = server.play("lingering", [Reply(pieces=TEXT[:5], end=end)])
    pieces, seconds = await stream(both, engine(both), url)
    assert pieces == ["Hel", "lo"]
    assert 0.3 < seconds < 2.0


async def test_an_ended_answer_is_not_waited_for_and_its_connection_is_dropped(
    both: Both, server: ReplayServer
) -> None:
    url, made = server.play("done", [Reply(pieces=TEXT, end="silence")]), engine(both)
    before = server.connections
    for _ in range(2):
        pieces, seconds = await stream(both, made, url)
        assert pieces == ["Hel", "lo"]
        assert seconds < 2.0
    assert server.connections == before + 2


async def test_the_connection_of_a_well_behaved_stream_is_reused(both: Both, server: ReplayServer) -> None:
    url, made = server.play("good", [Reply(pieces=TEXT)]), engine(both)
    before = server.connections
    for _ in range(3):
        await stream(both, made, url)
    assert server.connections == before + 1


def test_the_limit_of_a_read_binds_only_its_own_thread(server: ReplayServer) -> None:
    """A connection that returns to the pool has the next request's time limits."""
    slow = [Reply(pieces=TEXT), Reply(pieces=[TEXT[0], {"pause": 0.6}, *TEXT[1:]])]
    both, url = Both(False), server.play("reused", slow)
    with Engine() as made:
        for idle in (0.2, 5.0):
            account = both.account(candidate(base_url=url))
            items = both.stream(made, account, timeouts=Timeouts(idle=idle))
            results: list[list[str]] = []
            thread = threading.Thread(target=lambda read=items, out=results: out.append(list(read)))
            thread.start()
            thread.join()
            assert results == [["Hel", "lo"]]


async def test_a_compressed_response_is_never_held_decompressed(both: Both, server: ReplayServer) -> None:
    compressing = zlib.compressobj(wbits=31)
    bomb = b"".join(compressing.compress(b" " * 1_000_000) for _ in range(300)) + compressing.flush()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    reply = Reply(base64=base64.b64encode(bomb).decode(), headers=headers)
    account = both.account(candidate(base_url=server.play("bomb", [reply])))
    made = engine(both)
    tracemalloc.start()
    try:
        with pytest.raises(ProviderError, match="exceeds 33554432 bytes"):
            await both.chat(made, account)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15), ("X-GZIP ", 31)]
)
def test_pieces_are_small_however_much_they_expand(encoding: str, wbits: int) -> None:
    compressing = zlib.compressobj(wbits=wbits)
    raw = compressing.compress(b"x" * 1_000_000) + compressing.flush()
    inflater = Inflater(encoding)
    pieces = [piece for at in range(0, len(raw), 100) for piece in inflater.pieces(raw[at : at + 100])]
    assert b"".join(pieces) == b"x" * 1_000_000
    assert max(map(len, pieces)) <= 65_536


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_cannot_be_decompressed_is_invalid(encoding: str) -> None:
    with pytest.raises(FaultError) as caught:
        list(Inflater(encoding).pieces(b"plain text"))
    assert caught.value.error_class == "invalid_response"
    with pytest.raises(FaultError):
        Inflater("br")


def test_no_connection_is_closed_as_surplus() -> None:
    """httpcore would close it even if it has just given it to the request of another thread."""
    together = threading.Barrier(64)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            together.wait(20)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

    server, made = Server(("127.0.0.1", 0), Handler), Engine()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        with ThreadPoolExecutor(64) as threads:
            list(threads.map(lambda _: made.client.get(url, timeout=20), range(128)))
        transport: Any = made.client._transport
        assert len(transport._pool.connections) == 64
    finally:
        made.close()
        server.shutdown()
        server.server_close()
