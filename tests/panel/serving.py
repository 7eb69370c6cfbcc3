"""The page of `supa-llm panel` in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from supa_llm.local.ports import pick_free
from supa_llm.panel import panel_site
from tests.support import Stack, unique, wait_until


@contextmanager
def serve_site(stack: Stack) -> Iterator[str]:
    """Yields the page's URL. The server is a runtime, and the operator has a Mistral key."""
    (port,) = pick_free(1)
    runtime = stack.admin("register_llm_runtime", p_name=unique("panel tests"))["secret"]
    app = panel_site(
        stack.api_url, stack.publishable_key, runtime_secret=runtime, operator_keys={"mistral": "m" * 32}
    )
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, seconds=30)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
