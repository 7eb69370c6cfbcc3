"""Asynchronous calls of a synchronous client: its engine runs in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import openai
import pytest

from supa_llm.client import dropin
from tests.unit.engine_support import STREAM, Both, MemoryAccount, MemoryUser, Reply, Web, answered, candidate

ASK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


def user(*replies: Reply) -> MemoryUser:
    return MemoryUser(MemoryAccount((candidate("one"),)), Both(False).engine(Web({"one": list(replies)})))


async def outcomes(llm: MemoryUser) -> list[str]:
    """The outcomes of attempts, once there is one."""
    async with asyncio.timeout(5):
        while not llm.account.attempts:
            await asyncio.sleep(0.01)
    return [it.outcome for it in llm.account.attempts]


class Paused(httpx.SyncByteStream):
    """A provider's stream that pauses before its last pieces, until the test lets it go on."""

    def __init__(self) -> None:
        self.waiting, self.going = threading.Event(), threading.Event()

    def __iter__(self) -> Any:
        yield from STREAM[:2]
        self.waiting.set()
        assert self.going.wait(5)
        yield from STREAM[2:]


async def test_requests_run_beside_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    def note(request: httpx.Request) -> httpx.Response:
        threads.append(threading.current_thread())
        return answered("Hi")

    client = user(note).async_openai()
    completion = await client.chat.completions.create(**ASK)
    assert completion.choices[0].message.content == "Hi"
    assert threading.main_thread() not in threads


async def test_errors_are_those_of_the_openai_package() -> None:
    client = user(httpx.Response(401, json={"error": {}})).async_openai()
    with pytest.raises(openai.AuthenticationError):
        await client.chat.completions.create(**ASK)


async def test_closing_a_stream_cancels_its_request() -> None:
    llm = user(httpx.Response(200, content=b"".join(STREAM[:3])))
    stream = await llm.async_openai().chat.completions.create(stream=True, **ASK)
    await anext(aiter(stream))
    await stream.close()
    assert [it.outcome for it in llm.account.attempts] == ["cancelled"]


async def test_a_task_that_is_canceled_in_a_stream_ends_at_once_and_its_request_soon() -> None:
    body = Paused()
    llm = user(lambda _: httpx.Response(200, stream=body))

    async def read() -> None:
        async for _ in await llm.async_openai().chat.completions.create(stream=True, **ASK):
            pass

    task = asyncio.create_task(read())
    assert await asyncio.to_thread(body.waiting.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert llm.account.attempts == []
    body.going.set()
    assert await outcomes(llm) == ["cancelled"]


@pytest.mark.parametrize(("streamed", "outcome"), [(False, "succeeded"), (True, "cancelled")])
async def test_a_request_whose_task_is_canceled_before_the_answer_is_recorded(
    streamed: bool, outcome: str
) -> None:
    asked, going = threading.Event(), threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        asked.set()
        assert going.wait(5)
        return httpx.Response(200, content=b"".join(STREAM)) if streamed else answered()

    llm = user(slow)
    create: Any = llm.async_openai().chat.completions.create
    task = asyncio.create_task(create(stream=streamed, **ASK))
    assert await asyncio.to_thread(asked.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    going.set()
    assert await outcomes(llm) == [outcome]


async def test_options_need_no_library() -> None:
    langchain, llama_index = user().langchain_options(), user().llama_index_options()
    assert langchain["api_key"] == llama_index["api_key"] == "supa-llm"
    assert langchain["base_url"] == llama_index["api_base"] == dropin.BASE_URL
    assert langchain["max_retries"] == llama_index["max_retries"] == 0
