"""A server that sends the corpus's replies: real HTTP over a local socket, byte for byte."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tests.providers.corpus import Reply

#: Seconds for which a connection stays open that the client should drop itself.
_PATIENCE = 20.0


class ReplayServer(socketserver.ThreadingTCPServer):
    """Serves ``/<name>/…`` with the replies of that name, one request after the other; the last repeats."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.replies: dict[str, Sequence[Reply]] = {}
        self.bodies: dict[str, list[Any]] = defaultdict(list)
        self.connections = 0

    def base_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def play(self, name: str, replies: Sequence[Reply]) -> str:
        """Serve these replies under a name. Returns its base URL."""
        self.replies[name] = replies
        self.bodies[name] = []
        return self.base_url(name)


@contextmanager
def replaying() -> Iterator[ReplayServer]:
    """Run a server in a thread."""
    server = ReplayServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Connection(socketserver.StreamRequestHandler):
    server: ReplayServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.server.connections += 1
        with suppress(OSError):
            while self._request():
                pass

    def _request(self) -> bool:
        """Serve one request. Returns whether the connection stays open."""
        line = self.rfile.readline().split()
        if not line:
            return False
        length = 0
        while (header := self.rfile.readline().strip()) != b"":
            field, _, value = header.partition(b":")
            if field.lower() == b"content-length":
                length = int(value)
        body = self.rfile.read(length)
        name = line[1].decode().split("/")[1]
        replies, bodies = self.server.replies[name], self.server.bodies[name]
        reply = replies[min(len(bodies), len(replies) - 1)]
        bodies.append(json.loads(body))
        return self._send(reply)

    def _send(self, reply: Reply) -> bool:
        headers = {"content-type": reply.content_type, **reply.headers, "transfer-encoding": "chunked"}
        if reply.gzip:
            headers["content-encoding"] = "gzip"
        self.wfile.write(f"HTTP/1.1 {reply.status} Recorded\r\n{_lines(headers)}\r\n".encode())
        for part in reply.parts():
            if isinstance(part, float):
                time.sleep(part)
            elif part:
                self._chunk(part)
        if reply.end == "break":
            return False
        if reply.end != "close":
            self._linger(b": comment\n\n" if reply.end == "comments" else b"")
            return False
        self.wfile.write(b"0\r\n\r\n")
        return True

    def _linger(self, comment: bytes) -> None:
        """Keep the connection open until the client drops it."""
        until = time.monotonic() + _PATIENCE
        self.connection.settimeout(0.02)
        while time.monotonic() < until:
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                if comment:
                    self._chunk(comment)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
