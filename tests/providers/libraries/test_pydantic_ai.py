"""pydantic-ai on the user's keys."""

from __future__ import annotations

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.providers.libraries.conftest import MOCK_CITY, City
from tests.support import Emulator
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

QUESTION = "What is the weather in Paris?"


def model(llm: MemoryUser | AsyncMemoryUser) -> OpenAIChatModel:
    return OpenAIChatModel("auto", provider=OpenAIProvider(openai_client=llm.async_openai(task="code")))


def test_synchronous_runs(llm: MemoryUser, emulator: Emulator) -> None:
    emulator.script({"type": "reply", "text": "It is warm.", "times": 2})
    assert Agent(model(llm)).run_sync(QUESTION).output == "It is warm."
    assert "".join(Agent(model(llm)).run_stream_sync(QUESTION).stream_text(delta=True)) == "It is warm."
    assert Agent(model(llm), output_type=City).run_sync(QUESTION).output == MOCK_CITY
    assert [it.key_source for it in llm.account.attempts] == ["user"] * 3


async def test_tools_and_a_stream(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    called: list[str] = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return f"21 degrees in {city}"

    agent = Agent(model(any_llm), tools=[get_weather])
    async with agent.run_stream(QUESTION) as streamed:
        text = "".join([piece async for piece in streamed.stream_text(delta=True)])
    assert called == ["mock-city"]
    assert text
    assert [it.outcome for it in any_llm.account.attempts] == ["succeeded", "succeeded"]


async def test_typed_output(any_llm: MemoryUser | AsyncMemoryUser, emulator: Emulator) -> None:
    emulator.fail(401, path="/v1/*")
    paris = {"name": "Paris", "people": 2}
    emulator.script({"type": "reply", "tool_calls": [{"name": "final_result", "arguments": paris}]})
    result = await Agent(model(any_llm), output_type=City).run(QUESTION)
    assert result.output == City(name="Paris", people=2)
    assert [(it.provider, it.error_class) for it in any_llm.account.attempts] == [
        ("openai", "auth"),
        ("groq", None),
    ]
    async with Agent(model(any_llm), output_type=NativeOutput(City)).run_stream(QUESTION) as streamed:
        assert await streamed.get_output() == MOCK_CITY
