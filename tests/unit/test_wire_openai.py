"""The OpenAI format: requests for its dialects, answers, streams, usage and errors."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supa_llm.values.receipts import Usage
from supa_llm.values.routes import Candidate
from supa_llm.wire.assemble import Assembler
from supa_llm.wire.base import FaultError, UnsupportedError
from supa_llm.wire.openai import _MOST_SERVERS, _REFUSED, OpenAIDecoder, OpenAIWire
from supa_llm.wire.usage import read_usage
from tests.unit.engine_support import event

WIRE = OpenAIWire()
MISTRAL_NAMES = {"seed": "random_seed", "stream_options": None}


def candidate(model: str = "m", names: dict[str, str | None] | None = None) -> Candidate:
    return Candidate(
        "p",
        model,
        "",
        "user",
        None,
        None,
        "openai",
        "https://p.test/v1/",
        "authorization",
        "Bearer",
        names or {},
    )


def sent(body: dict[str, Any], to: Candidate | None = None) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(WIRE.request("chat", body, to or candidate()).content)
    return made


USER = [{"role": "user", "content": "Hi"}]


def test_requests_go_under_the_base_url_and_carry_the_candidates_model() -> None:
    request = WIRE.request("chat", {"messages": USER, "user": None}, candidate("gpt"))
    assert request.url == "https://p.test/v1/chat/completions"
    assert json.loads(request.content) == {"messages": USER, "model": "gpt"}
    assert WIRE.request("embeddings", {"input": "x"}, candidate()).url == "https://p.test/v1/embeddings"


def test_the_token_limit_has_the_providers_name() -> None:
    body = {"messages": USER, "max_completion_tokens": 7, "seed": 1, "stream": True}
    assert sent(body) == {
        "messages": USER,
        "model": "m",
        "max_tokens": 7,
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    newer = candidate(names={"max_completion_tokens": "max_completion_tokens"})
    assert sent({"messages": USER, "max_completion_tokens": 7}, newer)["max_completion_tokens"] == 7
    mistral = sent(body, candidate(names=dict(MISTRAL_NAMES)))
    assert mistral == {"messages": USER, "model": "m", "max_tokens": 7, "random_seed": 1, "stream": True}


def test_reasoning_models_get_no_sampling_parameters() -> None:
    body = {"messages": USER, "temperature": 0.2, "top_p": 0.5}
    assert "temperature" in sent(body, candidate("gpt-4.1"))
    assert "top_p" in sent(body, candidate("gpt-5-chat"))
    for model in ("gpt-5-mini", "o3", "gpt-6"):
        assert sent(body, candidate(model)) == {"messages": USER, "model": model}


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gpt-5", "high"),
        ("gpt-5.2", "high"),
        ("gpt-5.4", "none"),
        ("gpt-5.10-mini", "none"),
        ("gpt-6", "none"),
    ],
)
def test_newer_models_get_function_tools_in_chats_without_an_effort(model: str, effort: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    body = {"messages": USER, "tools": [tool], "reasoning_effort": "high"}
    openai = replace(candidate(model), responses=True)
    assert sent(body, openai)["reasoning_effort"] == effort
    assert sent({**body, "tools": []}, openai)["reasoning_effort"] == "high"
    # Other servers of a model with such a name have rules of their own.
    assert sent(body, candidate(model))["reasoning_effort"] == "high"


def test_messages_lose_fields_of_other_providers() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "tool_calls": [{**call, "extra_content": {"google": {"thought_signature": "s"}}}],
        },
    ]
    assert sent({"messages": messages})["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]


def test_mistral_gets_tool_call_ids_that_it_accepts() -> None:
    function = {"name": "f", "arguments": "{}"}
    calls = [
        {"id": it, "type": "function", "function": function} for it in ("call_from_elsewhere", "abcDEF123")
    ]
    messages = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls),
    ]
    made = sent({"messages": messages}, candidate("mistral-large-latest"))["messages"]
    ids = [call["id"] for call in made[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in made[1:]]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", it) for it in ids)
    assert ids[1] == "abcDEF123"
    assert sent({"messages": messages}, candidate("gpt-5"))["messages"] == messages


MESSAGE = {"role": "assistant", "content": "x"}


def test_answers_are_checked_and_returned_unchanged() -> None:
    good = {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}
    assert WIRE.answer("chat", good, candidate()) == good
    with pytest.raises(FaultError) as caught:
        WIRE.answer("chat", {"choices": []}, candidate())
    assert caught.value.error_class == "invalid_response"


def test_thoughts_in_an_answer_are_not_text() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
    ]
    answer = WIRE.answer("chat", {"choices": [{"message": {"content": parts}}]}, candidate())
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hi", "hm")
    made, _ = OpenAIDecoder().feed(stream(delta(content=parts)))
    assert made["choices"][0]["delta"] == {"content": "Hi", "reasoning_content": "hm"}


def test_vectors_have_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    answer = WIRE.answer("embeddings", {"data": data}, candidate())
    assert [item["embedding"] for item in answer["data"]] == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("status", "payload", "error_class"),
    [
        (401, {"error": {"message": "no", "code": "invalid_api_key"}}, "auth"),
        (403, "Forbidden", "forbidden"),
        (402, {"error": "pay"}, "out_of_credit"),
        (429, {"error": {"code": "insufficient_quota"}}, "out_of_credit"),
        (413, {"error": {"code": "rate_limit_exceeded", "message": "tokens per minute"}}, "context_too_long"),
        (413, {}, "context_too_long"),
        (404, {"error": {"code": "model_not_found"}}, "not_found"),
        (400, {"error": {"code": "model_decommissioned"}}, "not_found"),
        (400, {"error": {"code": "context_length_exceeded"}}, "context_too_long"),
        (422, {"detail": [{"msg": "extra"}]}, "bad_request"),
        (408, None, "server_error"),
        (529, None, "server_error"),
        (503, "<html>", "server_error"),
        (302, "", "invalid_response"),
        (418, "", "invalid_response"),
        (200, {"error": {"message": "busy"}}, "server_error"),
        (200, {"error": {"type": "invalid_request_error"}}, "bad_request"),
    ],
)
def test_errors_are_classified(status: int, payload: Any, error_class: str) -> None:
    assert WIRE.fault(status, payload).error_class == error_class


def test_error_messages_are_found_wherever_a_provider_puts_them() -> None:
    assert WIRE.fault(400, {"error": {"message": "one"}}).message == "one"
    assert WIRE.fault(400, {"object": "error", "message": "two"}).message == "two"
    assert "three" in WIRE.fault(422, {"detail": [{"msg": "three"}]}).message
    assert WIRE.fault(500, "four").message == "four"
    assert WIRE.fault(502, "<html>…").message == ""


def test_usage() -> None:
    reported = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert read_usage(reported) == Usage(10, 4, 5, 3)
    assert read_usage({**reported, "total_tokens": 18}) == Usage(
        10, 4, 8, 3
    )  # reasoning counted beside the rest
    assert read_usage({"prompt_tokens": 2}) == Usage(2)
    assert read_usage(None) == read_usage({"prompt_tokens": "two", "completion_tokens": -1}) == Usage()


def stream(*chunks: Any) -> bytes:
    return b"".join(map(event, chunks)) + b"data: [DONE]\n\n"


def delta(finish: str | None = None, index: int = 0, **values: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": values, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice]}


TOOLS = stream(
    delta(role="assistant", content=None),
    delta(
        tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]
    ),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"x":'}}]),
    delta(
        tool_calls=[{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]
    ),
    delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
    delta("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
)


@given(st.lists(st.integers(0, len(TOOLS)), max_size=10))
def test_a_stream_gives_the_same_answer_however_it_is_split(cuts: list[int]) -> None:
    decoder, whole = OpenAIDecoder(), Assembler()
    edges = [0, *sorted(cuts), len(TOOLS)]
    for start, end in itertools.pairwise(edges):
        for made in decoder.feed(TOOLS[start:end]):
            whole.add(made)
    assert decoder.finished
    assert decoder.end() == []
    assert decoder.usage == {"prompt_tokens": 3, "completion_tokens": 4}
    choice = whole.completion["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [(it["id"], it["function"]) for it in choice["message"]["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_a_stream_of_two_choices_ends_with_the_second() -> None:
    decoder = OpenAIDecoder(choices=2)
    decoder.feed(event(delta("stop", index=1)))
    assert not decoder.finished
    decoder.feed(event(delta("stop", index=0)))
    assert decoder.finished


def test_groqs_usage_is_found() -> None:
    decoder = OpenAIDecoder()
    decoder.feed(stream({**delta("stop"), "x_groq": {"usage": {"prompt_tokens": 1}}}))
    assert decoder.usage == {"prompt_tokens": 1}


def test_an_error_event_is_an_error() -> None:
    with pytest.raises(FaultError) as caught:
        OpenAIDecoder().feed(stream({"error": {"message": "full", "type": "rate_limit_error"}}))
    assert caught.value.error_class == "rate_limited"


EPHEMERAL = {"type": "ephemeral"}
WEATHER = {"type": "function", "function": {"name": "weather"}}


def test_empty_lists_are_not_sent() -> None:
    body = {
        "messages": [*USER, {"role": "assistant", "content": "Hi", "tool_calls": []}],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "stop": [],
    }
    assert sent(body) == {
        "model": "m",
        "messages": [*USER, {"role": "assistant", "content": "Hi"}],
    }
    # This one is for the provider to refuse.
    assert sent({"messages": USER, "tool_choice": "required"})["tool_choice"] == "required"


def test_hints_about_anthropics_cache_are_not_sent() -> None:
    part = {"type": "text", "text": "Hi"}
    body = {
        "cache_control": EPHEMERAL,
        "messages": [
            {"role": "system", "content": [{**part, "cache_control": EPHEMERAL}]},
            {"role": "user", "content": "Hi", "cache_control": EPHEMERAL},
        ],
        "tools": [{**WEATHER, "cache_control": EPHEMERAL}],
    }
    assert sent(body) == {
        "model": "m",
        "messages": [{"role": "system", "content": [part]}, *USER],
        "tools": [WEATHER],
    }


def test_an_image_in_a_tool_result_cannot_be_expressed() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(UnsupportedError, match="tool results"):
        sent({"messages": [{"role": "tool", "tool_call_id": "c", "content": [image]}]})
    sent({"messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "Hi"}]}]})


@pytest.fixture
def _forgetful() -> Iterator[None]:
    yield
    _REFUSED.clear()


@pytest.mark.usefixtures("_forgetful")
def test_a_server_that_refuses_stream_options_is_remembered() -> None:
    body = {"messages": USER, "stream": True}
    refusal = WIRE.fault(422, {"detail": [{"loc": ["body", "stream_options"], "type": "extra_forbidden"}]})
    assert not WIRE.adapts(refusal, {"messages": USER}, candidate())
    assert not WIRE.adapts(WIRE.fault(500, "stream_options"), body, candidate())
    assert "stream_options" in sent(body)
    assert WIRE.adapts(refusal, body, candidate())
    assert "stream_options" not in sent({**body, "stream_options": {"include_usage": True}})
    assert not WIRE.adapts(refusal, body, candidate())
    assert "stream_options" in sent(body, replace(candidate(), base_url="https://other.test/v1"))


@pytest.mark.usefixtures("_forgetful")
def test_a_server_that_wants_the_newer_name_of_the_limit_is_remembered() -> None:
    body = {"messages": USER, "max_completion_tokens": 5}
    message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    refusal = WIRE.fault(400, {"error": {"message": message, "code": "unsupported_parameter"}})
    too_many = WIRE.fault(400, {"error": {"message": "max_tokens is too large: 5"}})
    named = candidate(names={"max_completion_tokens": "max_tokens"})
    assert not WIRE.adapts(refusal, {"messages": USER}, candidate())
    assert not WIRE.adapts(too_many, body, candidate())
    assert not WIRE.adapts(refusal, body, named)
    assert WIRE.adapts(refusal, body, candidate())
    assert sent(body) == {"messages": USER, "model": "m", "max_completion_tokens": 5}
    assert not WIRE.adapts(refusal, body, candidate())


@pytest.mark.usefixtures("_forgetful")
def test_only_so_many_servers_are_remembered() -> None:
    refusal = WIRE.fault(400, {"error": {"message": "unknown field stream_options"}})
    for number in range(_MOST_SERVERS + 1):
        to = replace(candidate(), base_url=f"https://{number}.test/v1")
        assert WIRE.adapts(refusal, {"messages": USER, "stream": True}, to)
    assert len(_REFUSED) <= _MOST_SERVERS
