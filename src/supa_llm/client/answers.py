"""The bodies and answers of ``chat()``, ``stream()`` and ``embed()``."""

from __future__ import annotations

import base64
import difflib
import json
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from supa_llm.engine.effects import Answer, Item, Opened
from supa_llm.errors import InvalidInputError, ProviderError
from supa_llm.values.arguments import check
from supa_llm.values.receipts import Attempt, Receipt
from supa_llm.values.routes import Candidate
from supa_llm.wire.assemble import Assembler
from supa_llm.wire.base import Json, arguments_of

#: Arguments of ``chat()`` and ``embed()``, for which other names are mistyped.
_OF_CHAT = (
    "prompt", "task", "model", "tools", "schema", "max_tokens", "temperature", "timeout", "attempt_timeout",
)  # fmt: skip
_OF_EMBED = ("texts", "task", "model", "dimensions", "timeout", "attempt_timeout")
_SIMILAR = 0.75  # below it, parameters of providers would resemble these


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call by the model. ``arguments`` are parsed; return ``id`` with the tool's result."""

    id: str
    name: str
    arguments: Mapping[str, Any]


class ChatAnswer:
    """The answer of a model.

    Attributes:
        receipt: which attempt answered and whose key paid.
        raw: the complete answer in the OpenAI format (``chat.completion``).

    Example:
        >>> answer = llm.chat("Name three colors", task="speed")
        >>> print(answer.text, answer.answered_by.key_source)
    """

    def __init__(self, answer: Answer, schema: Any = None) -> None:
        self.raw: Mapping[str, Any] = answer.payload
        self.receipt: Receipt = answer.receipt
        self._schema = schema

    @property
    def message(self) -> Json:
        """The assistant's message; append it to the conversation unchanged."""
        return dict(self.raw["choices"][0]["message"])

    @property
    def text(self) -> str:
        """The text of the answer; empty if the model only calls tools or refuses."""
        return self.message.get("content") or ""

    @property
    def refusal(self) -> str | None:
        """The model's refusal; None if it did not refuse."""
        return self.message.get("refusal") or None

    @property
    def finish_reason(self) -> str:
        """``stop``, ``length``, ``tool_calls`` or ``content_filter``."""
        return self.raw["choices"][0].get("finish_reason") or "stop"

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The model's calls of function tools, in its order; those of custom tools are in ``message``."""
        return [
            ToolCall(call.get("id") or "", call["function"]["name"], arguments_of(call))
            for call in self.message.get("tool_calls") or ()
            if "function" in call
        ]

    @cached_property
    def parsed(self) -> Any:
        """The parsed JSON answer: an instance of the pydantic model in ``schema``, or plain Python values.

        Raises:
            ProviderError: the answer does not follow the schema (code ``answer_not_parsable``).
        """
        try:
            if hasattr(self._schema, "model_validate_json"):
                return self._schema.model_validate_json(self.text)
            return json.loads(self.text)
        except ValueError as error:
            raise ProviderError(
                f"The answer is not the requested JSON (finish reason {self.finish_reason!r}).",
                code="answer_not_parsable",
                hint=self.refusal or "Allow more tokens, or use a model that supports JSON schemas.",
                receipt=self.receipt,
            ) from error

    @property
    def answered_by(self) -> Attempt:
        """The attempt that answered, with provider, model, key source and tokens."""
        return self.receipt.attempts[-1]

    def __repr__(self) -> str:
        return f"ChatAnswer(text={self.text!r}, finish_reason={self.finish_reason!r})"


class Embeddings:
    """Vectors, one per text, in the order of the texts.

    Attributes:
        vectors: lists of floats.
        receipt: which attempt answered and whose key paid.
        raw: the complete answer in the OpenAI format.
    """

    def __init__(self, answer: Answer) -> None:
        self.raw: Mapping[str, Any] = answer.payload
        self.receipt: Receipt = answer.receipt
        self.vectors: list[list[float]] = [_floats(item["embedding"]) for item in answer.payload["data"]]

    @property
    def answered_by(self) -> Attempt:
        """The attempt that answered, with provider, model, key source and tokens."""
        return self.receipt.attempts[-1]

    def __repr__(self) -> str:
        return f"Embeddings({len(self.vectors)} vectors)"


