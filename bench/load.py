"""A load generator with little overhead of its own: open sockets and requests built in advance."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Request = Callable[[], bytes]

#: Stands for a new id in the arguments of requests; as long as one.
NEW_ID = "?" * 36


@dataclass(frozen=True)
class Side:
    """One side of a comparison: requests, and the address that gets them.

    Attributes:
        prepare: called before each round, outside of the measured time.
    """

    url: str
    request: Request
    prepare: Callable[[], None] | None = None


class RefusedError(Exception):
    """The response to a request was not a success."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer.decode(errors="replace"))
        self.status = int(answer[9:12])


def rpc(url: str, name: str, arguments: Mapping[str, Any], token: str) -> Request:
    """Identical requests of one RPC.

    Args:
        url: address of PostgREST.
        token: access token of the user.
    """
    request = _post(url, name, json.dumps(arguments).encode(), token)
    return lambda: request


def new_id() -> bytes:
    """A new UUIDv7, as text."""
    moment = time.time_ns() // 1_000_000
    text = f"{moment:012x}7{os.urandom(10).hex()}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-b{text[17:20]}-{text[20:32]}".encode()


def rpc_with_new_ids(
    url: str,
    name: str,
    arguments: Mapping[str, Any],
    token: str,
    make_id: Callable[[], bytes] = new_id,
    runtime: str | None = None,
) -> Request:
    """Requests of one RPC, each with new UUIDv7s in place of ``NEW_ID``.

    Args:
        runtime: secret of the runtime that sends the requests.
    """
    request = _post(url, name, json.dumps(arguments).encode(), token, runtime)
    first, *others = request.split(NEW_ID.encode())
    return lambda: b"".join([first, *(part for other in others for part in (make_id(), other))])


class Connection:
    """One HTTP connection that stays open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def seconds(self, request: bytes) -> float:
        """Seconds from the first byte of a request to the last byte of its response."""
        start = time.perf_counter()
        self.socket.sendall(request)
        answer = self.socket.recv(65536)
        while not _complete(answer):
            answer += self._more()
        taken = time.perf_counter() - start
        _check(answer)
        return taken

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("The server closed the connection.")
        return data


def requests_per_second(url: str, request: Request, *, connections: int, seconds: float) -> float:
    """Responses per second if each connection sends a request as soon as it has the previous response."""
    open_ones = [Connection(url) for _ in range(connections)]
    done = 0
    with selectors.DefaultSelector() as selector:
        for one in open_ones:
            selector.register(one.socket, selectors.EVENT_READ, [one.socket, b""])
            one.socket.sendall(request())
        start = time.perf_counter()
        end = start + seconds
        while (now := time.perf_counter()) < end:
            for key, _ in selector.select(timeout=5):
                state = key.data
                state[1] += state[0].recv(65536)
                if _complete(state[1]):
                    _check(state[1])
                    state[1] = b""
                    done += 1
                    state[0].sendall(request())
    for one in open_ones:
        one.close()
    return done / (now - start)


def _post(url: str, name: str, body: bytes, token: str, runtime: str | None = None) -> bytes:
    secret = f"x-llm-runtime: {runtime}\r\n" if runtime else ""
    head = (
        f"POST /rpc/{name} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"{secret}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _complete(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    head = head.lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])
    return body == b"0\r\n\r\n" or body.endswith(b"\r\n0\r\n\r\n")


def _check(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 2"):
        raise RefusedError(answer)
