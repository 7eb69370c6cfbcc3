"""Usage: the field names of each format, separately priced parts, and contradictory counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supa_llm.values.receipts import Usage
from supa_llm.wire.anthropic import AnthropicDecoder
from supa_llm.wire.openai import OpenAIDecoder
from supa_llm.wire.usage import known_tier, of_anthropic, of_google, read_usage, tier_of_anthropic


def test_openais_token_details_are_read() -> None:
    reported = {
        "prompt_tokens": 3_000,
        "completion_tokens": 500,
        "total_tokens": 3_500,
        "prompt_tokens_details": {
            "cached_tokens": 1_024,
            "cache_write_tokens": 512,
            "audio_tokens": 200,
            "image_tokens": 300,
            "text_tokens": 2_500,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 100,
            "audio_tokens": 250,
            "accepted_prediction_tokens": 7,
        },
    }
    assert read_usage(reported) == Usage(
        3_000,
        1_024,
        500,
        100,
        cache_write_tokens=512,
        other_tokens={"input_audio": 200, "input_image": 300, "output_audio": 250},
    )


def test_zeros_are_not_other_tokens() -> None:
    details = {"audio_tokens": 0, "cached_tokens": 0}
    reported = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": details}
    assert read_usage(reported) == Usage(5, 0, 1)


@pytest.mark.parametrize(
    ("reported", "cached", "written", "reasoning"),
    [
        ({"cached_tokens": 4}, 4, None, None),
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, 4, None, None),
        ({"cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}, 4, 3, None),
        ({"prompt_tokens_details": {"cached_tokens": 4, "cache_creation_tokens": 3}}, 4, 3, None),
        ({"prompt_tokens_details": {"cached_tokens": 4}, "cached_tokens": 9}, 4, None, None),
        ({"reasoning_tokens": 2}, None, None, 2),
    ],
)
def test_alternative_field_names_are_read(
    reported: dict[str, Any], cached: int | None, written: int | None, reasoning: int | None
) -> None:
    usage = read_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **reported})
    assert usage == Usage(10, cached, 5, reasoning, cache_write_tokens=written)


ANTHROPIC = {
    "input_tokens": 5,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 12},
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 4},
    "service_tier": "standard",
}


def test_anthropics_input_includes_cache_reads_and_writes() -> None:
    made = of_anthropic(ANTHROPIC)
    assert made is not None
    assert (made["prompt_tokens"], made["total_tokens"]) == (125, 134)
    assert read_usage(made) == Usage(
        125, 100, 9, 4, cache_write_tokens=20, other_tokens={"cache_write_1h": 12}
    )


def test_anthropics_stream_reports_its_cache_first_and_its_output_last() -> None:
    usage = {name: value for name, value in ANTHROPIC.items() if name != "output_tokens_details"}
    start = {"id": "m", "model": "c", "usage": {**usage, "output_tokens": 1, "service_tier": "priority"}}
    decoder = AnthropicDecoder()
    chunks = decoder.feed(
        _events({"type": "message_start", "message": start})
        + _events(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
        )
    )
    assert read_usage(decoder.usage) == Usage(
        125, 100, 9, None, cache_write_tokens=20, other_tokens={"cache_write_1h": 12}
    )
    assert decoder.service_tier == "priority"
    assert {made["service_tier"] for made in chunks} == {"priority"}


def test_googles_modalities() -> None:
    reported = {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 400,
        "toolUsePromptTokenCount": 50,
        "candidatesTokenCount": 70,
        "thoughtsTokenCount": 30,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 100},
            {"modality": "AUDIO", "tokenCount": 300},
            {"modality": "IMAGE", "tokenCount": 258},
            {"modality": "DOCUMENT", "tokenCount": 42},
            {"modality": "VIDEO", "tokenCount": 300},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 250}, {"modality": "TEXT"}],
        "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 50}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 60}],
    }
    assert read_usage(of_google(reported)) == Usage(
        1_050,
        400,
        100,
        30,
        other_tokens={
            "input_audio": 300,
            "input_image": 350,
            "input_video": 300,
            "cached_input_audio": 250,
            "output_image": 60,
        },
    )


@pytest.mark.parametrize(
    "details", [None, {}, "AUDIO", [None, 1, {"modality": "AUDIO", "tokenCount": "nine"}]]
)
def test_invalid_details_from_google_are_skipped(details: Any) -> None:
    reported = {"promptTokenCount": 5, "candidatesTokenCount": 2, "promptTokensDetails": details}
    assert read_usage(of_google(reported)) == Usage(5, 0, 2, 0)


def test_parts_never_exceed_their_total() -> None:
    reported = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {
            "cached_tokens": 8,
            "cache_write_tokens": 8,
            "audio_tokens": 9,
            "image_tokens": 9,
            "cached_tokens_details": {"audio_tokens": 20, "image_tokens": 20},
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": 20},
        },
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 4},
    }
    assert read_usage(reported) == Usage(
        10,
        8,
        5,
        4,
        cache_write_tokens=2,
        other_tokens={
            "cache_write_1h": 2,
            "input_audio": 9,
            "input_image": 1,
            "cached_input_audio": 8,
            "output_audio": 1,
        },
    )


def test_parts_of_an_unreported_total_are_unreported() -> None:
    details = {"cached_tokens": 8, "audio_tokens": 9}
    assert read_usage({"prompt_tokens_details": details, "completion_tokens": 5}) == Usage(output_tokens=5)


COUNTS = st.none() | st.integers(-1, 40) | st.just(2**40) | st.just("7") | st.booleans()
NAMES = [
    "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_write_tokens",
    "audio_tokens", "image_tokens", "video_tokens", "reasoning_tokens", "cache_creation_input_tokens",
    "ephemeral_1h_input_tokens",
]  # fmt: skip
FLAT = st.dictionaries(st.sampled_from(NAMES), COUNTS)
DETAILS = st.builds(
    lambda flat, reread, hour: {
        **flat,
        "cached_tokens_details": reread,
        "cache_creation_token_details": hour,
    },
    FLAT,
    FLAT,
    FLAT,
)


@given(FLAT, DETAILS | COUNTS, DETAILS | COUNTS)
def test_no_counts_contradict_each_other(flat: dict[str, Any], into: Any, out: Any) -> None:
    usage = read_usage({**flat, "prompt_tokens_details": into, "completion_tokens_details": out})
    entered, left = usage.input_tokens or 0, usage.output_tokens or 0
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    other = usage.other_tokens
    assert all(type(tokens) is int and tokens > 0 for tokens in other.values())
    assert min(cached, written, usage.reasoning_tokens or 0) >= 0
    assert cached + written <= entered < 2**31
    assert other.get("cache_write_1h", 0) <= written
    assert (usage.reasoning_tokens or 0) + _sum(other, "output") <= left < 2**31
    assert _sum(other, "input") <= entered
    assert _sum(other, "cached_input") <= cached
    for modality in ("audio", "image"):
        assert other.get(f"cached_input_{modality}", 0) <= other.get(f"input_{modality}", 0)


def _sum(other: Any, prefix: str) -> int:
    return sum(other.get(f"{prefix}_{modality}", 0) for modality in ("audio", "image", "video"))


@pytest.mark.parametrize("said", [None, "auto", "default", "standard", "on_demand", "", "x" * 33, "a b", 1])
def test_the_standard_tier_and_invalid_names_are_no_tier(said: Any) -> None:
    assert known_tier(said) is None


@pytest.mark.parametrize(
    ("said", "tier"), [("flex", "flex"), ("Priority", "priority"), ("scale-2", "scale-2")]
)
def test_service_tiers(said: str, tier: str) -> None:
    assert known_tier(said) == tier


@pytest.mark.parametrize(
    ("reported", "tier"),
    [
        ({}, None),
        ({"service_tier": "standard", "speed": "standard"}, None),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
    ],
)
def test_anthropics_tiers(reported: dict[str, Any], tier: str | None) -> None:
    assert tier_of_anthropic(reported) == tier


def test_any_chunk_of_an_openai_stream_can_have_the_tier() -> None:
    decoder = OpenAIDecoder()
    decoder.feed(_events({"choices": [], "service_tier": None}, {"choices": [], "service_tier": "flex"}))
    decoder.feed(_events({"choices": [], "usage": {"prompt_tokens": 1}}))
    assert decoder.service_tier == "flex"


def _events(*payloads: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)
