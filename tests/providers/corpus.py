"""The corpus: what real providers, proxies and self-hosted servers send, one file per oddity.

`CONTRIBUTING.md` describes the files. `test_corpus.py` replays them through every client, and
``tools/providers.py`` writes ``docs/providers.md`` from them.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

Mode = Literal["whole", "streamed"]
Json = dict[str, Any]
T = TypeVar("T")

CORPUS = Path(__file__).parent / "corpus"
FORMATS = ("openai", "anthropic", "google")
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Reply:
    """One recorded HTTP response. It has one of ``json``, ``text``, ``base64`` and ``pieces``.

    Attributes:
        pieces: of a stream: text, ``{"data": …}`` for an event, ``{"base64": …}`` for any bytes,
            ``{"pause": seconds}``, or ``{"repeat": text, "times": count}``.
        cut: bytes after which the text of a stream is cut into pieces; 0 keeps the pieces as they are.
        end: what happens after the last piece: the response ends, the connection breaks, stays open in
            silence, or stays open with comments.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    text: str | None = None
    base64: str | None = None
    pieces: Sequence[Any] | None = None
    gzip: bool = False
    cut: int = 0
    end: Literal["close", "break", "silence", "comments"] = "close"

    @property
    def content_type(self) -> str:
        if self.pieces is not None:
            return "text/event-stream"
        return "application/json" if self.json is not None else "text/plain"

    def parts(self) -> list[bytes | float]:
        """The bytes of the body, as they are sent, and the pauses between them."""
        if self.pieces is None:
            body = self._body()
            return [gzip.compress(body) if self.gzip else body]
        parts = [_part(piece) for piece in self.pieces]
        if self.gzip or self.cut:
            whole = b"".join(part for part in parts if isinstance(part, bytes))
            whole = gzip.compress(whole) if self.gzip else whole
            size = self.cut or len(whole)
            return [whole[start : start + size] for start in range(0, len(whole), size)]
        return parts

    def _body(self) -> bytes:
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return self.text.encode() if self.text is not None else json.dumps(self.json).encode()


@dataclass(frozen=True)
class Expected:
    """What the caller gets and what is recorded. Only the named fields are compared.

    Attributes:
        text, refusal, reasoning, finish_reason, tool_calls: of the answer; a tool call is
            ``{"name": …, "arguments": {…}}`` with an optional ``id``.
        message: further fields of the answer's message.
        answers: the texts of all choices, if several were requested.
        outcome, error_class, usage: of the recorded attempt; a count that is null is unknown.
        next: whether the next candidate is tried after a failed attempt.
        error: the class of the error that the caller gets, if no other candidate is tried.
        code: the stable code of this error.
        sent: top-level fields of the body that the provider received; null is a field that is not sent.
        attempts: how often this candidate was called.
        within: seconds that the request may take.
        skipped: the reason that the candidate is skipped and nothing is sent.
    """

    text: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    tool_calls: Sequence[Json] | None = None
    message: Json | None = None
    answers: Sequence[str] | None = None
    outcome: Literal["succeeded", "failed"] = "succeeded"
    error_class: str | None = None
    usage: Json | None = None
    next: bool = True
    error: str | None = None
    code: str | None = None
    sent: Json | None = None
    attempts: int = 1
    within: float = 5.0
    skipped: str | None = None


@dataclass(frozen=True)
class Oddity:
    """One file of the corpus.

    Attributes:
        about: one sentence for the documentation, without the format's name.
        group: the heading of the documentation that it belongs to.
        request: fields of the request's body beside ``messages``, which default to one short message.
        candidate: fields of the candidate that differ from the default, such as ``model``.
        timeouts, limits: arguments of ``Timeouts`` and ``Limits``.
        expect: what is expected of both modes; a mode's own ``expect`` adds to it.
        whole, streamed: the replies to a request of this mode: ``{"reply": …}`` or ``{"replies": […]}``
            for one call after another, where the last one repeats.
        alone: whether the route has no other candidate.
        dropin: false if the openai package itself cannot send such a request.
    """

    name: str
    format: str
    about: str
    group: str
    request: Json
    candidate: Json
    timeouts: Json
    limits: Json
    alone: bool
    dropin: bool
    replies: Mapping[Mode, Sequence[Reply]]
    expected: Mapping[Mode, Expected]


