"""Whatever bytes a provider sends, the caller gets an answer or an error of ours."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supa_llm.client import dropin
from supa_llm.client.answers import ChatAnswer, ChatStream
from supa_llm.engine import Engine, Limits, ModelCall, Retries, Timeouts, flow
from supa_llm.errors import SupaLLMError
from tests.providers import corpus
from tests.providers.corpus import FORMATS, MODES, Json, Mode, Oddity
from tests.unit.engine_support import MemoryAccount, candidate

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def _payloads(oddity: Oddity, mode: Mode) -> list[Any]:
    reply = oddity.replies[mode][0]
    if reply.json is not None:
        return [reply.json]
    return [piece["data"] for piece in reply.pieces or () if isinstance(piece, dict) and "data" in piece]


def _changeable(oddity: Oddity, mode: Mode) -> bool:
    if not oddity.dropin or mode not in oddity.replies:
        return False
    usual = (oddity.replies[mode][0].pieces is not None) == (mode == "streamed")
    return usual and bool(_payloads(oddity, mode))


#: Oddities whose replies are JSON or events, so that their fields can be changed.
FILES = {
    (wire, mode): [
        it
        for it in corpus.load()
        # A request that is skipped gets no reply.
        if it.format == wire and _changeable(it, mode) and not it.expected[mode].skipped
    ]
    for wire in FORMATS
    for mode in MODES
}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_LAST", 0.0)


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_foreign_error_leaves_the_clients(wire: str, mode: Mode, data: st.DataObject) -> None:
    oddity = data.draw(st.sampled_from(FILES[wire, mode]))
    payloads = copy.deepcopy(_payloads(oddity, mode))
    for _ in range(data.draw(st.integers(1, 3))):
        _change(data, payloads)
    if mode == "whole":
        body = json.dumps(payloads[0]).encode()
    else:
        body = b"".join(b"data: " + json.dumps(it).encode() + b"\n\n" for it in payloads)
        body += data.draw(st.sampled_from([b"", b"data: [DONE]\n\n"]))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + data.draw(st.integers(0, 3)) :]
    kind = "application/json" if mode == "whole" else "text/event-stream"
    headers = {"content-type": data.draw(st.sampled_from([kind, "application/json", ""]))}
    _ask(oddity, mode, lambda _: httpx.Response(200, headers=headers, content=body))


def _ask(oddity: Oddity, mode: Mode, web: Any) -> None:
    target = candidate("odd", wire_format=oddity.format)
    engine = Engine(httpx.Client(transport=httpx.MockTransport(web)), Limits(20_000, 5_000))
    body = {**oddity.request, "stream": mode == "streamed"}
    call = ModelCall("chat", body, timeouts=Timeouts(5.0, 5.0, 5.0), retries=Retries(0))
    account = MemoryAccount((target,))
    try:
        if mode == "whole":
            _use(ChatAnswer(engine.answer(account, call)))
        else:
            with ChatStream(engine.items(account, call)) as stream:
                assert "".join(stream) == stream.text
                _use(stream.answer)
    except SupaLLMError:
        pass
    (attempt,) = account.attempts
    assert attempt.outcome in ("succeeded", "failed")
    _through_the_openai_package(engine, target, body)


def _use(answer: ChatAnswer) -> None:
    """Read all that a caller may read."""
    answer.text.encode()
    assert isinstance(answer.finish_reason, str)
    for call in answer.tool_calls:
        assert isinstance(call.arguments, dict)
    json.dumps(answer.raw)


def _through_the_openai_package(engine: Engine, target: Any, body: Json) -> None:
    account = MemoryAccount((target,))
    transport = dropin.EngineTransport(
        lambda team: account, engine, timeouts=Timeouts(5.0, 5.0, 5.0), retries=Retries(0)
    )
    request = httpx.Request("POST", "https://supa-llm.invalid/v1/chat/completions", json=body)
    response = transport.handle_request(request)
    response.read().decode()
    assert response.status_code < 600


def _change(data: st.DataObject, payloads: list[Any]) -> None:
    """Drop a value somewhere in the payloads, or replace it."""
    places = list(_places(payloads))
    if not places:
        return
    container, key = data.draw(st.sampled_from(places))
    if isinstance(container, dict) and data.draw(st.booleans()):
        container.pop(key, None)
    elif isinstance(container, dict) or key < len(container):
        container[key] = data.draw(JSON)


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