class _StreamState:
    """What a stream has yielded so far."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._assembler = Assembler()
        self._opened: Opened | None = None
        self._ended: Answer | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        choices = self._assembler.completion["choices"]
        return (choices[0]["message"].get("content") or "") if choices else ""

    @property
    def request_id(self) -> UUID | None:
        """UUIDv7 of the request, once the first content has arrived."""
        return self._opened.request_id if self._opened else None

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that answers, once the first content has arrived."""
        return self._opened.candidate if self._opened else None

    @property
    def answer(self) -> ChatAnswer:
        """The complete answer, once the stream has ended. Raises InvalidInputError before that."""
        if self._ended is None:
            raise InvalidInputError("The stream has not ended. Read it to its end first.")
        return ChatAnswer(replace(self._ended, payload=self._assembler.completion), self._schema)

    @property
    def receipt(self) -> Receipt | None:
        """Which attempt answered and whose key paid, once the stream has ended."""
        return self._ended.receipt if self._ended else None

    @property
    def answered_by(self) -> Attempt:
        """The attempt that answered, once the stream has ended. Raises InvalidInputError before that."""
        return self.answer.answered_by

    def _take(self, item: Item) -> Json | None:
        """Take an item of the flow; return it if it is a chunk."""
        if isinstance(item, dict):
            self._assembler.add(item)
            return item
        if isinstance(item, Opened):
            self._opened = item
        else:
            self._ended = item
        return None


class ChatStream(_StreamState):
    """An answer that arrives in pieces; iterate it for the pieces of its text.

    Leaving the ``with`` block or calling :meth:`close` before the end cancels the request. Its attempt is
    recorded as cancelled, with the tokens that the provider has reported.

    Raises (on entering or iterating):
        NoCandidateError, ProviderError: no provider answered.
        StreamInterruptedError: the answer broke off after its first piece.

    Example:
        >>> with llm.stream("Tell me a story") as story:
        ...     for piece in story:
        ...         print(piece, end="")
        >>> story.answered_by.provider
    """

    def __init__(self, items: Iterator[Item], schema: Any = None) -> None:
        super().__init__(schema)
        self._items = items

    def open(self) -> Self:
        """Send the request and wait for the first content."""
        if self._opened is None:
            for item in self._items:
                self._take(item)
                break
        return self

    def chunks(self) -> Iterator[Json]:
        """The chunks of the answer in the OpenAI format, including tool calls."""
        self.open()
        for item in self._items:
            if (chunk := self._take(item)) is not None:
                yield chunk

    def close(self) -> None:
        """Cancel the request if it has not ended."""
        self._items.close()  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks():
            if piece := _text(chunk):
                yield piece

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChatStream(_StreamState):
    """The twin of :class:`ChatStream`: ``async with``, ``async for``, ``await stream.aclose()``."""

    def __init__(self, items: AsyncIterator[Item], schema: Any = None) -> None:
        super().__init__(schema)
        self._items = items

    async def open(self) -> Self:
        """Send the request and wait for the first content."""
        if self._opened is None:
            async for item in self._items:
                self._take(item)
                break
        return self

    async def chunks(self) -> AsyncIterator[Json]:
        """The chunks of the answer in the OpenAI format, including tool calls."""
        await self.open()
        async for item in self._items:
            if (chunk := self._take(item)) is not None:
                yield chunk

    async def aclose(self) -> None:
        """Cancel the request if it has not ended."""
        await self._items.aclose()  # type: ignore[attr-defined]

    async def __aiter__(self) -> AsyncIterator[str]:
        async for chunk in self.chunks():
            if piece := _text(chunk):
                yield piece

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def chat_body(
    prompt: str | Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    schema: Any = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    **parameters: Any,
) -> Json:
    """The OpenAI-format body of a chat request.

    Args:
        prompt: a string, or messages in the OpenAI format.
        tools: tools in the OpenAI format: ``{"type": "function", "function": {"name": …, "parameters": …}}``.
        schema: a pydantic model class or a JSON schema of an object that the answer must follow.
        max_tokens: most tokens that the answer may have.
        temperature: from 0 (deterministic) to 2 (random); some models refuse or ignore it.
        parameters: any other parameter of OpenAI's chat completions.

    Raises:
        InvalidInputError: an argument is invalid; the message names it.

    Example:
        >>> chat_body("Hello", max_tokens=5)
        {'messages': [{'role': 'user', 'content': 'Hello'}], 'max_completion_tokens': 5}
    """
    for name in ("model", "stream"):
        if name in parameters:
            raise InvalidInputError(
                f"{name!r} is not a parameter of the body; use the argument or the method of this name."
            )
    _refuse_mistyped(parameters, _OF_CHAT, {"messages": "Did you mean 'prompt'?"})
    check(prompt=prompt, tools=tools, max_tokens=max_tokens, temperature=temperature)
    messages: Any = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    body: Json = {"messages": [dict(message) for message in messages], **parameters}
    if tools:
        body["tools"] = [dict(tool) for tool in tools]
    if schema is not None:
        body["response_format"] = _response_format(schema)
    if max_tokens is not None:
        body["max_completion_tokens"] = max_tokens
    if temperature is not None:
        body["temperature"] = temperature
    return body


