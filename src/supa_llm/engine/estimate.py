"""How many tokens a request may use at most, said before it is sent: what is reserved of a quota.

A quota that must not be passed needs an upper bound, and one that holds for every model, because nobody knows
yet which candidate answers. So the bound is crude on purpose; what a request did not use is given back once
its usage is known.

- Text: its UTF-8 bytes. A token of a byte-level tokenizer is at least one byte, in any language, of code and
  of base64 alike. English has about 4 bytes a token and Chinese 3, so as many times more is reserved; nothing
  less is safe, since rare scripts and noise do come near a token a byte.
- What providers wrap around it: a little for the request, for each message and for each tool.
- Images: :data:`IMAGE` each, whatever their data.
- Sound: a token for 12 bytes. Gemini counts 32 a second, others fewer, and no codec in use is as thrifty.
- Tokens that come as numbers: as many as there are.

Files and videos are the exception. They count as the text that names or holds them: how many pages or seconds
they have, nobody knows here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supa_llm.wire.base import Kind

#: Tokens of one image, above the most that gpt-4o-mini counts (48,169). Others count fewer: Qwen-VL up to
#: 16,384, GPT-6 14,364 for a photo of 12 megapixels, Claude 4,784, Gemini 1,120.
IMAGE = 49_152
#: Once for a request: OpenAI's open models, for one, have a system prompt of their own.
REQUEST = 256
#: For a message, or a text to embed: its role and what stands between messages.
MESSAGE = 16
#: Once where there are tools or a form for the answer: what models are told about them, Claude in 530 tokens.
INSTRUCTIONS = 1_024
#: For each tool: what its definition is wrapped in.
TOOL = 32
#: Base64 characters of sound to the token.
_SOUND = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most tokens that one attempt may use; ``output_tokens`` is None where the caller set no bound."""

    input_tokens: int
    output_tokens: int | None


def estimate(kind: Kind, body: Any) -> Estimate:
    """The most that an OpenAI-format body may use. Never raises: a body that is none cannot be sent either.

    Example:
        >>> estimate("embeddings", {"input": [[15339, 1917]]})
        Estimate(input_tokens=2, output_tokens=0)
    """
    if not isinstance(body, Mapping):
        return Estimate(0, None if kind == "chat" else 0)
    if kind == "embeddings":
        return Estimate(_embedded(body.get("input")), 0)
    messages, tools = _list(body.get("messages")), _list(body.get("tools"))
    # Whatever else is in the body may end up in the prompt, as tools and schemas do.
    rest = {name: value for name, value in body.items() if name != "messages"}
    return Estimate(
        REQUEST
        + sum(map(_message, messages))
        + (INSTRUCTIONS if tools or body.get("response_format") else 0)
        + TOOL * len(tools)
        + sum(map(_written, rest.items())),
        _output(body),
    )


def _output(body: Mapping[str, Any]) -> int | None:
    """What the caller allows, for each of the answers that they want; both names mean the same."""
    limit = body.get("max_completion_tokens")
    limit = _positive(body.get("max_tokens") if limit is None else limit)
    return None if limit is None else limit * (_positive(body.get("n")) or 1)


def _message(message: Any) -> int:
    if not isinstance(message, Mapping):
        return 0
    rest = {name: value for name, value in message.items() if name != "content"}
    return MESSAGE + _written(rest) + _content(message.get("content"))


def _content(content: Any) -> int:
    return sum(map(_part, content)) if isinstance(content, list) else _written(content)


def _part(part: Any) -> int:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "image_url":
        return IMAGE
    if kind == "input_audio":
        sound = part.get("input_audio")
        data = sound.get("data") if isinstance(sound, Mapping) else None
        return MESSAGE + (len(data) // _SOUND if isinstance(data, str) else 0)
    return _written(part)


def _embedded(wanted: Any) -> int:
    """Tokens of a text, of several, of numbers, or of several lists of numbers."""
    if not isinstance(wanted, list):
        return MESSAGE + _written(wanted)
    numbers = sum(type(item) is int for item in wanted)
    lists = (item for item in wanted if isinstance(item, list))
    texts = (item for item in wanted if not isinstance(item, int | list))
    return numbers + sum(map(len, lists)) + sum(MESSAGE + _written(text) for text in texts)


def _written(value: Any) -> int:
    """Bytes of a text, or of a value as JSON, which has all texts in it."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    try:
        return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return 0  # no JSON, so that it cannot be sent


def _positive(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
