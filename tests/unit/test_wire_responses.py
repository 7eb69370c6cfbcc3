"""The native Responses format: requests, answers, events and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supa_llm.wire import RESPONSES
from supa_llm.wire.base import FaultError, Json, UnsupportedError, bears_content
from supa_llm.wire.responses import refuse_uncountable_tools
from supa_llm.wire.usage import read_usage
from tests.unit.engine_support import candidate, event

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 14,
}
NATIVE = candidate("one", responses=True)


def sent(body: Json, **changed: Any) -> Json:
    request = RESPONSES.request("responses", body, candidate("one", responses=True, **changed))
    assert request.url == "https://one.test/v1/responses"
    parsed: Json = json.loads(request.content)
    return parsed


def test_a_request_is_sent_as_it_is_and_is_not_stored() -> None:
    body = {
        "input": "Hello",
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low"},
        "tools": [{"type": "web_search"}],
        "max_output_tokens": 50,
        "user": None,
        "brand_new": {"x": 1},
    }
    expected = {name: value for name, value in body.items() if value is not None}
    assert sent({**body, "store": True}) == {**expected, "model": "m", "store": False}


def test_names_of_the_catalog_drop_parameters() -> None:
    assert "store" not in sent({"input": "Hello"}, parameter_names={"store": None})


def test_a_reasoning_model_gets_no_sampling() -> None:
    body = {"input": "Hello", "temperature": 0.5, "top_p": 0.5}
    assert "temperature" not in sent(body, model="gpt-5")
    assert sent(body, model="gpt-4.1")["temperature"] == 0.5


def test_items_of_other_providers_are_sent_without_what_only_these_know() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xx"}
    foreign = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text"}]}
    sealed = {**foreign, "encrypted_content": "supa-llm:e30="}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    said = {"role": "assistant", "content": "Hi"}
    shell = {"type": "shell_call", "id": "sh_1"}
    items = [
        kept,
        foreign,
        sealed,
        {**call, "id": "fc_1", "extra_content": {}},
        {**said, "id": "msg_1"},
        shell,
    ]
    assert sent({"input": items})["input"] == [kept, call, said, shell]


@pytest.mark.parametrize("tool", ["web_search", "file_search", "mcp", "code_interpreter", "shell", "x"])
def test_a_quota_cannot_count_hosted_tools(tool: str) -> None:
    body = {"input": "Hello", "tools": [{"type": "function", "name": "f"}, {"type": tool}]}
    with pytest.raises(UnsupportedError, match=tool):
        refuse_uncountable_tools(body)
    assert sent(body)["tools"] == body["tools"]


def answer(payload: Any) -> Json:
    return RESPONSES.answer("responses", payload, NATIVE)


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_answer_comes_back_as_it_is(status: str) -> None:
    made: Json = {"status": status, "output": [], "usage": USAGE, "error": None}
    assert answer(made) == made


@pytest.mark.parametrize(
    "made",
    [
        {"status": "queued", "output": []},
        {"status": "in_progress", "output": []},
        {"status": "completed", "output": None},
    ],
)
def test_an_answer_without_its_output_is_invalid(made: Json) -> None:
    with pytest.raises(FaultError) as caught:
        answer(made)
    assert caught.value.error_class == "invalid_response"


FAILURES = [
    ({"code": "server_error", "message": "Oh."}, "server_error"),
    ({"code": "rate_limit_exceeded", "message": "Slow."}, "rate_limited"),
    ({"code": "invalid_prompt", "message": "No."}, "bad_request"),
    ({"code": "image_too_large", "message": "No."}, "bad_request"),
    ({"code": "bio_policy", "message": "No."}, "bad_request"),
    ({"code": "data_residency_mismatch", "message": "No."}, "server_error"),
    (None, "server_error"),
]


@pytest.mark.parametrize(("error", "meaning"), FAILURES)
def test_a_failed_response_is_a_fault(error: Any, meaning: str) -> None:
    failed = {"status": "failed", "output": [], "error": error}
    with pytest.raises(FaultError) as whole:
        answer(failed)
    with pytest.raises(FaultError) as streamed:
        RESPONSES.decoder({}, NATIVE).feed(event({"type": "response.failed", "response": failed}))
    assert {whole.value.error_class, streamed.value.error_class} == {meaning}


@pytest.mark.parametrize(
    "made",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow.", "sequence_number": 1},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow."}},
        {"error": {"code": "rate_limit_exceeded", "message": "Slow."}},
    ],
)
def test_an_error_event_is_a_fault(made: Json) -> None:
    with pytest.raises(FaultError) as caught:
        RESPONSES.decoder({}, NATIVE).feed(event(made))
    assert (caught.value.error_class, caught.value.message) == ("rate_limited", "Slow.")


def test_events_pass_unchanged_and_the_last_one_has_the_usage() -> None:
    response = {"id": "r", "status": "completed", "usage": USAGE, "service_tier": "flex", "error": None}
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": response},
    ]
    decoder = RESPONSES.decoder({}, NATIVE)
    stream = b"".join(map(event, events)) + b"data: [DONE]\n\n"
    got = [made for at in range(len(stream)) for made in decoder.feed(stream[at : at + 1])] + decoder.end()
    assert got == events
    assert (decoder.finished, decoder.service_tier) == (True, "flex")
    usage = read_usage(decoder.usage)
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) == (9, 4, 2)
    assert (usage.output_tokens, usage.reasoning_tokens) == (5, 3)


@pytest.mark.parametrize(
    ("kind", "bears"),
    [
        ("response.created", False),
        ("response.in_progress", False),
        ("response.output_item.added", False),
        ("response.content_part.added", False),
        ("response.output_text.delta", True),
        ("response.reasoning_summary_text.delta", True),
        ("response.function_call_arguments.delta", True),
        ("response.web_search_call.in_progress", True),
        ("response.completed", True),
        ("response.incomplete", True),
        ("keepalive", False),
    ],
)
def test_the_first_content_decides_about_the_fallback(kind: str, bears: bool) -> None:
    assert bears_content({"type": kind}) is bears


def test_a_chunk_of_a_chat_may_have_a_type() -> None:
    assert bears_content({"type": "chunk", "choices": [{"delta": {"content": "Hi"}}]})