def load() -> list[Oddity]:
    """The whole corpus. Raises ValueError for a file with an unknown or missing field."""
    return [read(path) for wire in FORMATS for path in sorted((CORPUS / wire).glob("*.json"))]


def read(path: Path) -> Oddity:
    """One file of the corpus."""
    try:
        return _oddity(path.parent.name, path.stem, json.loads(path.read_text()))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{path.relative_to(CORPUS)}: {error}") from error


def _oddity(wire: str, name: str, content: Json) -> Oddity:
    _known(
        content,
        {"about", "group", "request", "candidate", "timeouts", "limits", "expect", "alone", "dropin", *MODES},
    )
    modes = [mode for mode in MODES if mode in content]
    if not modes:
        raise ValueError("a mode is missing: 'whole' or 'streamed'")
    for mode in modes:
        _known(content[mode], {"reply", "replies", "expect"})
    return Oddity(
        name=name,
        format=wire,
        about=content["about"],
        group=content["group"],
        request={"messages": [{"role": "user", "content": "Hello"}], **content.get("request", {})},
        candidate=content.get("candidate", {}),
        timeouts=content.get("timeouts", {}),
        limits=content.get("limits", {}),
        alone=content.get("alone", False),
        dropin=content.get("dropin", True),
        replies={mode: [_reply(it) for it in _replies(content[mode])] for mode in modes},
        expected={
            mode: _expected({**content.get("expect", {}), **content[mode].get("expect", {})})
            for mode in modes
        },
    )


def _replies(mode: Json) -> list[Json]:
    return mode["replies"] if "replies" in mode else [mode["reply"]] if "reply" in mode else []


def _reply(content: Json) -> Reply:
    reply = _built(Reply, content)
    if sum(getattr(reply, name) is not None for name in ("json", "text", "base64", "pieces")) != 1:
        raise ValueError("a reply has one of 'json', 'text', 'base64' and 'pieces'")
    if reply.end not in ("close", "break", "silence", "comments"):
        raise ValueError(f"unknown end: {reply.end!r}")
    reply.parts()
    return reply


def _expected(content: Json) -> Expected:
    expected = _built(Expected, content)
    failed = expected.outcome == "failed"
    if expected.outcome not in ("succeeded", "failed") or failed != (expected.error_class is not None):
        raise ValueError("a failed attempt has an 'error_class', a succeeded one has none")
    if (failed and not expected.next) != (expected.error is not None):
        raise ValueError("the caller gets an 'error' exactly if no other candidate is tried ('next': false)")
    return expected


def _built(of: type[T], content: Json) -> T:
    _known(content, {it.name for it in fields(of)})  # type: ignore[arg-type]
    return of(**content)


def _known(content: Json, names: set[str]) -> None:
    if unknown := set(content) - names:
        raise ValueError(f"unknown field {', '.join(sorted(unknown))}")


def _part(piece: Any) -> bytes | float:
    if isinstance(piece, str):
        return piece.encode()
    match piece:
        case {"data": payload, **rest} if not rest:
            return _event(payload)
        case {"base64": data, **rest} if not rest:
            return base64.b64decode(data)
        case {"pause": seconds, **rest} if not rest:
            return float(seconds)
        case {"repeat": text, "times": times, **rest} if not rest:
            return str(text).encode() * int(times)
    raise ValueError(f"unknown piece {piece!r}")


def _event(payload: Any) -> bytes:
    """A server-sent event; Anthropic's also have a name, which is their type."""
    kind = payload.get("type") if isinstance(payload, dict) else None
    name = f"event: {kind}\n" if kind else ""
    return f"{name}data: {json.dumps(payload)}\n\n".encode()
