"""LlamaIndex's OpenAILike on the user's keys."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.providers.libraries.conftest import MOCK_CITY, City
from tests.support import Emulator
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

pytest.importorskip("llama_index.llms.openai_like", reason="run by make test-libraries")

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai_like import OpenAILike

QUESTION = [ChatMessage(role="user", content="What is the weather in Paris?")]


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees in {city}"


def model(llm: MemoryUser | AsyncMemoryUser, **more: Any) -> OpenAILike:
    return OpenAILike(
        model="auto",
        is_chat_model=True,
        is_function_calling_model=True,
        **llm.llama_index_options(task="code"),
        **more,
    )


def test_a_chat_and_a_stream(llm: MemoryUser, emulator: Emulator) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 3})
    assert model(llm).chat(QUESTION).message.content == "It is warm."
    assert model(llm).complete("Hello").text == "It is warm."
    pieces = [chunk.delta for chunk in model(llm).stream_chat(QUESTION)]
    assert "".join(filter(None, pieces)) == "It is warm."
    assert [it.key_source for it in llm.account.attempts] == ["user"] * 3
    assert {task for task, _, _ in llm.account.asked} == {"code"}


async def test_an_asynchronous_chat_and_stream(
    any_llm: MemoryUser | AsyncMemoryUser, emulator: Emulator
) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    assert (await model(any_llm).achat(QUESTION)).message.content == "It is warm."
    stream = await model(any_llm).astream_chat(QUESTION)
    assert "".join([chunk.delta or "" async for chunk in stream]) == "It is warm."
    assert [it.key_source for it in any_llm.account.attempts] == ["user", "user"]


async def test_tools(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    tools = [FunctionTool.from_defaults(get_weather)]
    found = await model(any_llm).achat_with_tools(tools, chat_history=QUESTION)
    calls = model(any_llm).get_tool_calls_from_response(found)
    stream = await model(any_llm).astream_chat_with_tools(tools, chat_history=QUESTION)
    *_, last = [chunk async for chunk in stream]
    calls += model(any_llm).get_tool_calls_from_response(last)
    if isinstance(any_llm, MemoryUser):
        found = model(any_llm).chat_with_tools(tools, chat_history=QUESTION)
        calls += model(any_llm).get_tool_calls_from_response(found)
    assert {(call.tool_name, str(call.tool_kwargs)) for call in calls} == {
        ("get_weather", "{'city': 'mock-city'}")
    }
    assert len(calls) == len(any_llm.account.attempts)


@pytest.mark.parametrize("by_schema", [True, False], ids=["json_schema", "function_calling"])
async def test_structured_output(any_llm: MemoryUser | AsyncMemoryUser, by_schema: bool) -> None:
    structured = model(any_llm, should_use_structured_outputs=by_schema).as_structured_llm(City)
    assert (await structured.achat(QUESTION)).raw == MOCK_CITY
    stream = await structured.astream_chat(QUESTION)
    assert [chunk.raw async for chunk in stream][-1] == MOCK_CITY
    if isinstance(any_llm, MemoryUser):
        assert structured.chat(QUESTION).raw == MOCK_CITY


def test_a_model_that_llama_index_knows(llm: MemoryUser) -> None:
    assert OpenAI(model="gpt-4o-mini", **llm.llama_index_options()).chat(QUESTION).message.content
    assert llm.account.asked == [(None, "gpt-4o-mini", ("chat",))]


def test_a_synchronous_call_of_an_asynchronous_client_is_refused(async_llm: AsyncMemoryUser) -> None:
    with pytest.raises(openai.InternalServerError, match="AsyncSupaLLM cannot serve"):
        model(async_llm).chat(QUESTION)
    assert async_llm.account.attempts == []
