"""What the wire formats have in common: the values they exchange with the engine, and reading loose JSON.

A wire format turns an OpenAI-format body into a provider's HTTP request and the answer back into the OpenAI
format. It does no I/O and never sees a provider key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote

from supa_llm.values.receipts import ErrorClass
from supa_llm.values.routes import Candidate

Json = dict[str, Any]
Kind = Literal["chat", "embeddings"]


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP POST, still without the provider key."""

    url: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class UnsupportedError(Exception):
    """This wire format cannot say what the caller asked for: the candidate is left out, nothing is sent."""


class FaultError(Exception):
    """An attempt failed. Internal to the engine: callers see a :class:`~supa_llm.errors.ProviderError`.

    Attributes:
        message: what the provider or the network said, as it came: not masked yet.
        error: the provider's error object in the OpenAI format, where it sent one.
        retry_after: seconds that the provider asked to wait, where its body says so.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        error: Json | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(error_class)  # not the message, which may quote a key: no repr shows it
        self.error_class: ErrorClass = error_class
        self.message = message
        self.error = error
        self.retry_after = retry_after


class Decoder(Protocol):
    """Turns the bytes of one streamed answer into OpenAI chunks."""

    @property
    def usage(self) -> Json | None:
        """The OpenAI ``usage`` object as far as it is known."""

    @property
    def service_tier(self) -> str | None:
        """The service tier as the provider names it; None as long as it does not."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: each choice has its finish reason."""

    def feed(self, piece: bytes) -> list[Json]:
        """The chunks that ``piece`` completes. Raises FaultError on an error event or an unreadable one."""

    def end(self) -> list[Json]:
        """What is left once the connection has ended."""


class Wire(Protocol):
    """One wire format.

    Reading what a provider sent, it trusts the shape: the engine takes a KeyError and the like for a fault of
    the provider's.

    Attributes:
        models_path: below the base URL, the list of models: it costs nothing and takes a key that works.
        models_headers: what has to be said with it.
    """

    models_path: str
    models_headers: Mapping[str, str]

    def request(self, kind: Kind, body: Json, candidate: Candidate) -> WireRequest:
        """The HTTP request of ``body`` for ``candidate``. Raises UnsupportedError."""

    def answer(self, kind: Kind, payload: Any, candidate: Candidate) -> Json:
        """A whole answer in the OpenAI format. Raises FaultError when it is none."""

    def decoder(self, body: Json, candidate: Candidate) -> Decoder:
        """The decoder of one streamed answer to ``body``."""

    def fault(self, status: int, payload: Any) -> FaultError:
        """What a status outside 2xx means; ``payload`` is its JSON, or its text."""


def endpoint(candidate: Candidate, path: str, **parts: str) -> str:
    """A URL under the candidate's base URL. ``parts`` are quoted, so no model name leads anywhere else."""
    quoted = {name: quote(part, safe="") for name, part in parts.items()}
    return candidate.base_url.rstrip("/") + path.format(**quoted)


def post(url: str, body: Json, **headers: str) -> WireRequest:
    """The request that carries ``body``. Raises TypeError or ValueError where it is not JSON."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return WireRequest(
        url, {"content-type": "application/json", **names}, json.dumps(body, allow_nan=False).encode()
    )


def canonical(body: Json, candidate: Candidate) -> Json:
    """The body without nulls and what the provider's catalogue row drops, its token limit under one name."""
    kept = {name: value for name, value in body.items() if value is not None}
    if "max_tokens" in kept:
        # The older name: OpenAI's reasoning models refuse it, every catalogue row maps the newer one.
        kept.setdefault("max_completion_tokens", kept["max_tokens"])
        del kept["max_tokens"]
    dropped = {name for name, theirs in candidate.parameter_names.items() if theirs is None}
    return {name: value for name, value in kept.items() if name not in dropped}


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def data_url(url: str) -> tuple[str, str | None]:
    """Media type and base64 data of a ``data:`` URL; no data for any other URL."""
    if not url.startswith("data:"):
        return "", None
    head, _, data = url.removeprefix("data:").partition(",")
    return head.partition(";")[0], data


def arguments_of(call: Mapping[str, Any]) -> Json:
    """A tool call's arguments as an object. Models do write broken ones; providers want an object back."""
    raw = call["function"].get("arguments") or "{}"
    try:
        parsed = json.loads(raw)
    except ValueError:
        return {"arguments": raw}
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}


def functions_of(body: Json) -> list[Json]:
    """The function objects of ``tools``. Raises UnsupportedError for other kinds of tools."""
    for tool in body.get("tools", ()):
        if tool.get("type") != "function":
            raise UnsupportedError(f"it has no {tool.get('type')!r} tools")
    return [tool["function"] for tool in body.get("tools", ())]


def json_schema_of(body: Json) -> Json | None:
    """The JSON schema that the answer must follow, if there is one."""
    wanted = body.get("response_format") or {}
    return wanted["json_schema"].get("schema", {}) if wanted.get("type") == "json_schema" else None


#: Parameters that are wishes: an answer that was made without them is still an answer.
HINTS = frozenset({
    "frequency_penalty", "metadata", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "store", "stream_options", "temperature", "top_p", "user", "verbosity",
})  # fmt: skip


def refuse_unknown(body: Json, understood: frozenset[str]) -> None:
    """Raise UnsupportedError for a parameter that changes the answer and that a format cannot express."""
    for name, value in body.items():
        harmless = (
            (name == "n" and value == 1) or value is False or (name == "modalities" and value == ["text"])
        )
        if name not in understood and name not in HINTS and not harmless:
            raise UnsupportedError(f"it cannot express {name!r}")


def chunk(
    head: Json, delta: Json | None, finish_reason: str | None = None, usage: Json | None = None
) -> Json:
    """One OpenAI chunk; with no ``delta``, the one that carries the usage."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    made: Json = {"object": "chat.completion.chunk", **head, "choices": choices}
    if usage is not None:
        made["usage"] = usage
    return made


def bears_content(made: Mapping[str, Any]) -> bool:
    """Whether a chunk holds some of the answer, and not only its frame."""
    for choice in made.get("choices") or ():
        delta = choice.get("delta") or {}
        if choice.get("finish_reason") or any(delta[name] for name in delta if name != "role"):
            return True
    return False


def first_error(payload: Any) -> Json:
    """The error object of a provider's error body, in whichever of the usual places it is."""
    if isinstance(payload, Sequence) and not isinstance(payload, str) and payload:
        payload = payload[0]
    if not isinstance(payload, Mapping):
        text = str(payload or "").strip()
        return {"message": "" if text.startswith("<") else text}  # a proxy's HTML page tells nobody anything
    error = payload.get("error", payload)
    if not isinstance(error, Mapping):
        return {"message": str(error)}
    message = error.get("message") or error.get("detail") or ""
    return {**error, "message": message if isinstance(message, str) else json.dumps(message)}


def class_of(status: int) -> ErrorClass:
    """What an HTTP status outside 2xx means where the body says nothing more."""
    if status == 401:
        return "auth"
    if status == 403:
        return "forbidden"  # a good key that may not do this: another model of the provider may be open to it
    if status in (402, 429):
        return "rate_limited"
    if status in (404, 410):
        return "not_found"
    if status in (400, 413, 422):
        return "bad_request"
    if status in (408, 409) or status >= 500:
        return "server_error"
    return "invalid_response"  # redirects, which are never followed, and what no provider should say
