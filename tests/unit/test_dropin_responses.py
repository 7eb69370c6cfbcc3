"""``client.responses`` of the openai package over the engine: natively, and on providers of chats."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from supa_llm.client import dropin
from supa_llm.engine import ModelCall, Timeouts
from supa_llm.engine.estimate import IMAGE, INSTRUCTIONS, REQUEST, TOOL, estimate
from supa_llm.errors import InvalidInputError, SupaLLMError
from supa_llm.wire.base import Json
from tests.unit.engine_support import NO_RETRIES, STREAM, Both, Reply, Web, answered, candidate, delta, event

ASK: Json = {"model": "auto", "input": "Hello"}
TOOL_OF_ASK: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": True,
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 14,
}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}


class City(BaseModel):
    name: str


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")


def native(status: str = "completed", **more: Any) -> Json:
    done = status in ("completed", "incomplete")
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m-1",
        "error": None,
        "output": [MESSAGE] if done else [],
        "usage": USAGE if done else None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **more,
    }


def named(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})


CREATED = named("response.created", sequence_number=0, response=native("in_progress"))
ITEM = named("response.output_item.added", sequence_number=1, output_index=0, item={**MESSAGE, "content": []})
PART = named(
    "response.content_part.added", sequence_number=2, output_index=0, content_index=0, item_id="msg_1",
    part={"type": "output_text", "text": "", "annotations": []},
)  # fmt: skip
TEXT = named(
    "response.output_text.delta", sequence_number=3, output_index=0, content_index=0, item_id="msg_1",
    delta="Hello", logprobs=[],
)  # fmt: skip
DONE = named("response.output_item.done", sequence_number=4, output_index=0, item=MESSAGE)
COMPLETED = named("response.completed", sequence_number=5, response=native())
NATIVE_STREAM = [CREATED, ITEM, PART, TEXT, DONE, COMPLETED]
FAILED = named(
    "response.failed", sequence_number=6,
    response=native("failed", error={"code": "server_error", "message": "Oh."}),
)  # fmt: skip


class App:
    """Existing code, which sends requests with an openai client of either kind."""

    def __init__(self, both: Both, web: Web, account: Any) -> None:
        self._asynchronous = both.asynchronous
        make: Any = dropin.async_openai if both.asynchronous else dropin.openai
        self.receipts: list[Any] = []
        self.client = make(
            lambda team: account,
            both.engine(web),
            timeouts=Timeouts(),
            retries=NO_RETRIES,
            on_receipt=self.receipts.append,
        )

    async def __call__(self, method: Any, *arguments: Any, **named: Any) -> Any:
        called = method(*arguments, **named)
        return await called if self._asynchronous else called

    async def create(self, **more: Any) -> Any:
        return await self(self.client.responses.create, **{**ASK, **more})

    async def stream(self, **more: Any) -> tuple[list[Any], Any]:
        """The events of ``responses.stream()``, and its final response."""
        manager = self.client.responses.stream(**{**ASK, **more})
        if self._asynchronous:
            async with manager as stream:
                return [it async for it in stream], await stream.get_final_response()
        with manager as stream:
            return list(stream), stream.get_final_response()


def app(both: Both, *replies: Reply, **changed: Any) -> tuple[App, Any, Web]:
    web, account = Web({"one": list(replies)}), both.account(candidate("one", **changed))
    return App(both, web, account), account, web


def pieces(both: Both, *parts: bytes) -> httpx.Response:
    return httpx.Response(200, stream=both.body(parts), headers={"content-type": "text/event-stream"})


def body_of(request: httpx.Request) -> Json:
    parsed: Json = json.loads(request.content)
    return parsed


async def test_a_candidate_with_responses_serves_them_itself(both: Both) -> None:
    made, account, web = app(both, httpx.Response(200, json=native()), responses=True)
    response = await made.create(include=["reasoning.encrypted_content"], store=True)
    assert (response.id, response.output_text, response.usage.output_tokens) == ("resp_1", "Hello", 5)
    assert str(web.requests[0].url) == "https://one.test/v1/responses"
    asked = body_of(web.requests[0])
    assert (asked["store"], asked["include"], asked["model"]) == (False, ["reasoning.encrypted_content"], "m")
    (attempt,) = account.attempts
    assert (attempt.outcome, attempt.usage.input_tokens, attempt.usage.reasoning_tokens) == (
        "succeeded",
        9,
        3,
    )
    assert response._request_id == str(made.receipts[0].request_id)
    assert account.asked == [(None, None, ("chat",))]


async def test_other_candidates_get_a_chat(both: Both) -> None:
    made, account, web = app(both, answered("Hi"))
    response = await made.create(instructions="Be brief.", max_output_tokens=50)
    assert (response.output_text, response.status, response.model) == ("Hi", "completed", "m-1")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)
    assert str(web.requests[0].url) == "https://one.test/v1/chat/completions"
    assert body_of(web.requests[0]) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 50,
    }
    assert account.attempts[0].usage.output_tokens == 5


@pytest.mark.parametrize("natively", [True, False], ids=["native", "chat"])
async def test_the_streaming_helper(both: Both, natively: bool) -> None:
    parts = NATIVE_STREAM if natively else STREAM
    made, account, _ = app(both, pieces(both, *parts), responses=natively)
    events, final = await made.stream()
    assert "".join(it.delta for it in events if it.type == "response.output_text.delta") == "Hello"
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert (final.output_text, final.status) == ("Hello", "completed")
    assert final.usage.output_tokens == account.attempts[0].usage.output_tokens == 5
    assert [it.outcome for it in account.attempts] == ["succeeded"]
    assert [it.attempts for it in made.receipts] == [tuple(account.attempts)]


async def test_structured_output_is_parsed(both: Both) -> None:
    made, _, web = app(both, answered('{"name": "Paris"}'))
    response = await made(made.client.responses.parse, **ASK, text_format=City)
    assert response.output_parsed == City(name="Paris")
    wanted = body_of(web.requests[0])["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", "City")
    streaming, _, _ = app(both, pieces(both, delta(), delta('{"name": '), delta('"Paris"}'), *STREAM[3:]))
    _, final = await streaming.stream(text_format=City)
    assert final.output_parsed == City(name="Paris")


async def test_a_call_and_its_result(both: Both) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    made, account, web = app(both, answered("", content=None, tool_calls=[call]), answered("Warm."))
    first = await made.create(tools=[TOOL_OF_ASK])
    (asked,) = first.output
    assert (asked.type, asked.name, asked.call_id) == ("function_call", "weather", "c1")
    result = {"type": "function_call_output", "call_id": "c1", "output": "21"}
    done = await made.create(
        input=[{"role": "user", "content": "Hello"}, *first.output, result], tools=[TOOL_OF_ASK]
    )
    assert done.output_text == "Warm."
    assert body_of(web.requests[1])["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
    ]
    assert account.asked[0] == (None, None, ("chat", "tools"))


@pytest.mark.parametrize(
    "first", [FAILED, named("error", code="server_error", message="Oh.", sequence_number=1)]
)
async def test_a_failure_before_the_first_content_falls_back(both: Both, first: bytes) -> None:
    web = Web({"one": [pieces(both, CREATED, ITEM, first)], "two": [pieces(both, *STREAM)]})
    account = both.account(candidate("one", responses=True), candidate("two"))
    events, final = await App(both, web, account).stream()
    assert final.output_text == "Hello"
    assert [it.type for it in events].count("response.created") == 1
    assert [(it.provider, it.error_class) for it in account.attempts] == [
        ("one", "server_error"),
        ("two", None),
    ]


@pytest.mark.parametrize("natively", [True, False], ids=["native", "chat"])
@pytest.mark.parametrize("failing", [True, False], ids=["error", "cut"])
async def test_a_stream_that_breaks_off_raises(both: Both, natively: bool, failing: bool) -> None:
    begun = NATIVE_STREAM[:4] if natively else STREAM[:2]
    last = [FAILED if natively else event({"error": {"message": "full"}})] if failing else []
    made, account, _ = app(both, pieces(both, *begun, *last), responses=natively)
    with pytest.raises(openai.APIError, match="broke off") as caught:
        await made.stream()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "stream_interrupted"
    assert [it.outcome for it in account.attempts] == ["failed"]


async def test_hanging_up_cancels(both: Both) -> None:
    made, account, _ = app(both, pieces(both, *NATIVE_STREAM[:4]), responses=True)
    stream = await made.create(stream=True)
    await made(stream.close)
    assert [it.outcome for it in account.attempts] == ["cancelled"]


async def test_an_answer_that_is_no_response_falls_back(both: Both) -> None:
    web = Web({"one": [httpx.Response(200, json={"choices": []})], "two": [answered("Hi")]})
    account = both.account(candidate("one", responses=True), candidate("two"))
    assert (await App(both, web, account).create()).output_text == "Hi"
    assert [it.error_class for it in account.attempts] == ["invalid_response", None]


async def test_hosted_tools_skip_candidates_without_them(both: Both) -> None:
    web = Web({"two": [httpx.Response(200, json=native())]})
    account = both.account(candidate("one"), candidate("two", responses=True))
    await App(both, web, account).create(tools=[{"type": "web_search"}])
    assert [it.provider for it in account.attempts] == ["two"]
    lonely, _, untouched = app(both, answered())
    with pytest.raises(openai.BadRequestError, match="'web_search' tools") as caught:
        await lonely.create(tools=[{"type": "web_search"}])
    assert caught.value.code == "unsupported_request"
    assert untouched.requests == []


@pytest.mark.parametrize(
    "asked",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"id": "msg_1"}]},
    ],
)
async def test_nothing_stored_can_be_used(both: Both, asked: Json) -> None:
    made, account, web = app(both, httpx.Response(200, json=native()), responses=True)
    with pytest.raises(openai.BadRequestError, match="does not store responses") as caught:
        await made.create(**asked)
    assert caught.value.code == "responses_not_stored"
    assert (account.demands, web.requests) == ([], [])


@pytest.mark.parametrize(
    "extra",
    [
        {"max_output_tokens": "100"},
        {"max_output_tokens": -1},
        {"n": 100},
        {"max_tokens": 9_000_000},
        {"max_completion_tokens": 9_000_000},
        {"models": ["m"]},
        {"prompt": {"id": "pmpt_1"}},
        {"input": []},
        {"input": 5},
        {"input": ["x"]},
        {"tools": {"type": "function"}},
        {"tools": ["function"]},
        {"tools": [{"type": 5}]},
        {"text": "json"},
        {"text": {"format": "json"}},
        {"reasoning": "high"},
    ],
)
async def test_a_hostile_body_bypasses_no_limit(both: Both, extra: Json) -> None:
    made, account, web = app(both, answered())
    with pytest.raises(openai.BadRequestError, match=next(iter(extra))):
        await made.create(extra_body=extra)
    assert (account.demands, web.requests) == ([], [])


@pytest.mark.parametrize("natively", [True, False], ids=["native", "chat"])
@pytest.mark.parametrize(("asked", "sent"), [({}, 700), ({"max_output_tokens": 50.0}, 50)])
async def test_the_output_is_limited_to_what_was_reserved(
    both: Both, natively: bool, asked: Json, sent: int
) -> None:
    reply = httpx.Response(200, json=native()) if natively else answered()
    web = Web({"one": [reply]})
    account = both.account(candidate("one", responses=natively), metered=True, max_output_tokens=700)
    await App(both, web, account).create(extra_body=asked)
    assert body_of(web.requests[0])["max_output_tokens" if natively else "max_tokens"] == sent
    assert account.demands[0].output_tokens == (sent if asked else None)


async def test_a_quota_skips_hosted_tools(both: Both) -> None:
    web = Web({"one": [httpx.Response(200, json=native())]})
    account = both.account(candidate("one", responses=True), metered=True, max_output_tokens=700)
    with pytest.raises(openai.BadRequestError, match="quota"):
        await App(both, web, account).create(tools=[{"type": "web_search"}])
    assert (web.requests, account.released) == ([], [account.demands[0].request_id])
    account.max_output_tokens = None  # no quota limits the tokens
    assert (await App(both, web, account).create(tools=[{"type": "web_search"}])).output_text == "Hello"


def test_an_estimate_covers_a_request_for_a_response() -> None:
    def tokens(**body: Any) -> int:
        return estimate("responses", body).input_tokens

    plain = tokens(input="x" * 5_000)
    assert plain >= REQUEST + 5_000
    assert tokens(input=[{"role": "user", "content": "x" * 5_000}]) >= plain
    assert tokens(input="x", instructions="y" * 5_000) >= REQUEST + 5_000
    tool = {"type": "function", "name": "f", "description": "z" * 5_000}
    assert tokens(input="x", tools=[tool]) >= REQUEST + INSTRUCTIONS + TOOL + 5_000
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 500_000}
    result = {"type": "function_call_output", "call_id": "c", "output": [image]}
    screen = {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "A"}}
    for item in ({"role": "user", "content": [image]}, result, screen):
        assert IMAGE <= tokens(input=[item]) < IMAGE + 1_000
    said = {"type": "reasoning", "encrypted_content": "e" * 5_000, "summary": []}
    assert tokens(input=[said, {"type": "unknown", "x": "u" * 5_000}]) >= REQUEST + 10_000
    assert estimate("responses", {"input": "x", "max_output_tokens": 50}).output_tokens == 50
    assert estimate("responses", {"input": "x"}).output_tokens is None


@pytest.mark.parametrize(
    "hostile", [None, [], "x", {}, {"input": None}, {"input": [None, 5, []]}, {"tools": 5}]
)
def test_an_estimate_of_a_hostile_body_does_not_raise(hostile: Any) -> None:
    assert estimate("responses", hostile).output_tokens is None


def test_what_a_request_for_a_response_needs() -> None:
    image = {"type": "input_image", "image_url": "data:,x"}
    items = [
        {"role": "user", "content": "See"},
        {"type": "function_call_output", "call_id": "c", "output": [image]},
    ]
    text = {"format": {"type": "json_schema", "name": "x", "schema": {}}}
    call = ModelCall("responses", {"input": items, "text": text, "tools": [TOOL_OF_ASK], "stream": True})
    assert call.needs == ("chat", "streaming", "tools", "json_schema", "vision")
    with pytest.raises(InvalidInputError, match="item_reference"):
        ModelCall("responses", {"input": [{"type": "item_reference", "id": "x"}]})


async def test_a_request_that_no_provider_can_read_is_the_callers(both: Both) -> None:
    made, _, web = app(both, answered())
    with pytest.raises(openai.BadRequestError, match="no call of the conversation"):
        await made.create(input=[{"type": "function_call_output", "call_id": "c", "output": "x"}])
    assert web.requests == []


@pytest.mark.parametrize(
    ("method", "arguments", "instead"),
    [
        ("responses.retrieve", {"response_id": "resp_1"}, "Responses are not stored"),
        ("responses.cancel", {"response_id": "resp_1"}, "Responses are not stored"),
        ("audio.speech.create", {"model": "m", "voice": "alloy", "input": "x"}, "input_audio"),
        ("images.generate", {"prompt": "x"}, "To generate them"),
        ("files.create", {"file": b"x", "purpose": "user_data"}, "file_data"),
        ("batches.retrieve", {"batch_id": "b"}, "one by one"),
        ("completions.create", {"model": "m", "prompt": "x"}, "client.chat.completions"),
        ("conversations.create", {}, "'input'"),
        ("moderations.create", {"input": "x"}, "client of the provider"),
    ],
)
async def test_what_is_not_served_says_what_to_use(
    both: Both, method: str, arguments: Json, instead: str
) -> None:
    made, _, _ = app(both, answered())
    called: Any = made.client
    for name in method.split("."):
        called = getattr(called, name)
    with pytest.raises(openai.NotFoundError, match=instead) as caught:
        await made(called, **arguments)
    assert caught.value.code == "unsupported_endpoint"


#: Names and types that the code reads, so that random values come where they matter.
_NAMES = (
    "arguments", "call_id", "choices", "code", "content", "delta", "effort", "error", "finish_reason",
    "format", "function", "id", "image_url", "index", "logprobs", "message", "mode", "name", "output",
    "reasoning_content", "response", "role", "status", "text", "tool_calls", "tools", "type", "usage",
)  # fmt: skip
_TYPES = (
    "message", "function_call", "function_call_output", "reasoning", "input_text", "input_image",
    "output_text", "refusal", "function", "allowed_tools", "json_schema", "url_citation", "error",
    "response.created", "response.completed", "response.failed",
)  # fmt: skip
_JSON: Any = st.recursive(
    st.none() | st.integers() | st.sampled_from([*_TYPES, "", "user", "stop"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=8,
)
_OBJECT = st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=6)
_CHOICE = st.fixed_dictionaries({"delta": _OBJECT | _JSON, "message": _OBJECT | _JSON})
_EVENT = st.fixed_dictionaries(
    {},
    optional={"type": st.sampled_from(_TYPES), "response": _OBJECT, "choices": st.lists(_CHOICE, max_size=2)},
)
_PARAMETERS = (
    "include", "instructions", "max_output_tokens", "reasoning", "stream_options", "text",
    "tool_choice", "tools", "prompt", "x",
)  # fmt: skip
_BODY = st.fixed_dictionaries(
    {"input": _JSON | st.lists(_OBJECT, min_size=1)}, optional=dict.fromkeys(_PARAMETERS, _JSON)
)


@settings(max_examples=100, deadline=None)
@given(_BODY, st.booleans(), st.booleans())
def test_no_request_raises_an_error_that_is_not_ours(body: Json, natively: bool, limited: bool) -> None:
    both = Both(False)
    account = both.account(candidate("one", responses=natively), metered=limited, max_output_tokens=700)
    web = Web({"one": [httpx.Response(500)]})
    with contextlib.suppress(SupaLLMError):
        both.engine(web).answer(account, ModelCall("responses", body, retries=NO_RETRIES))


@settings(max_examples=100, deadline=None)
@given(st.lists(_EVENT | _OBJECT, max_size=6), st.booleans())
def test_no_answer_raises_an_error_that_is_not_ours(events: list[Json], natively: bool) -> None:
    both = Both(False)
    stream = httpx.Response(200, content=b"".join(map(event, events)))
    for whole in (None, *events):
        reply = stream if whole is None else httpx.Response(200, json=whole)
        account = both.account(candidate("one", responses=natively))
        call = ModelCall("responses", {"input": "x", "stream": whole is None}, retries=NO_RETRIES)
        with contextlib.suppress(SupaLLMError):
            list(both.engine(Web({"one": [reply]})).items(account, call))
