"""The official openai client, and a library that uses it, run on the engine against an emulator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from supa_llm.client import dropin
from supa_llm.engine import AsyncEngine, Engine, Timeouts
from tests.providers.conftest import CATALOG, Providers
from tests.unit.engine_support import NO_RETRIES, AsyncMemoryAccount, Both, MemoryAccount

ASK: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
}
SCHEMALESS = [
    name for name in CATALOG if name != "anthropic"
]  # the emulator supports only the older parameter


class City(BaseModel):
    name: str
    people: int


def client(account: MemoryAccount) -> OpenAI:
    return dropin.openai(lambda team: account, Engine(), timeouts=Timeouts(), retries=NO_RETRIES)


def async_client(account: AsyncMemoryAccount) -> AsyncOpenAI:
    return dropin.async_openai(lambda team: account, AsyncEngine(), timeouts=Timeouts(), retries=NO_RETRIES)


@pytest.mark.parametrize("provider", SCHEMALESS)
async def test_structured_outputs(to: Providers, provider: str) -> None:
    completions = client(MemoryAccount((to(provider),))).chat.completions
    assert completions.parse(response_format=City, **ASK).choices[0].message.parsed == City(
        name="mock-name", people=1
    )
    asynchronous = async_client(AsyncMemoryAccount((to(provider),))).chat.completions
    parsed = await asynchronous.parse(response_format=City, **ASK)
    assert parsed.choices[0].message.parsed == City(name="mock-name", people=1)


@pytest.mark.parametrize("provider", CATALOG)
async def test_the_streaming_helper(to: Providers, provider: str) -> None:
    to.emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    with client(MemoryAccount((to(provider),))).chat.completions.stream(**ASK) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        assert "".join(deltas) == "It is warm."
        assert stream.get_final_completion().choices[0].finish_reason == "stop"
    asynchronous = async_client(AsyncMemoryAccount((to(provider),))).chat.completions
    async with asynchronous.stream(stream_options={"include_usage": True}, **ASK) as other:
        deltas = [event.delta async for event in other if event.type == "content.delta"]
        assert "".join(deltas) == "It is warm."
        final = await other.get_final_completion()
    assert final.usage is not None
    assert final.usage.completion_tokens > 0


@pytest.mark.parametrize("provider", CATALOG)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_tool_loop(both: Both, to: Providers, provider: str, streamed: bool) -> None:
    tool: Any = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    completions = client(MemoryAccount((to(provider),))).chat.completions
    if streamed:
        with completions.stream(tools=[tool], **ASK) as stream:
            message: Any = stream.get_final_completion().choices[0].message
    else:
        message = completions.create(tools=[tool], **ASK).choices[0].message
    (call,) = message.tool_calls
    assert call.function.arguments == '{"city": "mock-city"}'
    messages = [*ASK["messages"], message, {"role": "tool", "tool_call_id": call.id, "content": "21"}]
    to.emulator.script({"type": "reply", "text": "It is warm."})
    done = completions.create(model="auto", messages=messages, tools=[tool])
    assert done.choices[0].message.content == "It is warm."


QUESTION: Any = {"model": "auto", "input": "What is the weather in Paris?"}
FUNCTION: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.mark.parametrize("provider", CATALOG)
async def test_responses(to: Providers, provider: str) -> None:
    to.emulator.script({"type": "reply", "text": "It is warm.", "times": 4})
    account = MemoryAccount((to(provider),))
    responses = client(account).responses
    response = responses.create(instructions="Be brief.", **QUESTION)
    assert (response.output_text, response.status) == ("It is warm.", "completed")
    with responses.stream(**QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "It is warm."
    other = AsyncMemoryAccount((to(provider),))
    assert (await async_client(other).responses.create(**QUESTION)).output_text == "It is warm."
    async with async_client(other).responses.stream(**QUESTION) as streamed:
        assert (await streamed.get_final_response()).output_text == "It is warm."
    native = [request["path"] == "/v1/responses" for request in to.emulator.requests()]
    assert native == [provider == "openai"] * 4
    for attempt in (*account.attempts, *other.attempts):
        assert attempt.outcome == "succeeded"
        assert attempt.usage.input_tokens
        assert attempt.usage.output_tokens
    assert final.usage
    assert final.usage.output_tokens == account.attempts[1].usage.output_tokens


@pytest.mark.parametrize("provider", SCHEMALESS)
async def test_structured_outputs_of_responses(to: Providers, provider: str) -> None:
    parsed = client(MemoryAccount((to(provider),))).responses.parse(text_format=City, **QUESTION)
    assert parsed.output_parsed == City(name="mock-name", people=1)


@pytest.mark.parametrize("provider", CATALOG)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_a_tool_loop_of_responses(to: Providers, provider: str, streamed: bool) -> None:
    responses = client(MemoryAccount((to(provider),))).responses
    if streamed:
        with responses.stream(tools=[FUNCTION], **QUESTION) as stream:
            first: Any = stream.get_final_response()
    else:
        first = responses.create(tools=[FUNCTION], **QUESTION)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "mock-city"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21"}
    items = [{"role": "user", "content": QUESTION["input"]}, *first.output, result]
    to.emulator.script({"type": "reply", "text": "It is warm."})
    done = responses.create(model="auto", input=items, tools=[FUNCTION])
    assert done.output_text == "It is warm."


@pytest.mark.parametrize(("first", "then"), [("openai", "google"), ("google", "openai")])
async def test_a_conversation_continues_with_another_provider(to: Providers, first: str, then: str) -> None:
    begun = client(MemoryAccount((to(first),))).responses.create(tools=[FUNCTION], **QUESTION)
    (call,) = [item for item in begun.output if item.type == "function_call"]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21"}
    items: Any = [{"role": "user", "content": QUESTION["input"]}, *begun.output, result]
    to.emulator.script({"type": "reply", "text": "It is warm."})
    responses = client(MemoryAccount((to(then),))).responses
    done = responses.create(model="auto", input=items, tools=[FUNCTION])
    assert done.output_text == "It is warm."


async def test_responses_fall_back_unnoticed(to: Providers) -> None:
    to.emulator.fail(429, path="/v1/*", times=2)
    account = MemoryAccount((to("openai"), to("anthropic")))
    assert client(account).responses.create(**QUESTION).output_text
    with client(account).responses.stream(**QUESTION) as stream:
        assert stream.get_final_response().output_text
    assert [it.provider for it in account.attempts] == ["openai", "anthropic"] * 2


async def test_embeddings(to: Providers) -> None:
    account = AsyncMemoryAccount((to("openai"),))
    answer = await async_client(account).embeddings.create(model="auto", input="a text")
    assert len(answer.data[0].embedding) == 1536


async def test_it_falls_back_unnoticed(to: Providers) -> None:
    to.emulator.fail(401, path="/v1/*", times=2)
    account = MemoryAccount((to("openai"), to("groq")))
    assert client(account).chat.completions.create(**ASK).choices[0].message.content
    asynchronous = AsyncMemoryAccount((to("openai"), to("groq")))
    stream = await async_client(asynchronous).chat.completions.create(stream=True, **ASK)
    assert [chunk async for chunk in stream]
    for attempts in (account.attempts, asynchronous.attempts):
        assert [it.error_class for it in attempts] == ["auth", None]


@pytest.mark.parametrize("provider", CATALOG)
async def test_an_agent_library_runs_on_responses(to: Providers, provider: str) -> None:
    ai = pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    openai_client = async_client(AsyncMemoryAccount((to(provider),)))
    model = models.OpenAIResponsesModel(
        "auto", provider=providers.OpenAIProvider(openai_client=openai_client)
    )
    called: list[str] = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return "21 degrees"

    agent = ai.Agent(model, tools=[get_weather], instructions="Be brief.")
    assert (await agent.run("What is the weather in Paris?")).output
    async with agent.run_stream("What is the weather in Paris?") as streamed:
        assert [piece async for piece in streamed.stream_text(delta=True)]
    assert called == ["mock-city", "mock-city"]
    paris: Any = {"name": "Paris", "people": 2}
    to.emulator.script({"type": "reply", "tool_calls": [{"name": "final_result", "arguments": paris}]})
    assert (await ai.Agent(model, output_type=City).run("Which city?")).output == City(**paris)