def embeddings_body(texts: str | Sequence[str], *, dimensions: int | None = None, **parameters: Any) -> Json:
    """The OpenAI-format body of an embeddings request.

    Args:
        texts: one string or several.
        dimensions: length of the vectors, if the model supports it.

    Raises:
        InvalidInputError: an argument is invalid; the message names it.
    """
    _refuse_mistyped(parameters, _OF_EMBED, {"input": "Did you mean 'texts'?"})
    check(texts=texts, dimensions=dimensions)
    texts = [texts] if isinstance(texts, str) else list(texts)
    return {"input": texts, **({"dimensions": dimensions} if dimensions else {}), **parameters}


def _refuse_mistyped(
    parameters: Mapping[str, Any], arguments: Sequence[str], hints: Mapping[str, str]
) -> None:
    """Refuse a name that is probably meant to be one of ``arguments``; providers get all others.

    Args:
        hints: names that are refused although they resemble none.
    """
    for name, value in parameters.items():
        hint = hints.get(name)
        if name in ("provider", "providers") and not isinstance(value, Mapping):  # OpenRouter takes a mapping
            hint = "Did you mean 'model'? It takes 'provider/model'."
        elif similar := difflib.get_close_matches(name.lower(), arguments, 1, _SIMILAR):
            hint = f"Did you mean {similar[0]!r}?"
        if hint:
            raise InvalidInputError(f"{name!r} is not an argument.", code="unknown_argument", hint=hint)


def _response_format(schema: Any) -> Json:
    if isinstance(schema, Mapping):
        name, wanted = str(schema.get("title") or "answer"), dict(schema)
        # A schema that OpenAI's strict mode does not support is sent without enforcement.
        strict = _is_strict(wanted)
    elif isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        name, wanted, strict = schema.__name__, _strict(schema.model_json_schema()), True
    else:
        raise InvalidInputError("'schema' must be a pydantic model class or a JSON schema.")
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": wanted, "strict": strict}}


def _strict(schema: Any) -> Any:
    """A pydantic schema for OpenAI's strict mode: closed, every field required, no defaults."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items() if name != "default"}
    if isinstance(schema.get("properties"), dict):
        properties = {name: _strict(value) for name, value in schema["properties"].items()}
        strict |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    if "$ref" in strict:
        strict = {"$ref": strict["$ref"]}  # strict mode allows nothing next to a reference
    return strict


def _is_strict(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties") or {})
        if schema.get("additionalProperties") is not False or names != set(schema.get("required") or ()):
            return False
    return all(_is_strict(value) for value in schema.values())


def _text(chunk: Mapping[str, Any]) -> str:
    choices = [choice for choice in chunk["choices"] if choice.get("index", 0) == 0]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _floats(embedding: Any) -> list[float]:
    """A vector; some providers send base64 of little-endian float32 without being asked to."""
    if isinstance(embedding, str):
        data = base64.b64decode(embedding)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return list(embedding)
