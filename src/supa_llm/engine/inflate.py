"""Decompresses responses a bounded piece at a time, so that a small response cannot fill the memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from supa_llm.wire.base import FaultError

#: Most bytes of one decompressed piece.
_PIECE = 65_536


class Inflater:
    """Decompresses one response.

    Args:
        encoding: its ``content-encoding``. No request asks for one, but some proxies compress anyway.

    Raises:
        FaultError: the encoding is not supported.
    """

    def __init__(self, encoding: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FaultError(
                "invalid_response", "the response is compressed, although that was not requested"
            )
        self._plain = encoding in ("", "identity")
        # zlib detects whether gzip's or its own header is there; some servers send deflate without any.
        self._inflating = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._headless = encoding == "deflate"

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        """The bytes that ``raw`` decompresses to. Raises FaultError if it cannot be decompressed."""
        if self._plain:
            yield raw
            return
        while raw:
            piece = self._piece(raw)
            raw = self._inflating.unconsumed_tail
            yield piece

    def _piece(self, raw: bytes) -> bytes:
        headless, self._headless = self._headless, False
        try:
            return self._inflating.decompress(raw, _PIECE)
        except zlib.error:
            if headless:
                self._inflating = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._piece(raw)
        raise FaultError("invalid_response", "the response cannot be decompressed")
