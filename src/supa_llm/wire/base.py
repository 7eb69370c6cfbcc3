"""Shared parts of the wire formats: the values they exchange with the engine, and helpers to read JSON.

A wire format converts an OpenAI-format body to a provider's HTTP request, and the response to the OpenAI
format. It does no I/O and never sees a provider key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote
from uuid import uuid4

from supa_llm.values.receipts import ErrorClass
from supa_llm.values.routes import Candidate

Json = dict[str, Any]
Kind = Literal["chat", "embeddings", "responses"]

#: Most bytes of one event of a stream, unless the client has another limit.
MAX_EVENT = 2**20
#: Deepest nesting of a provider's JSON. Python's own limit would be hit somewhere later, by its encoder.
_DEEPEST = 100
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP POST, without the provider key.

    Attributes:
        service_tier: the tier that it requests; None if it requests none.
    """

    url: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    service_tier: str | None = None


class UnsupportedError(Exception):
    """The wire format cannot express the request. The candidate is skipped, and nothing is sent."""


class FaultError(Exception):
    """An attempt failed. Internal to the engine: callers see a :class:`~supa_llm.errors.ProviderError`.

    Attributes:
        message: text from the provider or the network, not masked yet.
        error: the provider's error object in the OpenAI format; None if it sent none.
        retry_after: seconds that the response body asks to wait; None if it does not.
        closed: whether the provider closed the connection.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        error: Json | None = None,
        retry_after: float | None = None,
        closed: bool = False,
    ) -> None:
        super().__init__(error_class)  # without the message, which may quote a key, so that no repr shows it
        self.error_class: ErrorClass = error_class
        self.message = message
        self.error = error
        self.retry_after = retry_after
        self.closed = closed


class Decoder(Protocol):
    """Converts the bytes of one streamed answer to OpenAI chunks. See ``wire.stream``."""

    @property
    def usage(self) -> Json | None:
        """The OpenAI ``usage`` object so far; None if the provider has sent none."""

    @property
    def service_tier(self) -> str | None:
        """The service tier that the provider reported; None if it has not."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: each choice has its finish reason. Usage may still follow."""

    @property
    def done(self) -> bool:
        """Whether the provider has ended the stream explicitly, so that nothing follows."""

    def feed(self, piece: bytes) -> list[Json]:
        """The chunks that ``piece`` completes. Raises FaultError on an error event or an unreadable one."""

    def end(self) -> list[Json]:
        """The remaining chunks after the connection has ended. It may find that the answer is complete."""


class Wire(Protocol):
    """One wire format.

    Methods that read a response may raise KeyError, TypeError and the like if it is malformed. The engine
    treats that as a provider error.

    Attributes:
        models_path: path of the list of models below the base URL; a free request that needs a valid key.
        models_headers: headers that this request needs.
    """

    models_path: str
    models_headers: Mapping[str, str]

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        """The HTTP request of ``body`` for ``candidate``. Raises UnsupportedError."""

    def adapts(self, fault: FaultError, body: Json, candidate: Candidate) -> bool:
        """Whether the next request for ``candidate`` omits what this refusal is about.

        Servers are not listed anywhere, so what one of them refuses is remembered from then on.
        """
        return False

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        """A complete answer in the OpenAI format. Raises FaultError if the response is not an answer."""

    def decoder(self, body: Json, candidate: Candidate, max_event: int = MAX_EVENT) -> Decoder:
        """The decoder of one streamed answer to ``body``, whose events have at most ``max_event`` bytes."""

    def fault(self, status: int, payload: Any) -> FaultError:
        """The error for a status outside 2xx; ``payload`` is the response's JSON or text."""


def endpoint(candidate: Candidate, path: str, **parts: str) -> str:
    """A URL under the candidate's base URL. ``parts`` are quoted, so a model name cannot change the path."""
    quoted = {name: quote(part, safe="") for name, part in parts.items()}
    return candidate.base_url.rstrip("/") + path.format(**quoted)


def post(url: str, body: Json, **headers: str) -> WireRequest:
    """The request that carries ``body``. Raises TypeError or ValueError if ``body`` is not JSON."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    text = json.dumps(body, allow_nan=False, ensure_ascii=False)
    return WireRequest(url, {"content-type": "application/json", **names}, printable(text).encode())


def canonical(body: Json, candidate: Candidate) -> Json:
    """The body without nulls, empty lists, and parameters that the provider drops."""
    dropped = {name for name, renamed in candidate.parameter_names.items() if renamed is None}
    if not body.get("tools") and body.get("tool_choice") in ("auto", "none"):
        dropped |= {"tool_choice", "parallel_tool_calls"}  # providers refuse them without tools
    if body.get("stop") == "":
        dropped.add("stop")
    return {name: value for name, value in body.items() if value not in (None, []) and name not in dropped}


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def only_text(content: Any, place: str) -> str:
    """The text of a message's content. Raises UnsupportedError if it has anything else, such as an image."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        for part in content:
            if part["type"] != "text":
                raise UnsupportedError(f"it cannot read {part['type']!r} parts in {place}")
    return text_of(content)


def data_url(url: str) -> tuple[str, str | None]:
    """Media type and base64 data of a ``data:`` URL; no data for any other URL."""
    if not url.startswith("data:"):
        return "", None
    head, _, data = url.removeprefix("data:").partition(",")
    return head.partition(";")[0], data


