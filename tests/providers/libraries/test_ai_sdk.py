"""The requests of Vercel's AI SDK, through the transport of the openai client."""

from __future__ import annotations

import json
from typing import Any

import httpx

from supa_llm.client.dropin import BASE_URL
from tests.providers.libraries.conftest import MOCK_CITY, City
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

#: What ``streamText`` of ai 6.0.326 sends through @ai-sdk/openai-compatible 2.0.92 for ``Output.object``.
BODY: dict[str, Any] = {
    "model": "auto",
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "schema": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
                "required": ["name", "people"],
                "additionalProperties": False,
            },
            "strict": True,
            "name": "response",
        },
    },
    "messages": [{"role": "user", "content": "Which city?"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
#: What it adds for a tool.
TOOLS: dict[str, Any] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather of a city",
                "parameters": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ],
    "tool_choice": "auto",
}


def events(response: httpx.Response) -> list[Any]:
    """The chunks of a stream, which must end with ``[DONE]``."""
    assert response.headers["content-type"] == "text/event-stream"
    *data, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert done == "[DONE]"
    return [json.loads(line) for line in data]


async def streamed(llm: MemoryUser | AsyncMemoryUser, **more: Any) -> list[Any]:
    client = llm.langchain_options()["http_async_client"]
    return events(await client.post(f"{BASE_URL}/chat/completions", json={**BODY, **more}))


async def test_structured_output(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    chunks = await streamed(any_llm)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert City.model_validate_json(text) == MOCK_CITY
    assert [it["finish_reason"] for chunk in chunks for it in chunk["choices"]][-1] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_tools(any_llm: MemoryUser | AsyncMemoryUser) -> None:
    chunks = await streamed(any_llm, **TOOLS)
    calls = [
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls") or ()
    ]
    assert calls[0]["function"]["name"] == "weather"
    assert calls[0]["id"]
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)
    assert json.loads(arguments) == {"city": "mock-city"}
