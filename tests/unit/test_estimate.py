"""The estimate of a request's tokens: never less than its usage, for any body."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supa_llm.engine.estimate import IMAGE, INSTRUCTIONS, MESSAGE, REQUEST, Estimate, estimate, exceeds


def chat(*contents: Any, **body: Any) -> Estimate:
    messages = [{"role": "user", "content": content} for content in contents]
    return estimate("chat", {"messages": messages, **body})


@pytest.mark.parametrize(
    "text", ["Hello there", "你好世界", "x = {'a': [1, 2]}", "🦜" * 9, "aGVsbG8=", "\ud800"]
)
def test_a_text_counts_its_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    plain = chat("")
    assert chat(text).input_tokens == plain.input_tokens + size
    part = chat([{"type": "text", "text": text}]).input_tokens
    assert size <= part - plain.input_tokens <= 2 * size + 40


def test_an_estimate_of_prose_is_close_to_its_length() -> None:
    prose = "The quick brown fox jumps over the lazy dog. " * 200
    assert chat(prose).input_tokens < 1.1 * len(prose)


@given(st.lists(st.text(), max_size=6), st.text(max_size=50))
def test_an_estimate_covers_every_text_of_a_request(texts: list[str], description: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": description, "parameters": {}}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": description}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": description}}
    turns = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": texts}]
    messages = [{"role": "user", "content": text} for text in texts]
    estimated = estimate(
        "chat", {"messages": [*messages, *turns], "tools": [tool], "response_format": schema}
    ).input_tokens
    size = 2 * _size("".join(texts)) + 3 * _size(description)
    assert estimated >= size + REQUEST + INSTRUCTIONS + MESSAGE * (len(texts) + 2)


def _size(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("x" * 800, 100),
        ([{"type": "text", "text": "x" * 400}, {"type": "text", "text": "x" * 400}], 100),
        # What an image, a sound or a tool call counts depends on the model.
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "x" * 10_000}}], 0),
        (None, 0),
    ],
)
def test_a_request_exceeds_a_context_window_only_if_its_text_does_for_certain(
    content: Any, tokens: int
) -> None:
    body = {"messages": [{"role": "user", "content": content}], "tools": [{"type": "function"}]}
    most = estimate("chat", body).input_tokens
    assert not exceeds(body, most, None)
    assert not exceeds(body, most, max(tokens, 1))
    assert tokens == 0 or exceeds(body, most, tokens - 1)


@pytest.mark.parametrize("wanted", ["x" * 800, ["x" * 400, "x" * 400], [{"content": "x" * 800}]])
def test_texts_to_embed_and_items_of_a_response_count(wanted: Any) -> None:
    assert exceeds({"input": wanted}, 1000, 99)
    assert not exceeds({"input": wanted}, 1000, 100)


def test_an_image_counts_the_same_as_a_url_and_inline() -> None:
    without = chat([]).input_tokens
    for url in ("https://pictures.test/1.png", "data:image/png;base64," + "A" * 5_000_000, None):
        image = {"type": "image_url", "image_url": {"url": url}}
        assert chat([image]).input_tokens == without + IMAGE
        assert chat([image, image]).input_tokens == without + 2 * IMAGE


def test_audio_counts_by_its_length() -> None:
    second = "A" * (1_000 * 4 // 3)  # of the thinnest MP3 there is, 8 kbit/s
    sound = {"type": "input_audio", "input_audio": {"data": second * 60, "format": "mp3"}}
    estimated = chat([sound]).input_tokens - chat([]).input_tokens
    assert 60 * 32 <= estimated <= len(second) * 60 / 10


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, None),
        ({"max_completion_tokens": 200}, 200),
        ({"max_completion_tokens": None}, None),
        ({"max_completion_tokens": 200, "n": 3}, 600),
        ({"max_completion_tokens": 200, "n": None}, 200),
        ({"n": 3}, None),
    ],
)
def test_only_the_caller_limits_the_output(body: dict[str, Any], tokens: int | None) -> None:
    assert chat("Hi", **body).output_tokens == tokens


@pytest.mark.parametrize(
    ("wanted", "tokens"),
    [
        ([1, 2, 3], 3),
        ([[1, 2, 3], [4]], 4),
        ([], 0),
        ("héllo", MESSAGE + 6),
        (["héllo", "a"], 2 * MESSAGE + 7),
    ],
)
def test_embeddings(wanted: Any, tokens: int) -> None:
    assert estimate("embeddings", {"input": wanted}) == Estimate(tokens, 0)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "image_url", "input_audio", "file"]), "input_audio": inner}
        )
        | st.fixed_dictionaries({"role": inner, "content": inner})
    ),
    max_leaves=20,
)
BODIES = JSON | st.dictionaries(st.sampled_from(["messages", "input", "tools", "response_format", "x"]), JSON)


@given(st.sampled_from(["chat", "embeddings"]), BODIES)
def test_any_body_has_an_estimate(kind: Any, body: Any) -> None:
    estimated = estimate(kind, body)
    assert estimated.input_tokens >= 0
    assert estimated.output_tokens is None or estimated.output_tokens >= 0


def test_a_cyclic_or_very_deep_body_has_an_estimate() -> None:
    circle: dict[str, Any] = {"role": "user"}
    circle["content"] = [circle]
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for content in (circle, [circle], deep):
        assert chat(content).input_tokens >= REQUEST


def test_estimating_takes_linear_time() -> None:
    parts = [{"type": "text", "text": "word " * 20}] * 20_000
    started = time.perf_counter()
    estimated = chat(parts)
    assert estimated.input_tokens > len(json.dumps(parts)) * 0.9
    assert time.perf_counter() - started < 2


def test_input_for_anthropics_cache_counts_twice() -> None:
    hint = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "Hi"}
    tool = {"type": "function", "function": {"name": "f"}}
    plain = {"messages": [{"role": "user", "content": [text]}], "tools": [tool]}
    once = estimate("chat", plain).input_tokens
    for body in (
        {**plain, **hint},
        {**plain, "messages": [{"role": "user", "content": [text], **hint}]},
        {**plain, "messages": [{"role": "user", "content": [{**text, **hint}]}]},
        {**plain, "tools": [{**tool, **hint}]},
    ):
        assert estimate("chat", body).input_tokens >= 2 * once