def arguments_of(call: Mapping[str, Any]) -> Json:
    """A tool call's arguments as an object: providers require one, and models may write invalid JSON."""
    raw = call["function"].get("arguments") or "{}"
    try:
        parsed = json.loads(raw)
    except ValueError:
        return {"arguments": raw}
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}


def as_arguments(value: Any) -> str:
    """A tool call's arguments as OpenAI's text; some servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def new_call_id() -> str:
    """An id for a tool call whose provider gave it none."""
    return f"call_{uuid4().hex[:24]}"


def functions_of(body: Json) -> list[Json]:
    """The function objects of ``tools``. Raises UnsupportedError for other kinds of tools."""
    for tool in body.get("tools", ()):
        if tool.get("type") != "function":
            raise UnsupportedError(f"it does not support {tool.get('type')!r} tools")
    return [tool["function"] for tool in body.get("tools", ())]


def json_schema_of(body: Json) -> Json | None:
    """The JSON schema that the answer must follow, if there is one."""
    wanted = body.get("response_format") or {}
    return wanted["json_schema"].get("schema", {}) if wanted.get("type") == "json_schema" else None


#: Optional parameters: a candidate that does not support them can still answer.
HINTS = frozenset({
    "cache_control", "frequency_penalty", "metadata", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "store", "stream_options", "temperature", "top_p", "user", "verbosity",
})  # fmt: skip


def refuse_unknown(body: Json, understood: frozenset[str]) -> None:
    """Raise UnsupportedError for a parameter that changes the answer and that the format cannot express."""
    for name, value in body.items():
        harmless = (
            (name == "n" and value == 1) or value is False or (name == "modalities" and value == ["text"])
        )
        if name not in understood and name not in HINTS and not harmless:
            raise UnsupportedError(f"it cannot express {name!r}")


def chunk(
    head: Json, delta: Json | None, finish_reason: str | None = None, usage: Json | None = None
) -> Json:
    """One OpenAI chunk; without a ``delta``, the chunk that carries the usage."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    payload: Json = {"object": "chat.completion.chunk", **head, "choices": choices}
    if usage is not None:
        payload["usage"] = usage
    return payload


#: Events of a response that come before its first content.
_PREAMBLE = frozenset({
    "response.content_part.added", "response.created", "response.in_progress",
    "response.output_item.added", "response.queued", "response.reasoning_summary_part.added",
})  # fmt: skip


def is_event(payload: Mapping[str, Any]) -> bool:
    """Whether this is an event of a response; if not, it is a chunk of a chat."""
    return isinstance(payload.get("type"), str) and payload["type"].startswith("response.")


def bears_content(payload: Mapping[str, Any]) -> bool:
    """Whether a chunk, or an event of a response, contains part of the answer."""
    if is_event(payload):
        return payload["type"] not in _PREAMBLE
    return any(
        choice.get("finish_reason") or any(value for name, value in choice["delta"].items() if name != "role")
        for choice in payload.get("choices") or ()
    )


def printable(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates, which UTF-8 cannot express, replaced."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def read_json(data: bytes | str) -> Any:
    """The JSON that a provider sent; NaN and infinity, which JSON does not have, become null.

    Raises ValueError if it is not JSON, or is nested too deeply to be handled.
    """
    try:
        value = json.loads(data, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    containers, depth = [value] if isinstance(value, dict | list) else [], 0
    while containers:
        containers = [it for outer in containers for it in _values(outer) if isinstance(it, dict | list)]
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
    return value


def read_whole(body: bytes) -> Any:
    """:func:`read_json` of a complete body, with each text printable."""
    value = read_json(body)
    return _printable(value) if _ESCAPED_SURROGATE.search(body) else value


def json_or_text(body: bytes) -> Any:
    """The JSON of a body, or its text if it is not JSON."""
    try:
        return read_whole(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _values(container: Json | list[Any]) -> Collection[Any]:
    return container.values() if isinstance(container, dict) else container


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): _printable(inner) for name, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


def first_error(payload: Any) -> Json:
    """The error object in a provider's error body, from any of the usual places."""
    if isinstance(payload, Sequence) and not isinstance(payload, str) and payload:
        payload = payload[0]
    if not isinstance(payload, Mapping):
        text = str(payload or "").strip()
        return {"message": "" if text.startswith("<") else text}  # the HTML page of a proxy explains nothing
    error = payload.get("error", payload)
    if not isinstance(error, Mapping):
        return {"message": str(error)}
    message = error.get("message") or error.get("detail") or ""
    return {**error, "message": message if isinstance(message, str) else json.dumps(message)}


def class_of(status: int) -> ErrorClass:
    """The error class of an HTTP status outside 2xx, if the body is not more specific."""
    if status == 401:
        return "auth"
    if status == 403:
        return "forbidden"  # a valid key that may not do this; another model of the provider may allow it
    if status == 402:
        return "out_of_credit"
    if status == 429:
        return "rate_limited"
    if status in (404, 410):
        return "not_found"
    if status == 413:
        return "context_too_long"
    if status in (400, 422):
        return "bad_request"
    if status in (408, 409) or status >= 500:
        return "server_error"
    return "invalid_response"  # a redirect, which is never followed, or an unexpected status
