"""Anthropic's Messages API: requests, answers, streams, usage and errors."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supa_llm.values.receipts import Usage
from supa_llm.values.routes import Candidate
from supa_llm.wire.anthropic import AnthropicDecoder, AnthropicWire, closed
from supa_llm.wire.assemble import Assembler
from supa_llm.wire.base import FaultError, UnsupportedError
from supa_llm.wire.usage import read_usage

WIRE = AnthropicWire()
USER = [{"role": "user", "content": "Hi"}]
HI = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "does f", "parameters": {"type": "object", "properties": {}}},
}


def candidate(model: str = "claude-sonnet-5") -> Candidate:
    base = "https://api.anthropic.test"
    return Candidate("anthropic", model, "", "user", None, None, "anthropic", base, "x-api-key", "")


def sent(model: str = "claude-sonnet-5", **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        WIRE.request("chat", {"messages": USER, **body}, candidate(model)).content
    )
    return made


def test_a_plain_request() -> None:
    request = WIRE.request("chat", {"messages": USER}, candidate())
    assert request.url == "https://api.anthropic.test/v1/messages"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(request.content) == {"model": "claude-sonnet-5", "max_tokens": 16_384, "messages": [HI]}


def test_a_conversation_with_everything() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    broken = {"id": "t2", "type": "function", "function": {"name": "f", "arguments": '{"x'}}
    made = sent(
        messages=[
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                ],
            },
            {"role": "assistant", "content": "Sure", "tool_calls": [call, broken]},
            {"role": "tool", "tool_call_id": "t1", "content": "one"},
            {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "two"}]},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "And?"},
        ],
    )
    assert made["system"] == "Be brief.\n\nBe kind."
    assert made["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Sure"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {"arguments": '{"x'}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
    ],
)
def test_tools(asked: dict[str, Any], choice: dict[str, Any] | None) -> None:
    made = sent(tools=[TOOL], **asked)
    schema = {"type": "object", "properties": {}}
    assert made["tools"] == [{"name": "f", "description": "does f", "input_schema": schema}]
    assert made.get("tool_choice") == choice


def test_each_generation_gets_only_parameters_that_it_supports() -> None:
    wishes: dict[str, Any] = {"temperature": 1.5, "top_p": 0.5, "reasoning_effort": "minimal", "seed": 1}
    older = [
        "claude-3-5-haiku-20241022", "claude-sonnet-4-20250514", "claude-opus-4-1-20250805",
        "claude-haiku-4-5", "claude-opus-4-6",
    ]  # fmt: skip
    for model in older:
        made = sent(model, **wishes)
        assert made["temperature"] == 1
        assert {"top_p", "output_config", "seed"}.isdisjoint(made)
        assert made["max_tokens"] == 8_192
    for model in ("claude-opus-4-7", "claude-sonnet-5", "claude-fable-5-2"):
        made = sent(model, **wishes)
        assert made["output_config"] == {"effort": "low"}
        assert {"temperature", "top_p"}.isdisjoint(made)


def test_other_parameters() -> None:
    made = sent(stop="END", max_completion_tokens=5, stream=True, user="u1", n=1, logprobs=False)
    assert made["stop_sequences"] == ["END"]
    assert made["max_tokens"] == 5
    assert made["stream"] is True
    assert made["metadata"] == {"user_id": "u1"}
    assert set(made) == {"model", "messages", "max_tokens", "stop_sequences", "stream", "metadata"}


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"logprobs": True},
        {"logit_bias": {"1": 1}},
        {"modalities": ["text", "audio"]},
        {"web_search_options": {}},
        {"tools": [{"type": "custom", "custom": {}}]},
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ],
)
def test_a_request_that_the_format_cannot_express_skips_the_candidate(body: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(**body)


def test_there_are_no_embeddings() -> None:
    with pytest.raises(UnsupportedError):
        WIRE.request("embeddings", {"input": "x"}, candidate())


def test_json_answers() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    made = sent(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    wanted = {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
    assert made["output_config"] == {"format": wanted}
    assert "JSON object" in sent(response_format={"type": "json_object"})["system"]
    assert "output_config" not in sent(response_format={"type": "text"})


def test_schemas_are_closed_and_describe_their_constraints() -> None:
    assert closed(
        {
            "type": "object",
            "properties": {
                "default": {"type": "string", "minLength": 2, "description": "A name", "default": "x"},
                "many": {"type": "array", "items": {"$ref": "#/$defs/It", "title": "t"}, "minItems": 3},
                "one": {"oneOf": [{"type": "null"}, {"enum": [{"minimum": 1}]}]},
                "when": {"type": "string", "format": "date"},
                "what": {"type": "string", "format": "binary"},
            },
            "$defs": {"It": {"type": ["object", "null"], "properties": {}}},
        }
    ) == {
        "type": "object",
        "properties": {
            "default": {"type": "string", "description": 'A name (minLength: 2, default: "x")'},
            "many": {"type": "array", "items": {"$ref": "#/$defs/It"}, "description": "(minItems: 3)"},
            "one": {"anyOf": [{"type": "null"}, {"enum": [{"minimum": 1}]}]},
            "when": {"type": "string", "format": "date"},
            "what": {"type": "string", "description": '(format: "binary")'},
        },
        "$defs": {"It": {"type": ["object", "null"], "properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
    }


ANSWER = {
    "id": "msg_1",
    "type": "message",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "He"},
        {"type": "text", "text": "llo"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    },
}


def test_an_answer() -> None:
    answer = WIRE.answer("chat", ANSWER, candidate())
    assert answer["choices"] == [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Hello",
                "refusal": None,
                "reasoning_content": "hm",
                "thinking_blocks": [
                    {"index": 0, "position": 0, "type": "thinking", "thinking": "hm", "signature": ""}
                ],
                "tool_calls": [
                    {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
                ],
            },
        }
    ]
    assert read_usage(answer["usage"]) == Usage(125, 100, 9, 4, cache_write_tokens=20)
    assert "service_tier" not in answer


def test_an_answer_has_its_service_tier_where_openai_puts_it() -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, "service_tier": "priority"}
    assert WIRE.answer("chat", {**ANSWER, "usage": usage}, candidate())["service_tier"] == "priority"


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_finish_reasons(stop_reason: str, finish_reason: str) -> None:
    answer = WIRE.answer("chat", {**ANSWER, "stop_reason": stop_reason}, candidate())
    assert answer["choices"][0]["finish_reason"] == finish_reason
    assert bool(answer["choices"][0]["message"]["refusal"]) == (stop_reason == "refusal")


def event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\r\ndata: {json.dumps({'type': kind, **data})}\r\n\r\n".encode()


def block(index: int, delta: dict[str, Any]) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


START = event(
    "message_start",
    message={
        "id": "m",
        "model": "c",
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 1},
    },
)
STREAM = b"".join(
    [
        START,
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        block(0, {"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        block(1, {"type": "text_delta", "text": "Héllo"}),
        event("content_block_stop", index=1),
        event(
            "content_block_start",
            index=2,
            content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}},
        ),
        block(2, {"type": "input_json_delta", "partial_json": ""}),
        block(2, {"type": "input_json_delta", "partial_json": '{"x":'}),
        block(2, {"type": "input_json_delta", "partial_json": "1}"}),
        event("content_block_stop", index=2),
        event(
            "content_block_start",
            index=3,
            content_block={"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ),
        event("content_block_stop", index=3),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 30}),
        event("message_stop"),
    ]
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_a_stream_gives_the_same_answer_however_it_is_split(cuts: list[int]) -> None:
    decoder, whole = AnthropicDecoder(), Assembler()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        for made in decoder.feed(STREAM[start:end]):
            whole.add(made)
    assert decoder.finished
    assert read_usage(decoder.usage) == Usage(10, 3, 30, None)
    choice = whole.completion["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Héllo"
    assert [(it["id"], it["function"]) for it in choice["message"]["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_input_tokens_are_known_before_the_stream_ends() -> None:
    decoder = AnthropicDecoder()
    decoder.feed(START)
    assert read_usage(decoder.usage).input_tokens == 10
    assert not decoder.finished


def test_a_streamed_refusal() -> None:
    decoder, whole = AnthropicDecoder(), Assembler()
    details = {"type": "refusal", "explanation": "No."}
    delta = {"stop_reason": "refusal", "stop_details": details}
    for made in decoder.feed(START + event("message_delta", delta=delta, usage={"output_tokens": 2})):
        whole.add(made)
    assert whole.completion["choices"][0]["finish_reason"] == "content_filter"
    assert whole.completion["choices"][0]["message"]["refusal"] == "No."


@pytest.mark.parametrize(
    ("status", "kind", "message", "error_class"),
    [
        (401, "authentication_error", "invalid x-api-key", "auth"),
        (403, "permission_error", "", "forbidden"),
        (404, "not_found_error", "model: x", "not_found"),
        (429, "rate_limit_error", "", "rate_limited"),
        (400, "invalid_request_error", "messages: wrong", "bad_request"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", "out_of_credit"),
        (413, "request_too_large", "", "context_too_long"),
        (529, "overloaded_error", "", "server_error"),
    ],
)
def test_errors_are_classified(status: int, kind: str, message: str, error_class: str) -> None:
    payload = {"type": "error", "error": {"type": kind, "message": message}}
    assert WIRE.fault(status, payload).error_class == error_class
    with pytest.raises(FaultError) as caught:
        AnthropicDecoder().feed(event("error", error=payload["error"]))
    assert caught.value.error_class == error_class


EPHEMERAL = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "Hi"}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
PNG_BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


def test_blank_texts_are_not_sent() -> None:
    made = sent(
        messages=[
            {"role": "system", "content": " "},
            {"role": "user", "content": [{"type": "text", "text": "\n"}, TEXT]},
            {"role": "assistant", "content": "  "},
            {"role": "user", "content": "You?"},
            {"role": "assistant", "content": "Well, \n"},
        ]
    )
    assert "system" not in made
    assert made["messages"] == [
        {"role": "user", "content": [TEXT, {"type": "text", "text": "You?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Well,"}]},
    ]
    with pytest.raises(UnsupportedError, match="blank"):
        sent(messages=[{"role": "user", "content": " "}])


def test_a_blank_stop_sequence_cannot_be_expressed() -> None:
    assert sent(stop=["END", ""])["stop_sequences"] == ["END"]
    for nothing in ("", [""], []):
        assert "stop_sequences" not in sent(stop=nothing)
    with pytest.raises(UnsupportedError, match="blank stop"):
        sent(stop=["END", "\n\n"])


def test_empty_tools_are_not_sent() -> None:
    made = sent(tools=[], tool_choice="auto", parallel_tool_calls=False)
    assert set(made) == {"model", "max_tokens", "messages"}


def test_tool_results_may_have_images() -> None:
    def result(content: Any, **more: Any) -> Any:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        answer = {"role": "assistant", "content": None, "tool_calls": [call]}
        tool = {"role": "tool", "tool_call_id": "c", "content": content, **more}
        return sent(messages=[*USER, answer, tool])["messages"][-1]["content"][0]

    assert result([TEXT, PNG])["content"] == [TEXT, PNG_BLOCK]
    assert result([TEXT, TEXT])["content"] == "HiHi"
    assert result(" ")["content"] == ""
    assert result([TEXT, {**PNG, "cache_control": EPHEMERAL}]) == {
        "type": "tool_result",
        "tool_use_id": "c",
        "content": [TEXT, PNG_BLOCK],
        "cache_control": EPHEMERAL,
    }
    assert result("Hi", cache_control=EPHEMERAL)["cache_control"] == EPHEMERAL


def test_hints_about_the_cache_are_kept() -> None:
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": EPHEMERAL}
    made = sent(
        cache_control=EPHEMERAL,
        messages=[
            {"role": "system", "content": [TEXT, {**TEXT, "cache_control": EPHEMERAL}]},
            {"role": "user", "content": [{**PNG, "cache_control": EPHEMERAL}, TEXT]},
            {"role": "assistant", "content": "Hi", "cache_control": EPHEMERAL},
            *USER,
        ],
        tools=[tool],
        response_format={"type": "json_object"},
    )
    assert made["cache_control"] == EPHEMERAL
    assert made["system"][:2] == [TEXT, {**TEXT, "cache_control": EPHEMERAL}]
    assert "JSON" in made["system"][2]["text"]
    assert made["messages"][0]["content"] == [{**PNG_BLOCK, "cache_control": EPHEMERAL}, TEXT]
    assert made["messages"][1]["content"] == [{**TEXT, "cache_control": EPHEMERAL}]
    assert made["tools"][0]["cache_control"] == EPHEMERAL


def test_a_system_prompt_has_only_text() -> None:
    with pytest.raises(UnsupportedError, match="system prompts"):
        sent(messages=[{"role": "system", "content": [PNG]}, *USER])
