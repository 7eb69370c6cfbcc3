"""Usage that a provider reports, in the shape that is recorded.

Each format's usage becomes an OpenAI ``usage`` object, which callers see, and that object becomes
:class:`~supa_llm.values.receipts.Usage`. Where OpenAI's chats have no name for a part, the object has one
that callers may know: ``video_tokens`` is OpenRouter's, ``cache_creation_token_details`` LiteLLM's, and
``cached_tokens_details`` that of OpenAI's Realtime API.

Parts never exceed what they are part of. A provider that miscounts has its parts cut: the database refuses
counts that contradict each other, and an event that is a little off is better than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from supa_llm.values.receipts import Usage
from supa_llm.wire.base import Json

#: Counts above this are no counts of tokens.
_LARGEST = 999_999_999
#: Where OpenAI-compatible providers say the same, OpenAI's own place first.
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("cached_tokens",),  # Moonshot
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cache_read_input_tokens",),  # Databricks, LiteLLM
)
_WRITTEN = (
    ("prompt_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_tokens"),  # LiteLLM
    ("cache_creation_input_tokens",),  # Databricks, LiteLLM
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),  # Perplexity, Databricks
)
#: The names of a response's usage that differ from a chat's.
_CHAT_NAMES = {
    "input_tokens": "prompt_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens": "completion_tokens",
    "output_tokens_details": "completion_tokens_details",
}
#: Names of the tier that requests get by default.
_STANDARD = frozenset({"auto", "default", "standard", "on_demand"})


def read_usage(usage: Any) -> Usage:
    """Tokens from an OpenAI ``usage`` object, of a chat or a response; None if it does not report them.

    Example:
        >>> read_usage({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 5}})
        Usage(input_tokens=9, cached_input_tokens=4, ..., other_tokens={'input_audio': 5})
    """
    usage = _of_responses(usage)
    # No prompt has 0 tokens. Some servers report zeros if they do not count.
    entered = _count(usage, "prompt_tokens") or None
    left = _count(usage, "completion_tokens")
    if not entered and not left:
        left = None
    reasoning = _first(usage, _REASONING)
    total = (entered or 0) + (left or 0) + (reasoning or 0)
    if reasoning and left is not None and _count(usage, "total_tokens") == total:
        left += reasoning  # some providers count reasoning beside the completion; their total gives it away
    cached, written = _fit(entered, _first(usage, _CACHED), _first(usage, _WRITTEN))
    thoughts, *generated = _fit(left, reasoning, *_modalities(usage, "completion_tokens_details"))
    given = _fit(entered, *_modalities(usage, "prompt_tokens_details"))
    reread = _modalities(usage, "prompt_tokens_details", "cached_tokens_details")
    reread = _fit(cached, *_fit(given[0], reread[0]), *_fit(given[1], reread[1]))
    hour = ("prompt_tokens_details", "cache_creation_token_details", "ephemeral_1h_input_tokens")
    others = {
        **dict(zip(("cache_write_1h",), _fit(written, _count(usage, *hour)), strict=True)),
        **dict(zip(("input_audio", "input_image", "input_video"), given, strict=True)),
        **dict(zip(("cached_input_audio", "cached_input_image"), reread, strict=True)),
        **dict(zip(("output_audio", "output_image", "output_video"), generated, strict=True)),
    }
    return Usage(
        input_tokens=entered,
        cached_input_tokens=cached,
        output_tokens=left,
        reasoning_tokens=thoughts,
        cache_write_tokens=written,
        other_tokens={unit: tokens for unit, tokens in others.items() if tokens},
    )


def _of_responses(usage: Any) -> Any:
    """The usage of a response under the names of a chat's."""
    if not isinstance(usage, Mapping) or "prompt_tokens" in usage or "input_tokens" not in usage:
        return usage
    return {_CHAT_NAMES.get(name, name): value for name, value in usage.items()}


def reported(payload: Mapping[str, Any]) -> Json | None:
    """The usage in an answer or a chunk of the OpenAI format, from any of the usual places."""
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    places = (payload, first, payload.get("x_groq"))  # Moonshot's is in the choice
    usages = (place.get("usage") for place in places if isinstance(place, Mapping))
    return next((usage for usage in usages if usage and isinstance(usage, dict)), None)


def updated(known: Json | None, later: Any) -> Json | None:
    """The usage after a later report. Counts are cumulative, so a zero does not replace a count.

    Example:
        >>> updated({"prompt_tokens": 9}, {"prompt_tokens": 0, "completion_tokens": "5"})
        {'prompt_tokens': 9, 'completion_tokens': 5}
    """
    if not later or not isinstance(later, dict):
        return known
    result = dict(known or {})
    for name, value in later.items():
        before = result.get(name)
        if isinstance(value, dict):
            result[name] = updated(before if isinstance(before, dict) else None, value) or before or value
        else:
            count = _whole(value)
            if not before or (value is not None and count != 0):
                result[name] = value if count is None else count
    return result


