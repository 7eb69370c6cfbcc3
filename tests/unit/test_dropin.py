"""The openai client over the engine, with its answers, errors, timeouts and cancellations."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from supa_llm.client import dropin
from supa_llm.engine import Timeouts
from supa_llm.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidInputError,
    NoCandidateError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.receipts import Receipt
from tests.unit.engine_support import NO_RETRIES, STREAM, Both, Reply, Web, answered, candidate, event

ASK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")


class App:
    """Existing code, which sends requests with an openai client."""

    def __init__(
        self, both: Both, web: Callable[[httpx.Request], httpx.Response], account: Any, **options: Any
    ):
        self._asynchronous = both.asynchronous
        make: Any = dropin.async_openai if both.asynchronous else dropin.openai
        self.receipts: list[Receipt] = []
        engine = both.engine(web)
        options = {
            "timeouts": Timeouts(),
            "retries": NO_RETRIES,
            "on_receipt": self.receipts.append,
            **options,
        }
        self.client = make(lambda team: account, engine, **options)

    async def __call__(self, method: Callable[..., Any], **arguments: Any) -> Any:
        called = method(**arguments)
        return await called if self._asynchronous else called

    async def ask(self, **more: Any) -> Any:
        return await self(self.client.chat.completions.create, **{**ASK, **more})

    async def chunks(self, **more: Any) -> list[Any]:
        stream = await self.ask(stream=True, **more)
        return [chunk async for chunk in stream] if self._asynchronous else list(stream)


def app(both: Both, *replies: Reply, **options: Any) -> tuple[App, Any, Web]:
    web, account = Web({"one": list(replies)}), both.account(candidate("one"))
    return App(both, web, account, **options), account, web


@pytest.mark.parametrize(
    "extra", [{"max_tokens": "100"}, {"n": True}, {"max_completion_tokens": -1}, {"models": ["m"]}]
)
async def test_an_extra_body_bypasses_no_limit(both: Both, extra: dict[str, Any]) -> None:
    made, account, web = app(both, answered())
    with pytest.raises(openai.BadRequestError, match=next(iter(extra))):
        await made.ask(extra_body=extra)
    assert (account.demands, web.requests) == ([], [])


async def test_answers_and_where_they_came_from(both: Both) -> None:
    made, account, _ = app(both, answered("Hi"), task="code")
    completion = await made.ask()
    assert completion.choices[0].message.content == "Hi"
    (receipt,) = made.receipts
    assert completion._request_id == str(receipt.request_id)
    assert receipt.attempts == tuple(account.attempts)
    raw = await made(made.client.chat.completions.with_raw_response.create, **ASK)
    assert {name: raw.headers[name] for name in raw.headers if name.startswith("x-llm")} == {
        "x-llm-provider": "one",
        "x-llm-model": "m",
        "x-llm-key-source": "user",
    }


@pytest.mark.parametrize(
    ("model", "asked"), [("auto", None), ("", None), ("groq/llama", "groq/llama"), ("gpt-5", "gpt-5")]
)
async def test_the_model_and_the_task_that_are_requested(both: Both, model: str, asked: str | None) -> None:
    made, account, web = app(both, answered(), task="code")
    await made.ask(model=model)
    await made.ask(model=model, extra_headers={"x-llm-task": "speed"})
    assert account.asked == [("code", asked, ("chat",)), ("speed", asked, ("chat",))]
    assert b'"model": "m"' in web.requests[0].content


async def test_streams(both: Both) -> None:
    made, account, _ = app(both, httpx.Response(200, content=b"".join(STREAM)))
    chunks = await made.chunks()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert all(chunk.usage is None for chunk in chunks)
    assert [it.outcome for it in account.attempts] == ["succeeded"]
    assert [it.attempts for it in made.receipts] == [tuple(account.attempts)]
    with_usage = await made.chunks(stream_options={"include_usage": True})
    assert with_usage[-1].usage.prompt_tokens == 3


async def test_hanging_up_cancels(both: Both) -> None:
    made, account, _ = app(both, httpx.Response(200, content=b"".join(STREAM[:3])))
    stream = await made.ask(stream=True)
    await made(stream.close)
    assert [it.outcome for it in account.attempts] == ["cancelled"]


async def test_a_broken_stream_raises_what_the_openai_package_raises(both: Both) -> None:
    pieces = [STREAM[1], event({"error": {"message": "full"}})]
    made, account, _ = app(both, httpx.Response(200, stream=both.body(pieces)))
    with pytest.raises(openai.APIError, match="broke off") as caught:
        await made.chunks()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "stream_interrupted"
    assert [it.attempts for it in made.receipts] == [tuple(account.attempts)]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embeddings(both: Both, encoding: str | None) -> None:
    reply = httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 0.5]}], "usage": {}})
    made, _, web = app(both, reply)
    options = {"encoding_format": encoding} if encoding else {}
    answer = await made(made.client.embeddings.create, model="auto", input="x", **options)
    vector = answer.data[0].embedding
    assert vector == ([1.0, 0.5] if encoding != "base64" else "AACAPwAAAD8=")
    assert b"encoding_format" not in web.requests[0].content


async def test_models_are_the_routes(both: Both) -> None:
    made, _, _ = app(both, answered())
    models = made.client.models.list()
    found = [it.id async for it in models] if both.asynchronous else [it.id for it in models]
    assert found == ["auto", "one/m"]


@pytest.mark.parametrize(
    ("model", "asked", "owner"),
    [("one/m", "one/m", "one"), ("m", "m", "one"), ("auto", None, "supa-llm")],
)
async def test_a_model_is_the_one_of_its_route(both: Both, model: str, asked: str | None, owner: str) -> None:
    account = both.account(candidate("two"), candidate("one", reason="requested"))
    made = App(both, Web({}), account, task="code")
    found = await made(made.client.models.retrieve, model=model)
    assert (found.id, found.owned_by) == (model, owner)
    assert account.asked == [("code", asked, ("chat",))]


async def test_a_model_without_a_key_is_not_found(both: Both) -> None:
    made, account, _ = app(both, answered())
    with pytest.raises(openai.NotFoundError, match="No key can serve the model 'two/m'") as caught:
        await made(made.client.models.retrieve, model="two/m")
    assert caught.value.code == "model_not_found"
    account.failure = InvalidInputError("No provider is known to have it.", code="unknown_model")
    with pytest.raises(openai.NotFoundError, match="No provider is known") as caught:
        await made(made.client.models.retrieve, model="m")
    assert caught.value.code == "model_not_found"
    account.failure = NotSignedInError("Nobody is signed in.")
    with pytest.raises(openai.AuthenticationError):
        await made(made.client.models.retrieve, model="m")


async def test_what_is_not_served_says_what_is(both: Both) -> None:
    made, _, _ = app(both, answered())
    with pytest.raises(openai.NotFoundError, match="POST /chat/completions") as caught:
        await made(made.client.moderations.create, input="x")
    assert caught.value.code == "unsupported_endpoint"


def failing(status: int, headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": error}, headers=headers)


@pytest.mark.parametrize(
    ("reply", "expected", "code"),
    [
        (failing(401), openai.AuthenticationError, "all_candidates_failed"),
        (failing(429, headers={"retry-after": "7"}), openai.RateLimitError, "all_candidates_failed"),
        (failing(404), openai.NotFoundError, "all_candidates_failed"),
        (failing(500), openai.InternalServerError, "all_candidates_failed"),
        (failing(400, code="context_length_exceeded"), openai.BadRequestError, "context_length_exceeded"),
        (failing(422), openai.UnprocessableEntityError, "bad_request"),
        (httpx.ConnectError("gone"), openai.InternalServerError, "all_candidates_failed"),
    ],
)  # fmt: skip
async def test_failures_of_providers(
    both: Both, reply: Reply, expected: type[openai.APIStatusError], code: str
) -> None:
    made, account, web = app(both, reply)
    with pytest.raises(expected) as caught:
        await made.ask()
    assert caught.value.code == code
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["hint"]
    assert len(web.requests) == 1  # the openai client does not try again what the engine has tried
    assert [it.attempts for it in made.receipts] == [tuple(account.attempts)]
    if expected is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (NoCandidateError("No key.", hint="Add one."), openai.AuthenticationError),
        (NoCandidateError("All are rate-limited.", retry_after=3.2), openai.RateLimitError),
        (NotSignedInError("Nobody is signed in."), openai.AuthenticationError),
        (ForbiddenError("No."), openai.PermissionDeniedError),
        (DatabaseUnavailableError("Away."), openai.InternalServerError),
    ],
)
async def test_failures_of_the_route(
    both: Both, failure: SupaLLMError, expected: type[openai.APIStatusError]
) -> None:
    made, account, _ = app(both, answered())
    account.failure = failure
    with pytest.raises(expected) as caught:
        await made.ask()
    assert caught.value.code == failure.code
    with pytest.raises(expected):
        await made.ask(stream=True)


async def test_what_no_provider_on_the_route_can_express(both: Both) -> None:
    web, account = Web({}), both.account(candidate("one", wire_format="google"))
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        await App(both, web, account).ask(logprobs=True)


@pytest.mark.parametrize("how", ["client", "with_options", "request", "copy"])
async def test_the_callers_time_out_is_the_total_one(both: Both, how: str) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.06)
        raise httpx.ReadTimeout("slow")

    made, account, _ = app(both, slow, **({"timeout": 0.05} if how == "client" else {}))
    if how == "with_options":
        made.client = made.client.with_options(timeout=0.05)
    if how == "copy":
        made.client = made.client.copy(timeout=0.05)
    with pytest.raises(openai.APITimeoutError):
        await made.ask(**({"timeout": 0.05} if how == "request" else {}))
    assert [it.error_class for it in account.attempts] == ["timeout"]


async def test_without_a_time_out_of_the_callers_ours_hold(both: Both) -> None:
    seen: list[Any] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"]["connect"])
        return answered()

    made, _, _ = app(both, note, timeout=None)
    await made.ask()
    assert seen == [10.0]


async def test_the_engines_total_time_is_the_clients_default(both: Both) -> None:
    made, _, _ = app(both, answered())
    assert made.client.timeout == Timeouts().total


async def test_nothing_secret_is_sent_to_or_kept_by_the_client(both: Both) -> None:
    made, _, _ = app(both, failing(401, message="Incorrect API key provided: sk-secret-one"))
    with pytest.raises(openai.AuthenticationError) as caught:
        await made.ask()
    assert "sk-secret" not in str(caught.value) + repr(caught.value.body) + caught.value.response.text
    assert made.client.api_key == "supa-llm"
    assert str(made.client.base_url) == "https://supa-llm.invalid/v1/"


def test_a_missing_openai_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    both = Both(False)
    with pytest.raises(ConfigurationError, match=r"pip install 'supa-llm\[openai\]'") as caught:
        dropin.openai(
            lambda team: both.account(), both.engine(Web({})), timeouts=Timeouts(), retries=NO_RETRIES
        )
    assert caught.value.code == "missing_extra"


def test_importing_it_imports_neither_openai_nor_pydantic() -> None:
    code = (
        "import sys, supa_llm.engine, supa_llm.client.dropin;"
        "print({'openai', 'pydantic', 'supabase'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": "sig"}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}
THINKING = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": TOOL_USE},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_signed_thoughts_survive_the_openai_packages_models(both: Both, streamed: bool) -> None:
    """A tool loop sends Anthropic's thoughts back unchanged, as it requires."""
    whole = {"content": [THOUGHT, TOOL_USE], "stop_reason": "tool_use", "usage": {}}
    first = httpx.Response(
        200,
        headers={"content-type": "text/event-stream" if streamed else "application/json"},
        content=b"".join(map(event, THINKING)) if streamed else json.dumps(whole),
    )
    done = httpx.Response(200, json={**whole, "content": [{"type": "text", "text": "Done"}]})
    web = Web({"one": [first, done]})
    account = both.account(candidate("one", wire_format="anthropic", key_header="x-api-key", key_scheme=""))
    made = App(both, web, account)
    if streamed:
        state: Any = ChatCompletionStreamState()
        for chunk in await made.chunks():
            state.handle_chunk(chunk)
        message = state.get_final_completion().choices[0].message
    else:
        message = (await made.ask()).choices[0].message
    assert message.reasoning_content == "Hm"
    result = {"role": "tool", "tool_call_id": "t", "content": "1"}
    await made.ask(messages=[*ASK["messages"], message, result])
    assert json.loads(web.requests[1].content)["messages"][1]["content"] == [THOUGHT, TOOL_USE]


async def test_a_request_that_is_too_long_has_openais_code(both: Both) -> None:
    refusal = {"error": {"message": "Request too large for model m", "code": "rate_limit_exceeded"}}
    made, _, _ = app(both, httpx.Response(413, json=refusal))
    with pytest.raises(openai.BadRequestError) as caught:
        await made.ask()
    assert caught.value.code == "context_length_exceeded"
