"""Responses on providers of chats: the request as a chat, and the chat's answer as a response."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from supa_llm.wire.base import Json, UnsupportedError
from supa_llm.wire.responses_as_chats import ResponseEvents, chat_of, response_of

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather",
    "parameters": {"type": "object"},
    "strict": True,
}
OTHER = {"type": "function", "name": "time", "parameters": None, "strict": None, "defer_loading": False}
CHAT_TOOL = {"type": "function", "function": {name: TOOL[name] for name in TOOL if name != "type"}}
CHAT_OTHER = {"type": "function", "function": {"name": "time"}}
SCHEMA = {"name": "city", "schema": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"a": 1}'}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}
NOTE = {"title": "A", "url": "https://a.test", "start_index": 0, "end_index": 2}


def called(call_id: str, **more: Any) -> Json:
    return {**CALL, "id": f"fc_{call_id}", "call_id": call_id, **more}


def chat_call(call_id: str) -> Json:
    return {**CHAT_CALL, "id": call_id}


def output(call_id: str, result: Any = "21") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def tool(call_id: str, content: Any = "21") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def says(role: str, *parts: Any, **more: Any) -> Json:
    return {"type": "message", "role": role, "content": list(parts), **more}


IMAGE = {
    "type": "input_image",
    "image_url": "data:image/png;base64,AA",
    "detail": "original",
    "file_id": None,
}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ("Hello", [{"role": "user", "content": "Hello"}]),
        ([{"role": "developer", "content": "Hi"}], [{"role": "developer", "content": "Hi"}]),
        (
            [says("user", {"type": "input_text", "text": "See"}, IMAGE)],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "See"},
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,AA", "detail": "high"},
                        },
                    ],
                }
            ],
        ),
        (
            [says("user", {"type": "input_file", "filename": "a.pdf", "file_data": "data:,x"})],
            [
                {
                    "role": "user",
                    "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,x"}}],
                }
            ],
        ),
        (
            [says("user", {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}})],
            [
                {
                    "role": "user",
                    "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}],
                }
            ],
        ),
        (
            [
                says("assistant", {"type": "output_text", "text": "I", "annotations": []}, id="msg_1"),
                says("assistant", {"type": "refusal", "refusal": "No."}, phase="final_answer"),
            ],
            [{"role": "assistant", "content": "I"}, {"role": "assistant", "content": "No."}],
        ),
        (
            [called("a"), called("b"), output("a"), output("b", [{"type": "input_text", "text": "7"}])],
            [
                {"role": "assistant", "content": None, "tool_calls": [chat_call("a"), chat_call("b")]},
                tool("a"),
                tool("b", "7"),
            ],
        ),
        (
            [called("a"), output("a"), called("b"), output("b")],
            [
                {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
                tool("a"),
                {"role": "assistant", "content": None, "tool_calls": [chat_call("b")]},
                tool("b"),
            ],
        ),
        (  # a chat needs the result directly after the call
            [
                says("assistant", {"type": "output_text", "text": "I look."}),
                called("a"),
                {"role": "user", "content": "Quick!"},
                output("a"),
            ],
            [
                {"role": "assistant", "content": "I look.", "tool_calls": [chat_call("a")]},
                tool("a"),
                {"role": "user", "content": "Quick!"},
            ],
        ),
        (
            [called("a"), {"role": "assistant", "content": "I look."}, output("a")],
            [{"role": "assistant", "content": "I look.", "tool_calls": [chat_call("a")]}, tool("a")],
        ),
        (
            [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xx"},
                {
                    "type": "reasoning",
                    "id": "rs_2",
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "Hm."}],
                },
                called("a", extra_content={"google": {"thought_signature": "s"}}),
            ],
            [
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "Hm.",
                    "tool_calls": [
                        {**chat_call("a"), "extra_content": {"google": {"thought_signature": "s"}}}
                    ],
                }
            ],
        ),
    ],
)
def test_the_items_of_a_conversation_are_messages(items: Any, messages: list[Json]) -> None:
    assert chat_of({"input": items})["messages"] == messages


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_output_tokens": 50}, {"max_completion_tokens": 50}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        (
            {"text": {"format": {"type": "json_schema", **SCHEMA}}},
            {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        ),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        (
            {"tools": [TOOL, OTHER], "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": [CHAT_TOOL, CHAT_OTHER], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}},
            {"tools": [CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "tools": [TOOL, OTHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "time"}],
                },
            },
            {"tools": [CHAT_OTHER], "tool_choice": "auto"},
        ),
        (
            {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 2},
            {"logprobs": True, "top_logprobs": 2},
        ),
        (
            {
                "store": True,
                "metadata": {"a": "b"},
                "truncation": "auto",
                "stream_options": {},
                "top_logprobs": 2,
            },
            {},
        ),
        (
            {"temperature": 0.5, "top_p": 0.9, "stream": True},
            {"temperature": 0.5, "top_p": 0.9, "stream": True},
        ),
        (
            {"service_tier": "flex", "prompt_cache_key": "k"},
            {"service_tier": "flex", "prompt_cache_key": "k"},
        ),
    ],
)
def test_parameters_of_a_chat(asked: Json, sent: Json) -> None:
    chat = chat_of({"input": "Hello", **asked})
    assert {name: value for name, value in chat.items() if name != "messages"} == sent


def test_instructions_come_first() -> None:
    chat = chat_of({"instructions": "Be brief.", "input": [{"role": "system", "content": "More."}]})
    assert [message["content"] for message in chat["messages"]] == ["Be brief.", "More."]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"tools": [{"type": "web_search"}]}, "'web_search' tools"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "'custom' tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "'file_search'"),
        ({"text": {"format": {"type": "grammar"}}}, "'grammar'"),
        ({"reasoning": {"mode": "pro"}}, "'pro'"),
        ({"context_management": [{"type": "compaction"}]}, "'context_management'"),
        ({"brand_new": 1}, "'brand_new'"),
        ({"input": [{"type": "computer_call", "call_id": "c"}]}, "'computer_call' items"),
        ({"input": [says("user", {"type": "input_image", "file_id": "f"})]}, "'input_image' only"),
        ({"input": [says("user", {"type": "input_file", "file_url": "https://a"})]}, "'input_file' only"),
        ({"input": [says("user", {"type": "input_video"})]}, "'input_video' parts"),
    ],
)
def test_what_chats_cannot_express_skips_the_candidate(asked: Json, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        chat_of({"input": "Hello", **asked})


@pytest.mark.parametrize(
    "items",
    [
        [{"role": "robot", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [{"text": "x"}]}],
        [output("unknown")],
        [{"type": "function_call", "name": "x"}],
        [{"type": "reasoning", "content": "x"}],
    ],
)
def test_an_invalid_item_is_the_callers(items: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        chat_of({"input": items})


def completion(*, finish: str = "stop", usage: Any = USAGE, **message: Any) -> Json:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **message},
        "finish_reason": finish,
    }
    return {"id": "c", "created": 7, "model": "m-1", "choices": [choice], "usage": usage}


def parsed(response: Json) -> Response:
    """The response as the openai package reads it, and strictly."""
    return TypeAdapter(Response).validate_python(response)


def test_an_answer_is_a_response() -> None:
    asked = {
        "input": "Hi",
        "instructions": "Be brief.",
        "tools": [TOOL],
        "metadata": {"a": "b"},
        "top_p": 0.5,
    }
    response = parsed(response_of(completion(content="Hello", service_tier="flex"), asked, "m"))
    assert (response.output_text, response.status, response.model) == ("Hello", "completed", "m-1")
    assert (response.created_at, response.model_dump()["store"], response.error) == (7, False, None)
    assert (response.instructions, response.metadata, response.top_p) == ("Be brief.", {"a": "b"}, 0.5)
    assert response.usage
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (
        9,
        5,
        14,
    )
    assert response.usage.input_tokens_details.cached_tokens == 4
    assert response.usage.output_tokens_details.reasoning_tokens == 3


def test_an_answer_without_usage_has_none() -> None:
    assert parsed(response_of(completion(content="Hello", usage=None), {}, "m")).usage is None


def test_reasoning_text_and_calls_are_items_in_their_order() -> None:
    made = completion(
        finish="tool_calls",
        content="I look.",
        reasoning_content="Hm.",
        tool_calls=[chat_call("a"), chat_call("b")],
    )
    response = parsed(response_of(made, {}, "m"))
    assert [item.type for item in response.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert [getattr(item, "call_id", None) for item in response.output] == [None, None, "a", "b"]
    assert {getattr(item, "status", None) for item in response.output} == {"completed"}
    assert len({item.id for item in response.output}) == 4
    again = chat_of({"input": [item.model_dump(exclude_unset=True) for item in response.output]})
    (message,) = again["messages"]
    assert message == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "Hm.",
        "tool_calls": [chat_call("a"), chat_call("b")],
    }


def test_signed_thoughts_return_with_the_conversation() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    made = completion(
        content="I look.",
        reasoning_content="Hm.",
        thinking_blocks=[{"index": at, **block} for at, block in enumerate(blocks)],
        extra_content={"google": {"thought_signature": "g"}},
        tool_calls=[chat_call("a")],
    )
    output = [item.model_dump(exclude_unset=True) for item in parsed(response_of(made, {}, "m")).output]
    # An agent's library rebuilds the items from the fields that it knows.
    output[0] = {name: output[0][name] for name in ("type", "id", "summary", "content", "encrypted_content")}
    (message,) = chat_of({"input": output})["messages"]
    kept = [
        {name: it for name, it in block.items() if name != "index"}
        for block in message.pop("thinking_blocks")
    ]
    assert kept == blocks
    assert message == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "Hm.",
        "extra_content": {"google": {"thought_signature": "g"}},
        "tool_calls": [chat_call("a")],
    }


@pytest.mark.parametrize("damaged", ["supa-llm:", "supa-llm:x", "supa-llm:eyJ0aGlua2luZ19ibG9ja3MiOjF9"])
def test_damaged_thoughts_are_the_callers(damaged: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        chat_of({"input": [{"type": "reasoning", "summary": [], "encrypted_content": damaged}]})


def test_thoughts_without_a_text_are_an_item_too() -> None:
    block = {"index": 0, "type": "redacted_thinking", "data": "d"}
    events = streamed({"thinking_blocks": [block]}, {"content": "Hi"})
    reasoning, message = events[-1].response.output
    assert (reasoning.content, message.content[0].text) == ([], "Hi")
    assert reasoning.encrypted_content.startswith("supa-llm:")
    done = [event for event in events if event.type == "response.output_item.done"]
    assert done[0].item.encrypted_content == reasoning.encrypted_content


def test_a_refusal_a_citation_and_logprobs() -> None:
    refused = parsed(response_of(completion(refusal="No."), {}, "m")).output[0]
    assert refused.type == "message"
    assert refused.content[0].model_dump() == {"type": "refusal", "refusal": "No."}
    made = completion(content="Hi", annotations=[{"type": "url_citation", "url_citation": NOTE}])
    token = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
    made["choices"][0]["logprobs"] = {"content": [token]}
    (message,) = parsed(response_of(made, {}, "m")).output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.annotations[0].model_dump() == {"type": "url_citation", **NOTE}
    assert part.logprobs
    assert part.logprobs[0].token == "Hi"


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_is_cut_is_incomplete(finish: str, reason: str) -> None:
    response = parsed(response_of(completion(content="Hel", finish=finish), {}, "m"))
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == reason
    (message,) = response.output
    assert message.type == "message"
    assert message.status == "incomplete"


def streamed(*deltas: Json, finish: str = "stop", body: Json | None = None) -> list[Any]:
    """The events of a stream with these deltas, which the openai package has accepted."""
    events = ResponseEvents(body or {}, "m")
    chunks: list[Json] = [
        {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": USAGE})
    made = [event for chunk in chunks for event in events.add(chunk)] + events.end()
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    return [adapter.validate_python(event) for event in made]


def kinds(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


def test_the_events_of_a_text() -> None:
    events = streamed({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"})
    assert kinds(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[0].response.status == "in_progress"
    assert events[0].response.output == []
    assert events[2].item.content == []  # not the text that came later
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["Hel", "lo"]
    response = events[-1].response
    assert (response.output_text, response.status, response.usage.output_tokens) == ("Hello", "completed", 5)
    assert response.id == events[0].response.id


def test_the_events_of_reasoning_and_a_refusal() -> None:
    events = streamed(
        {"reasoning_content": "H"}, {"reasoning_content": "m"}, {"content": "Hi"}, {"refusal": "No."}
    )
    assert kinds(events)[2:-1] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "content_part.added", "refusal.delta", "refusal.done", "content_part.done",
        "output_item.done",
    ]  # fmt: skip
    assert [getattr(event, "output_index", None) for event in events[2:-1]] == [0] * 7 + [1] * 10
    assert [event.content_index for event in events if event.type == "response.refusal.delta"] == [1]
    reasoning, message = events[-1].response.output
    assert (reasoning.content[0].text, len(message.content)) == ("Hm", 2)


def test_the_events_of_calls_whose_fragments_alternate() -> None:
    def part(index: int, arguments: str, name: str | None = None, **more: Any) -> Json:
        function = {"name": name, "arguments": arguments}
        return {"tool_calls": [{"index": index, "function": function, **more}]}

    events = streamed(
        {"content": "I look."},
        part(0, "", id="a", name="weather"),
        part(0, '{"x"'),
        part(1, "{", id="b", name="time", extra_content={"google": {}}),
        part(0, ": 1}"),
        part(1, "}"),
        finish="tool_calls",
    )  # fmt: skip
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert [(event.output_index, event.delta) for event in deltas] == [
        (1, '{"x"'),
        (2, "{"),
        (1, ": 1}"),
        (2, "}"),
    ]
    _, one, two = events[-1].response.output
    assert (one.name, one.call_id, one.arguments) == ("weather", "a", '{"x": 1}')
    assert (two.name, two.call_id, two.arguments, two.extra_content) == ("time", "b", "{}", {"google": {}})


def test_the_events_of_an_empty_answer() -> None:
    assert kinds(streamed({"content": ""})) == ["created", "in_progress", "completed"]


def test_the_events_of_a_cut_answer() -> None:
    events = streamed({"content": "Hel"}, finish="length")
    assert kinds(events)[-1] == "incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
