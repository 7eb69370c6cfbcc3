"""The most tokens that a request may use, estimated before it is sent; quotas reserve this amount.

An enforced quota needs an upper bound that holds for every model, because the answering candidate is not yet
known. The bound is therefore crude. When usage is known, the database releases what the request did not use.

- Text: its UTF-8 bytes. A token of a byte-level tokenizer is at least one byte in any language, in code and
  in base64. English has about 4 bytes per token and Chinese 3, so the bound is as many times too high. No
  lower bound is safe, because rare scripts and random text come close to one token per byte.
- Overhead of providers: a few tokens for the request, each message and each tool.
- Images: :data:`IMAGE` tokens each, whatever their size.
- Audio: a token for 12 bytes. Gemini counts 32 tokens per second, others fewer, and no codec in use has
  fewer bytes per second.
- Tokens given as numbers: their count.
- Input with ``cache_control``: :data:`CACHE_WRITE` times, because writing to the cache costs more.

Files and videos are the exception: they count as the text that names or contains them, because their pages
and seconds are unknown here.

Every request is estimated, because quotas may turn out to apply to its user. That takes about 9 µs for a
short request and 120 µs for 20 messages with 5 tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supa_llm.wire.base import Kind

#: Tokens of one image: more than gpt-4o-mini's maximum (48,169). Others count fewer: Qwen-VL up to 16,384,
#: GPT-6 14,364 for a photo of 12 megapixels, Claude 4,784, Gemini 1,120.
IMAGE = 49_152
#: Once per request, for a system prompt of the provider, such as that of OpenAI's open models.
REQUEST = 256
#: For each message or text to embed: its role and the separators.
MESSAGE = 16
#: Once per request with tools or a response format, for the provider's instructions (530 tokens for Claude).
INSTRUCTIONS = 1_024
#: How often an input counts that is written to a cache, at most: Anthropic's cache of an hour costs as much.
CACHE_WRITE = 2
#: For each tool: the wrapper of its definition.
TOOL = 32
#: Bytes of text per token, at most: English has about 4, and code with long indentation about 6.
_LONGEST = 8
#: Base64 characters of audio per token.
_SOUND = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most tokens that one attempt may use; ``output_tokens`` is None if the caller sets no limit."""

    input_tokens: int
    output_tokens: int | None


def estimate(kind: Kind, body: Any) -> Estimate:
    """The most tokens that an OpenAI-format body may use, with its limits as ``settled()`` returns them.

    Never raises; an invalid body is never sent.

    Example:
        >>> estimate("embeddings", {"input": [[15339, 1917]]})
        Estimate(input_tokens=2, output_tokens=0)
    """
    if not isinstance(body, Mapping):
        return Estimate(0, 0 if kind == "embeddings" else None)
    if kind == "embeddings":
        return Estimate(_embedded(body.get("input")), 0)
    conversation = "input" if kind == "responses" else "messages"
    messages, tools = _list(body.get(conversation)), _list(body.get("tools"))
    # Other parts of the body may end up in the prompt, as tools, schemas and an input that is a text do.
    rest = {name: value for name, value in body.items() if name != conversation or value is not messages}
    tokens = (
        REQUEST
        + sum(map(_message, messages))
        + (INSTRUCTIONS if tools or body.get("response_format") or body.get("text") else 0)
        + TOOL * len(tools)
        + sum(map(_written, rest.items()))
    )
    caches = any(map(_caches, (body, *messages, *tools)))
    return Estimate(tokens * (CACHE_WRITE if caches else 1), output_limit(kind, body))


def exceeds(body: Mapping[str, Any], most: int, context_tokens: int | None) -> bool:
    """Whether a request is certainly longer than a context window, so that sending it would be in vain.

    In doubt it is not: a token counts as :data:`_LONGEST` bytes of text, which is twice as much as usual, and
    images, audio and the output count as nothing.

    Args:
        most: the estimate of its input tokens, which spares short requests the rest.

    Example:
        >>> exceeds({"messages": [{"role": "user", "content": "word " * 100_000}]}, 500_256, 8_192)
        True
    """
    if context_tokens is None or most <= context_tokens:
        return False
    conversation = body.get("messages") or body.get("input") or ()
    items = [conversation] if isinstance(conversation, str) else _list(conversation)
    return sum(map(_text, items)) // _LONGEST > context_tokens


def _text(item: Any) -> int:
    """Bytes of the text in a text, message or list of parts."""
    if isinstance(item, str):
        return len(item.encode("utf-8", "surrogatepass"))
    if isinstance(item, list):
        return sum(map(_text, item))
    if isinstance(item, Mapping):
        return sum(_text(item[name]) for name in ("content", "text", "output") if name in item)
    return 0


def output_limit(kind: Kind, body: Mapping[str, Any]) -> int | None:
    """The caller's limit of output tokens, times the number of answers."""
    if kind == "embeddings":
        return None
    if kind == "responses":
        return body.get("max_output_tokens")
    limit = body.get("max_completion_tokens")
    return None if limit is None else limit * (body.get("n") or 1)


def _caches(part: Any) -> bool:
    """Whether a part, or one of the parts of its content, is to be written to Anthropic's cache."""
    if not isinstance(part, Mapping):
        return False
    parts = _list(part.get("content"))
    return "cache_control" in part or any("cache_control" in it for it in parts if isinstance(it, Mapping))


def _message(message: Any) -> int:
    """Tokens of a message, or of an item of a response, whose content may be the output of a tool."""
    if not isinstance(message, Mapping):
        return 0
    rest = {name: value for name, value in message.items() if name not in ("content", "output")}
    result = _content(message["output"]) if "output" in message else 0
    return MESSAGE + _written(rest) + _content(message.get("content")) + result


def _content(content: Any) -> int:
    if isinstance(content, str):
        return _written(content)
    return sum(map(_part, content)) if isinstance(content, list) else _part(content)


def _part(part: Any) -> int:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in ("image_url", "input_image", "computer_screenshot"):
        return IMAGE
    if kind == "input_audio":
        sound = part.get("input_audio")
        data = sound.get("data") if isinstance(sound, Mapping) else None
        return MESSAGE + (len(data) // _SOUND if isinstance(data, str) else 0)
    return _written(part)


def _embedded(wanted: Any) -> int:
    """Tokens of a text, several texts, numbers, or several lists of numbers."""
    if not isinstance(wanted, list):
        return MESSAGE + _written(wanted)
    numbers = sum(type(item) is int for item in wanted)
    lists = (item for item in wanted if isinstance(item, list))
    texts = (item for item in wanted if not isinstance(item, int | list))
    return numbers + sum(map(len, lists)) + sum(MESSAGE + _written(text) for text in texts)


def _written(value: Any) -> int:
    """Bytes of a text, or of a value as JSON, which contains all of its texts."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    try:
        return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return 0  # not JSON, so it is never sent


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