def known_tier(tier: Any) -> str | None:
    """A requested or reported service tier in lower case; None for the standard tier or no tier."""
    tier = tier.lower() if isinstance(tier, str) else ""
    return tier if re.fullmatch(r"[a-z0-9_-]{1,32}", tier) and tier not in _STANDARD else None


def of_anthropic(tokens: Mapping[str, Any]) -> Json | None:
    """Anthropic's ``usage``, whose ``input_tokens`` exclude tokens read from and written to its cache."""
    cached = _count(tokens, "cache_read_input_tokens") or 0
    written = _count(tokens, "cache_creation_input_tokens")
    hour = _count(tokens, "cache_creation", "ephemeral_1h_input_tokens")
    fresh = _count(tokens, "input_tokens")
    return _openai_usage(
        None if fresh is None else fresh + cached + (written or 0),
        _count(tokens, "output_tokens"),
        {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": hour} if hour else None,
        },
        {"reasoning_tokens": _count(tokens, "output_tokens_details", "thinking_tokens")},
    )


def tier_of_anthropic(tokens: Mapping[str, Any]) -> str | None:
    """The tier in Anthropic's ``usage``. Fast mode has its own prices and is reported separately."""
    return known_tier(tokens.get("speed")) or known_tier(tokens.get("service_tier"))


def of_google(tokens: Mapping[str, Any]) -> Json | None:
    """Google's ``usageMetadata``, which omits zeros and counts thoughts and tool use separately."""
    prompt = _count(tokens, "promptTokenCount")
    thoughts = _count(tokens, "thoughtsTokenCount") or 0
    inputs = ("promptTokensDetails", "toolUsePromptTokensDetails")
    reread = _by_modality(tokens, "cacheTokensDetails")
    return _openai_usage(
        None if prompt is None else prompt + (_count(tokens, "toolUsePromptTokenCount") or 0),
        None if prompt is None else (_count(tokens, "candidatesTokenCount") or 0) + thoughts,
        {
            "cached_tokens": _count(tokens, "cachedContentTokenCount") or 0,
            **_by_modality(tokens, *inputs),
            "cached_tokens_details": reread or None,
        },
        {"reasoning_tokens": thoughts, **_by_modality(tokens, "candidatesTokensDetails")},
    )


#: Pages of a document are priced as the images that they are read as.
_MODALITIES = {
    "AUDIO": "audio_tokens",
    "IMAGE": "image_tokens",
    "DOCUMENT": "image_tokens",
    "VIDEO": "video_tokens",
}


def _by_modality(tokens: Mapping[str, Any], *lists: str) -> dict[str, int]:
    """The sums of Google's lists of ``{modality, tokenCount}``, by OpenAI's name; text is the rest."""
    sums: dict[str, int] = {}
    for item in (item for name in lists for item in _items(tokens.get(name))):
        name = _MODALITIES.get(str(item.get("modality")))
        if name and (tokens_of := _count(item, "tokenCount")):
            sums[name] = sums.get(name, 0) + tokens_of
    return sums


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _openai_usage(
    entered: int | None, left: int | None, into: Mapping[str, Any], out: Mapping[str, Any]
) -> Json | None:
    """An OpenAI ``usage`` object: ``entered`` includes cached tokens, ``left`` reasoning. Without nulls.

    None if neither is reported.
    """
    if entered is None and left is None:
        return None
    details = {"prompt_tokens_details": into, "completion_tokens_details": out}
    known = {
        name: {part: value for part, value in parts.items() if value is not None}
        for name, parts in details.items()
    }
    totals = {
        "prompt_tokens": entered,
        "completion_tokens": left,
        "total_tokens": None if entered is None or left is None else entered + left,
    }
    return {
        **{name: count for name, count in totals.items() if count is not None},
        **{name: parts for name, parts in known.items() if parts},
    }


def _modalities(usage: Any, *path: str) -> list[int | None]:
    return [_count(usage, *path, name) for name in ("audio_tokens", "image_tokens", "video_tokens")]


def _fit(room: int | None, *parts: int | None) -> list[int | None]:
    """The parts, capped so that their sum does not exceed ``room``; none without a room."""
    fitted: list[int | None] = []
    for part in parts:
        share = None if part is None or room is None else min(part, room)
        room = room if room is None else room - (share or 0)
        fitted.append(share)
    return fitted


def _first(of: Any, places: tuple[tuple[str, ...], ...]) -> int | None:
    return next((tokens for place in places if (tokens := _count(of, *place)) is not None), None)


def _count(of: Any, *path: str) -> int | None:
    for name in path:
        of = of.get(name) if isinstance(of, Mapping) else None
    count = _whole(of)
    return count if count is not None and 0 <= count <= _LARGEST else None


def _whole(value: Any) -> int | None:
    """A count as an integer; some servers send ``11.0`` or ``"11"``."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None
