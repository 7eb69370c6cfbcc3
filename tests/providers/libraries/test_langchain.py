"""LangChain's ChatOpenAI and OpenAIEmbeddings on the user's keys."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from supa_llm.values.receipts import Receipt
from tests.providers.libraries.conftest import MOCK_CITY, City
from tests.support import Emulator
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

QUESTION = "What is the weather in Paris?"


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees in {city}"


def test_a_chat_and_a_stream(llm: MemoryUser, emulator: Emulator) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    receipts: list[Receipt] = []
    options = llm.langchain_options(task="code", on_receipt=receipts.append)
    model = ChatOpenAI(model="auto", stream_usage=True, **options)
    assert model.invoke(QUESTION).content == "It is warm."
    chunks = list(model.stream(QUESTION))
    assert "".join(str(chunk.content) for chunk in chunks) == "It is warm."
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    assert any(chunk.usage_metadata for chunk in chunks)
    assert [it.answered_by for it in receipts] == llm.account.attempts
    assert [task for task, _, _ in llm.account.asked] == ["code", "code"]


async def test_without_the_options_a_call_leaves(llm: MemoryUser, strays: list[Any]) -> None:
    """The hazard that the fixture ``strays`` detects: LangChain makes the client that it is not given."""
    model = ChatOpenAI(model="auto", http_client=llm.langchain_options()["http_client"], max_retries=0)
    assert model.invoke(QUESTION).content
    with pytest.raises(openai.APIConnectionError):
        await model.ainvoke(QUESTION)
    assert strays.pop() == ("127.0.0.1", 9)


async def test_the_responses_api(any_llm: MemoryUser | AsyncMemoryUser, emulator: Emulator) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    model = ChatOpenAI(model="auto", use_responses_api=True, **any_llm.langchain_options())
    assert (await model.ainvoke(QUESTION)).text == "It is warm."
    assert "".join([chunk.text async for chunk in model.astream(QUESTION)]) == "It is warm."
    assert [it.key_source for it in any_llm.account.attempts] == ["user", "user"]


async def test_an_asynchronous_chat_and_stream(
    any_llm: MemoryUser | AsyncMemoryUser, emulator: Emulator
) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    model = ChatOpenAI(model="auto", **any_llm.langchain_options())
    assert (await model.ainvoke(QUESTION)).content == "It is warm."
    assert "".join([str(chunk.content) async for chunk in model.astream(QUESTION)]) == "It is warm."
    assert [it.key_source for it in any_llm.account.attempts] == ["user", "user"]


def test_tools(llm: MemoryUser, emulator: Emulator) -> None:
    model = ChatOpenAI(model="auto", **llm.langchain_options()).bind_tools([get_weather])
    asked = model.invoke(QUESTION)
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "mock-city"})
    emulator.script({"type": "reply", "text": "It is warm."})
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert model.invoke([HumanMessage(QUESTION), asked, result]).content == "It is warm."


async def test_streamed_tools(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    model = ChatOpenAI(model="auto", **any_llm.langchain_options()).bind_tools([get_weather])
    chunks = [chunk async for chunk in model.astream(QUESTION)]
    whole = sum(chunks[1:], start=chunks[0])
    assert [(it["name"], it["args"]) for it in whole.tool_calls] == [("get_weather", {"city": "mock-city"})]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output(any_llm: MemoryUser | AsyncMemoryUser, method: Any) -> None:
    model = ChatOpenAI(model="auto", **any_llm.langchain_options())
    structured = model.with_structured_output(City, method=method)
    assert await structured.ainvoke("Which city?") == MOCK_CITY
    assert [it async for it in structured.astream("Which city?")][-1] == MOCK_CITY
    if isinstance(any_llm, MemoryUser):
        assert structured.invoke("Which city?") == MOCK_CITY
        assert list(structured.stream("Which city?"))[-1] == MOCK_CITY


async def test_embeddings(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    embeddings = OpenAIEmbeddings(
        model="auto", check_embedding_ctx_length=False, **any_llm.langchain_options()
    )
    assert len(await embeddings.aembed_query("a text")) == 1536
    if isinstance(any_llm, MemoryUser):
        assert len(embeddings.embed_documents(["one", "two"])) == 2


async def test_a_failed_candidate_falls_back(
    any_llm: MemoryUser | AsyncMemoryUser, emulator: Emulator
) -> None:
    emulator.fail(401, path="/v1/*")
    model = ChatOpenAI(model="auto", **any_llm.langchain_options())
    assert (await model.ainvoke(QUESTION)).content
    assert [(it.provider, it.error_class) for it in any_llm.account.attempts] == [
        ("openai", "auth"),
        ("groq", None),
    ]


def test_a_synchronous_call_of_an_asynchronous_client_is_refused(async_llm: AsyncMemoryUser) -> None:
    model = ChatOpenAI(model="auto", **async_llm.langchain_options())
    with pytest.raises(openai.InternalServerError, match="Call the library's asynchronous method"):
        model.invoke(QUESTION)
    with pytest.raises(openai.InternalServerError, match="AsyncSupaLLM cannot serve"):
        list(model.stream(QUESTION))
    assert async_llm.account.attempts == []
