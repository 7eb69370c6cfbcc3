"""Each oddity of the corpus, replayed over HTTP through every client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from supa_llm import errors
from supa_llm.client import dropin
from supa_llm.client.answers import AsyncChatStream, ChatStream
from supa_llm.engine import AsyncEngine, Engine, Limits, ModelCall, Timeouts, flow
from supa_llm.errors import ProviderError
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate
from supa_llm.wire import WIRES
from supa_llm.wire.base import Json
from tests.providers import corpus
from tests.providers.corpus import Expected, Mode, Oddity, Reply
from tests.providers.replay import ReplayServer, replaying
from tests.support import ROOT
from tests.unit.engine_support import NO_RETRIES, AsyncMemoryAccount, MemoryAccount, candidate
from tools import providers

CORPUS = corpus.load()
#: Key header and scheme of each format.
KEYS = {
    "openai": ("authorization", "Bearer"),
    "anthropic": ("x-api-key", ""),
    "google": ("x-goog-api-key", ""),
}
#: What the next candidate answers.
NEXT = "From the next candidate."
CLIENTS = ("sync", "asyncio", "openai", "async-openai")


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with replaying() as server:
        yield server


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=None) as client:
        yield client


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_FAREWELL", 0.3)


@dataclass
class Result:
    """What the caller got: a message and its finish reason for each choice, or an error."""

    choices: list[Json]
    error: Exception | None = None

    @property
    def message(self) -> Json:
        message: Json = self.choices[0]["message"]
        return message

    @property
    def calls(self) -> list[Json]:
        return [
            {
                "id": call["id"],
                "name": call["function"]["name"],
                "arguments": json.loads(call["function"]["arguments"]),
            }
            for call in self.message.get("tool_calls") or ()
        ]


@pytest.mark.parametrize(
    ("oddity", "mode"),
    [
        pytest.param(oddity, mode, id=f"{oddity.format}/{oddity.name}/{mode}")
        for oddity in CORPUS
        for mode in oddity.expected
    ],
)
async def test_the_corpus(server: ReplayServer, http: httpx.Client, oddity: Oddity, mode: Mode) -> None:
    """All clients at once, because many oddities take time."""
    clients = CLIENTS if oddity.dropin else CLIENTS[:2]
    await asyncio.gather(*(_replay(server, http, client, oddity, mode) for client in clients))


async def _replay(server: ReplayServer, http: httpx.Client, client: str, oddity: Oddity, mode: Mode) -> None:
    expected, name = oddity.expected[mode], f"{oddity.format}-{oddity.name}-{mode}-{client}"
    candidates = (
        _candidate(server.play(name, oddity.replies[mode]), oddity),
        *(() if oddity.alone else [_next(server, mode)]),
    )
    limits = Limits(**oddity.limits)
    started = time.monotonic()
    if client in ("sync", "openai"):
        account: Any = MemoryAccount(candidates)
        ask_now = _sync if client == "sync" else _openai
        result = await asyncio.to_thread(ask_now, Engine(http, limits), account, oddity, mode)
    else:
        account = AsyncMemoryAccount(candidates)
        ask = _asyncio if client == "asyncio" else _async_openai
        async with httpx.AsyncClient(timeout=None, verify=False) as async_http:  # certificates load slowly
            result = await ask(AsyncEngine(async_http, limits), account, oddity, mode)
    try:
        assert time.monotonic() - started < expected.within
        _check_attempts(candidates[0].provider, expected, account.attempts)
        _check_answer(expected, result, ours=client in ("sync", "asyncio"))
        _check_sent(expected, server.bodies[name])
    except AssertionError as error:
        error.add_note(f"with the client: {client}")
        raise


@pytest.mark.parametrize(
    "oddity", [it for it in CORPUS if it.replies.get("streamed")], ids=lambda it: f"{it.format}/{it.name}"
)
def test_cuts_change_nothing(oddity: Oddity) -> None:
    """A stream gives the same chunks whether it arrives at once or byte by byte."""
    for reply in oddity.replies["streamed"]:
        if not reply.gzip and reply.status == 200 and reply.pieces is not None:
            whole = b"".join(part for part in reply.parts() if isinstance(part, bytes))[:50_000]
            assert _decoded(oddity, [whole]) == _decoded(oddity, [bytes([byte]) for byte in whole])


def test_the_documentation_is_up_to_date() -> None:
    assert (ROOT / "docs" / "providers.md").read_text() == providers.page(), "run `make docs`"


def test_a_file_with_an_unknown_field_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CORPUS", tmp_path)
    (tmp_path / "openai").mkdir()
    file = tmp_path / "openai" / "it.json"
    good: Json = {"about": "A.", "group": "G", "whole": {"reply": {"json": {}}, "expect": {"text": "Hi"}}}
    file.write_text(json.dumps(good))
    assert [it.name for it in corpus.load()] == ["it"]
    bad: Json
    for bad in (
        {**good, "abuot": "A."},
        {**good, "whole": {"reply": {"json": {}}, "expects": {}}},
        {**good, "whole": {"reply": {"json": {}, "staus": 200}}},
        {**good, "whole": {"reply": {"json": {}}, "expect": {"txt": "Hi"}}},
        {**good, "whole": {"reply": {"json": {}}, "expect": {"outcome": "failed"}}},
        {**good, "streamed": {"reply": {"pieces": [{"dta": 1}]}}},
        {**good, "streamed": {"reply": {}}},
        {"about": "A.", "group": "G"},
    ):
        file.write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=r"openai/it\.json"):
            corpus.load()


def _candidate(base_url: str, oddity: Oddity) -> Candidate:
    header, scheme = KEYS[oddity.format]
    values = {"wire_format": oddity.format, "key_header": header, "key_scheme": scheme, **oddity.candidate}
    return candidate(**{"provider": "odd", "base_url": base_url, **values})


def _next(server: ReplayServer, mode: Mode) -> Candidate:
    """The next candidate, which answers well."""
    message = {"role": "assistant", "content": NEXT}
    choice: Json = {"index": 0, "finish_reason": "stop"}
    head: Json = {"id": "n", "object": "chat.completion", "created": 1, "model": "m"}
    if mode == "whole":
        reply = Reply(json={**head, "choices": [{**choice, "message": message}]})
    else:
        chunk = {**head, "object": "chat.completion.chunk", "choices": [{**choice, "delta": message}]}
        reply = Reply(pieces=[{"data": chunk}, "data: [DONE]\n\n"])
    return candidate("next", base_url=server.play("next", [reply]))


def _call(oddity: Oddity, mode: Mode) -> ModelCall:
    timeouts = Timeouts(**{"total": 10.0, "attempt": 5.0, "idle": 5.0, **oddity.timeouts})
    body = {**oddity.request, "stream": mode == "streamed"}
    return ModelCall("chat", body, timeouts=timeouts, retries=NO_RETRIES)


def _sync(engine: Engine, account: MemoryAccount, oddity: Oddity, mode: Mode) -> Result:
    call = _call(oddity, mode)
    try:
        if mode == "whole":
            return Result(engine.answer(account, call).payload["choices"])
        with ChatStream(engine.items(account, call)) as stream:
            text = "".join(stream)
            assert text == stream.text
            return Result(list(stream.answer.raw["choices"]))
    except errors.SupaLLMError as error:
        return Result([], error)


async def _asyncio(engine: AsyncEngine, account: AsyncMemoryAccount, oddity: Oddity, mode: Mode) -> Result:
    call = _call(oddity, mode)
    try:
        if mode == "whole":
            return Result((await engine.answer(account, call)).payload["choices"])
        async with AsyncChatStream(engine.items(account, call)) as stream:
            text = "".join([piece async for piece in stream])
            assert text == stream.text
            return Result(list(stream.answer.raw["choices"]))
    except errors.SupaLLMError as error:
        return Result([], error)


def _options(oddity: Oddity) -> Json:
    timeouts = _call(oddity, "whole").timeouts
    return {"timeouts": timeouts, "timeout": timeouts.total, "retries": NO_RETRIES}


def _arguments(oddity: Oddity, mode: Mode) -> Json:
    rest = {name: value for name, value in oddity.request.items() if name != "messages"}
    return {
        "model": "auto",
        "messages": oddity.request["messages"],
        "stream": mode == "streamed",
        "extra_body": rest,
    }


def _openai(engine: Engine, account: MemoryAccount, oddity: Oddity, mode: Mode) -> Result:
    client = dropin.openai(lambda team: account, engine, **_options(oddity))
    try:
        made = client.chat.completions.create(**_arguments(oddity, mode))
        return _result(list(made) if mode == "streamed" else made)
    except openai.APIError as error:
        return Result([], error)


async def _async_openai(
    engine: AsyncEngine, account: AsyncMemoryAccount, oddity: Oddity, mode: Mode
) -> Result:
    client = dropin.async_openai(lambda team: account, engine, **_options(oddity))
    try:
        made: Any = await client.chat.completions.create(**_arguments(oddity, mode))
        return _result([chunk async for chunk in made] if mode == "streamed" else made)
    except openai.APIError as error:
        return Result([], error)


def _result(made: Any) -> Result:
    """A completion of the openai package, or its chunks as this package assembles them."""
    if isinstance(made, list):
        state: Any = ChatCompletionStreamState()
        for chunk in made:
            state.handle_chunk(chunk)
        made = state.current_completion_snapshot
    return Result(made.to_dict()["choices"])


def _check_attempts(provider: str, expected: Expected, attempts: list[Attempt]) -> None:
    if expected.skipped:
        assert [it.provider for it in attempts] == ["next"]
        return
    fallen_back = expected.outcome == "failed" and expected.next
    assert [it.provider for it in attempts] == [provider] * expected.attempts + ["next"] * fallen_back
    attempt = attempts[expected.attempts - 1]
    assert (attempt.outcome, attempt.error_class) == (expected.outcome, expected.error_class), attempt.message
    for name, tokens in (expected.usage or {}).items():
        assert getattr(attempt.usage, name) == tokens, f"usage.{name}: {attempt.usage}"


def _check_answer(expected: Expected, result: Result, *, ours: bool) -> None:
    if expected.error:
        assert result.error is not None, f"no error: {result.choices}"
        if ours:
            assert type(result.error) is getattr(errors, expected.error)
            assert isinstance(result.error, ProviderError)
            assert expected.code in (None, result.error.code)
        return
    assert result.error is None, result.error
    message = result.message
    if expected.outcome == "failed" or expected.skipped:
        assert message["content"] == NEXT
        return
    assert expected.text in (None, message.get("content") or "")
    assert expected.refusal in (None, message.get("refusal") or "")
    assert expected.reasoning in (None, message.get("reasoning_content") or "")
    assert expected.finish_reason in (None, result.choices[0]["finish_reason"])
    if expected.answers is not None:
        assert [choice["message"]["content"] for choice in result.choices] == expected.answers
    if expected.tool_calls is not None:
        assert len(result.calls) == len(expected.tool_calls)
        assert [
            {name: call[name] for name in wanted}
            for call, wanted in zip(result.calls, expected.tool_calls, strict=True)
        ] == expected.tool_calls
        assert all(call["id"] for call in result.calls)
    for name, value in (expected.message or {}).items():
        assert message.get(name) == value, name


def _check_sent(expected: Expected, bodies: list[Any]) -> None:
    if expected.skipped:
        assert bodies == []
    for name, value in (expected.sent or {}).items():
        assert bodies[-1].get(name) == value, name


def _decoded(oddity: Oddity, pieces: list[bytes]) -> Any:
    """The chunks, joined where they differ only in their cuts; or that the stream is invalid."""
    decoder = WIRES[oddity.format].decoder(oddity.request, _candidate("http://odd.test", oddity))
    try:
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)] + decoder.end()
    except Exception as error:
        return type(error)
    for chunk in chunks:
        del chunk["created"], chunk["id"]
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls", ()):
                call.pop("id", None)
    return chunks, decoder.usage, decoder.finished
