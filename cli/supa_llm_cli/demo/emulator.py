"""llmock, a third-party emulator of the providers' APIs, in its own process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from supa_llm.errors import LocalError
from supa_llm.local.ports import pick_free

#: Provider → path of its API in llmock. The provider's own paths follow it.
_ROOTS = {
    "openai": "",
    "groq": "/groq",
    "mistral": "/mistral",
    "anthropic": "/anthropic",
    "google": "/gemini",
}
#: Provider → its name in llmock, if that differs.
_THEIR_NAMES = {"google": "gemini"}
_START_SECONDS = 60.0


class Emulator:
    """A running llmock. It accepts any key, and fails on request."""

    def __init__(self, url: str) -> None:
        self.url = url

    def base_url(self, provider: str, real: str) -> str:
        """Return the base URL that replaces a provider's real one in the catalog."""
        return self.url + _ROOTS[provider] + urlsplit(real).path

    def fail(self, provider: str, status: int, **details: Any) -> None:
        """Fail the provider's next request with an HTTP status. Details: `message`, `retry_after`."""
        self._script({"type": "fail", "status": status, **details}, provider)

    def delay(self, provider: str, seconds: float) -> None:
        """Delay the provider's next answer."""
        self._script({"type": "delay", "seconds": seconds}, provider)

    def _script(self, behavior: dict[str, Any], provider: str) -> None:
        match = {"provider": _THEIR_NAMES.get(provider, provider)}
        httpx.post(
            f"{self.url}/_llmock/scenario", json={"behaviors": [{**behavior, "match": match}]}
        ).raise_for_status()


@contextlib.contextmanager
def emulator() -> Iterator[Emulator]:
    """Run llmock on a free port. Its own environment variables `LLMOCK_…` apply.

    Raises:
        LocalError: llmock does not start.
    """
    (port,) = pick_free(1)
    url = f"http://127.0.0.1:{port}"
    # The delay makes a stream arrive in pieces, as from a real model.
    arguments = ["serve", "--host", "127.0.0.1", "--port", str(port), "--stream-chunk-delay-ms", "30"]
    program = "from llmock.cli import app; app()"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C must not end llmock before the cleanup
        )
        try:
            _wait_ready(process, url, log)
            yield Emulator(url)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        time.sleep(0.05)
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    message = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    raise LocalError(
        f"The provider emulator llmock did not start: {message}",
        code="local_emulator_failed",
        hint="Unset any LLMOCK_… variables and run the command again.",
    )
