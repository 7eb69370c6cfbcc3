"""Google's Gemini API: requests, answers, streams, embeddings, usage and errors."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supa_llm.values.receipts import Usage
from supa_llm.values.routes import Candidate
from supa_llm.wire.assemble import Assembler
from supa_llm.wire.base import FaultError, UnsupportedError
from supa_llm.wire.google import GoogleDecoder, GoogleWire
from supa_llm.wire.usage import read_usage

WIRE = GoogleWire()
USER = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "does f", "parameters": PARAMETERS}}


def candidate(model: str = "gemini-3-flash") -> Candidate:
    return Candidate(
        "google", model, "", "user", None, None, "google", "https://g.test", "x-goog-api-key", ""
    )


def sent(model: str = "gemini-3-flash", **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        WIRE.request("chat", {"messages": USER, **body}, candidate(model)).content
    )
    return made


def test_requests_go_to_the_methods_url() -> None:
    def url(model: str, **body: Any) -> str:
        return WIRE.request("chat", {"messages": USER, **body}, candidate(model)).url

    assert url("gemini-3-flash") == "https://g.test/v1beta/models/gemini-3-flash:generateContent"
    assert url("m", stream=True) == "https://g.test/v1beta/models/m:streamGenerateContent?alt=sse"
    # A model's name cannot change the path.
    assert url("../../x?y#z").startswith("https://g.test/v1beta/models/..%2F..%2Fx%3Fy%23z:")


def call(call_id: str, signature: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": call_id,
        "type": "function",
        "function": {"name": "f", "arguments": '{"x": 1}'},
    }
    return {**made, "extra_content": {"google": {"thought_signature": signature}}} if signature else made


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png?b=c"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [call("a", "SIG"), call("b")]},
    {"role": "tool", "tool_call_id": "a", "content": '{"ok": true}'},
    {"role": "tool", "tool_call_id": "b", "content": "21"},
    {"role": "assistant", "content": None, "tool_calls": [call("c")]},
    {"role": "tool", "tool_call_id": "c", "content": "fine"},
]


def test_a_conversation_with_everything() -> None:
    made = sent(messages=CONVERSATION)
    assert made["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    functions = {"name": "f", "args": {"x": 1}}
    assert made["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "Look"},
                {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a.png?b=c"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"functionCall": {**functions, "id": "a"}, "thoughtSignature": "SIG"},
                {"functionCall": {**functions, "id": "b"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"ok": True}, "id": "a"}},
                {"functionResponse": {"name": "f", "response": {"result": 21}, "id": "b"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {**functions, "id": "c"},
                    "thoughtSignature": "skip_thought_signature_validator",
                },
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "f", "response": {"result": "fine"}, "id": "c"}}],
        },
    ]


def test_gemini_2_gets_no_signatures() -> None:
    assert "thoughtSignature" not in json.dumps(sent("gemini-2.5-pro", messages=CONVERSATION))


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", None),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tools(choice: Any, config: dict[str, Any] | None) -> None:
    made = sent(tools=[TOOL], tool_choice=choice)
    declaration = {"name": "f", "description": "does f", "parametersJsonSchema": PARAMETERS}
    assert made["tools"] == [{"functionDeclarations": [declaration]}]
    assert made.get("toolConfig") == (config and {"functionCallingConfig": config})


def test_parameters() -> None:
    made = sent(
        temperature=0.5, top_p=0.9, seed=3, max_completion_tokens=7, stop=["a"], presence_penalty=1,
        frequency_penalty=1, reasoning_effort="minimal", stream=True,
        stream_options={"include_usage": True}, user="u",
    )  # fmt: skip
    assert made["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "seed": 3,
        "maxOutputTokens": 7,
        "stopSequences": ["a"],
        "presencePenalty": 1,
        "frequencyPenalty": 1,
        "thinkingConfig": {"thinkingLevel": "low"},
    }
    older = sent("gemini-2.5-flash", reasoning_effort="none")
    assert older["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}


def test_json_answers() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}
    made = sent(response_format=wanted, tools=[TOOL])
    expected = {"responseMimeType": "application/json", "responseJsonSchema": PARAMETERS}
    assert made["generationConfig"] == expected
    with pytest.raises(UnsupportedError):
        sent("gemini-2.5-pro", response_format=wanted, tools=[TOOL])
    plain = sent(response_format={"type": "json_object"})
    assert plain["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize("body", [{"n": 2}, {"logprobs": True}, {"tools": [{"type": "custom"}]}])
def test_a_request_that_the_format_cannot_express_skips_the_candidate(body: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        sent(**body)


TOKENS = {
    "promptTokenCount": 10,
    "toolUsePromptTokenCount": 2,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 20,
    "totalTokenCount": 37,
}
FUNCTION_CALL = {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "SIG"}


def answered(parts: list[dict[str, Any]], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    first: dict[str, Any] = {"content": {"role": "model", "parts": parts}}
    if finish:
        first["finishReason"] = finish
    return {"candidates": [first], "modelVersion": "gemini-3-flash", "responseId": "r1", **more}


def test_an_answer() -> None:
    parts: list[dict[str, Any]] = [{"text": "thinking", "thought": True}, {"text": "He"}, {"text": "llo"}]
    answer = WIRE.answer("chat", answered([*parts, FUNCTION_CALL], usageMetadata=TOKENS), candidate())
    message = answer["choices"][0]["message"]
    assert message["content"] == "Hello"
    (made,) = message["tool_calls"]
    assert made["id"].startswith("call_")
    assert made["function"] == {"name": "f", "arguments": '{"x": 1}'}
    assert made["extra_content"] == {"google": {"thought_signature": "SIG"}}
    assert "index" not in made
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert read_usage(answer["usage"]) == Usage(12, 4, 25, 20)


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("OTHER", "stop")],
)
def test_finish_reasons(reason: str, finish_reason: str) -> None:
    answer = WIRE.answer("chat", answered([{"text": "x"}], reason), candidate())
    assert answer["choices"][0]["finish_reason"] == finish_reason


def test_a_blocked_prompt_is_a_refusal() -> None:
    answer = WIRE.answer("chat", {"promptFeedback": {"blockReason": "SAFETY"}}, candidate())
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert "SAFETY" in answer["choices"][0]["message"]["refusal"]


@pytest.mark.parametrize(
    "payload", [answered([], "MALFORMED_FUNCTION_CALL"), answered([{"text": "x"}], None), {}]
)
def test_an_incomplete_answer_is_an_invalid_response(payload: dict[str, Any]) -> None:
    with pytest.raises(FaultError) as caught:
        WIRE.answer("chat", payload, candidate())
    assert caught.value.error_class == "invalid_response"


STREAM = b"".join(
    b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\r\n\r\n"
    for payload in (
        answered([{"text": "hm", "thought": True}], None),
        answered([{"text": "Hé"}], None, usageMetadata={**TOKENS, "candidatesTokenCount": 1}),
        answered([{"text": "llo"}, FUNCTION_CALL], None),
        answered([], "STOP", usageMetadata=TOKENS),
    )
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_a_stream_gives_the_same_answer_however_it_is_split(cuts: list[int]) -> None:
    decoder, whole = GoogleDecoder(candidate()), Assembler()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        for made in decoder.feed(STREAM[start:end]):
            whole.add(made)
    assert decoder.finished
    assert read_usage(decoder.usage) == Usage(12, 4, 25, 20)
    choice = whole.completion["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Héllo"
    (made,) = choice["message"]["tool_calls"]
    assert made["function"] == {"name": "f", "arguments": '{"x": 1}'}
    assert made["extra_content"] == {"google": {"thought_signature": "SIG"}}


def test_embeddings() -> None:
    request = WIRE.request("embeddings", {"input": ["a", "b"], "dimensions": 3}, candidate("emb"))
    assert request.url == "https://g.test/v1beta/models/emb:batchEmbedContents"
    assert json.loads(request.content)["requests"][1] == {
        "model": "models/emb",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 3,
    }
    answer = WIRE.answer(
        "embeddings", {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]}, candidate("emb")
    )
    assert [(item["index"], item["embedding"]) for item in answer["data"]] == [(0, [1.0]), (1, [2.0])]
    with pytest.raises(UnsupportedError):
        WIRE.request("embeddings", {"input": [[1, 2]]}, candidate("emb"))


@pytest.mark.parametrize(
    ("status", "error", "error_class"),
    [
        (400, {"status": "INVALID_ARGUMENT", "message": "bad"}, "bad_request"),
        (400, {"message": "x", "details": [{"reason": "API_KEY_INVALID"}]}, "auth"),
        (400, {"message": "API key not valid. Please pass a valid API key."}, "auth"),
        (403, {"status": "PERMISSION_DENIED"}, "forbidden"),
        (404, {"status": "NOT_FOUND"}, "not_found"),
        (503, {"status": "UNAVAILABLE"}, "server_error"),
        (200, {"code": 429, "message": "slow down"}, "rate_limited"),
        (200, {"message": "who knows"}, "server_error"),
    ],
)
def test_errors_are_classified(status: int, error: dict[str, Any], error_class: str) -> None:
    assert WIRE.fault(status, {"error": error}).error_class == error_class
    assert WIRE.fault(status, [{"error": error}]).error_class == error_class


def test_the_retry_delay_is_read_from_the_body() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    assert WIRE.fault(429, {"error": {"message": "quota", "details": details}}).retry_after == 34.5
    daily = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    error = {"message": "quota", "details": [*details, daily]}
    assert WIRE.fault(429, {"error": error}).retry_after == 3_600


def test_what_only_other_formats_can_express_is_not_dropped() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for messages in (
        [{"role": "system", "content": [image]}, *USER],
        [
            *USER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [image]},
        ],
    ):
        with pytest.raises(UnsupportedError, match="image_url"):
            sent(messages=messages)


def test_empty_lists_and_hints_about_a_cache_are_not_sent() -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    message = {"role": "user", "content": [part]}
    made = sent(
        messages=[message], tools=[], tool_choice="auto", stop=[], cache_control={"type": "ephemeral"}
    )
    assert made == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
