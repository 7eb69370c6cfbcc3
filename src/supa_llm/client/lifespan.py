"""The end of an ASGI server: usage is recorded before the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supa_llm.client.supallm import AsyncSupaLLM, SupaLLM


def lifespan(llm: SupaLLM | AsyncSupaLLM) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan for an ASGI app that closes ``llm`` at shutdown, which records the remaining usage.

        app = FastAPI(lifespan=supa_llm.lifespan(llm))

    On SIGTERM, uvicorn runs this, but not Python's exit handlers. An app with a lifespan of its own enters
    this one in it: ``async with supa_llm.lifespan(llm)(app): yield``.
    """

    @asynccontextmanager
    async def closing(_: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if asyncio.iscoroutinefunction(llm.close):
                await llm.close()
            else:
                await asyncio.to_thread(llm.close)

    return closing
