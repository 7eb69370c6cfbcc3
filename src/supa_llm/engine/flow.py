"""One request, from its route to its usage event, without any I/O.

:func:`run` is a generator like httpx's auth flow: it yields the effect that it needs (:class:`AskRoute`,
:class:`Reserve`, :class:`Wait`, :class:`Send`, :class:`Read`), and its driver sends back the result or throws
the error. It also yields what is for the caller: :class:`Opened` and the chunks of a stream, and
:class:`Answer` last. The drivers in ``engine.drivers`` do the I/O; other I/O needs only another driver.

    route ── candidate ── attempt ──► answer: record, done
               ▲            │
               │            ├─ the provider fails: record, next candidate or a retry (see Retries)
               └────────────┘
                            ├─ the request is invalid (400): record, BadRequestError (as when all refuse it)
                            ├─ the stream breaks off after its first content: record, StreamInterruptedError
                            └─ the caller hangs up: record as cancelled
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from supa_llm.engine import failures
from supa_llm.engine.effects import (
    Account,
    Answer,
    AskRoute,
    Effect,
    Flow,
    Head,
    Item,
    Limits,
    ModelCall,
    Opened,
    Read,
    Reserve,
    Retries,
    Send,
    Wait,
)
from supa_llm.engine.estimate import estimate, exceeds, output_limit
from supa_llm.engine.ids import uuid7
from supa_llm.engine.rendering import rendering
from supa_llm.errors import InvalidInputError, NoCandidateError, SupaLLMError
from supa_llm.values.receipts import Attempt, Outcome, Receipt, Usage
from supa_llm.values.routes import Candidate, Demand, Route, Skipped
from supa_llm.values.secrets import Secret
from supa_llm.wire import RESPONSES, WIRES
from supa_llm.wire.assemble import as_chunks
from supa_llm.wire.base import (
    Decoder,
    FaultError,
    Json,
    UnsupportedError,
    Wire,
    WireRequest,
    bears_content,
    json_or_text,
    read_whole,
)
from supa_llm.wire.responses import refuse_uncountable_tools
from supa_llm.wire.responses_as_chats import chat_of
from supa_llm.wire.usage import known_tier, read_usage
from supa_llm.wire.waits import believable, named_wait, retry_after

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes of an error body that are read: enough for the message, little enough for memory.
_ERROR_BODY = 65_536
#: Error classes of attempts that may succeed a moment later. Timeouts are not among them, because a request
#: that took that long would probably take as long again.
_PASSING = frozenset({"connection", "rate_limited", "server_error"})
#: What reading a value of an unexpected shape raises.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
#: Output tokens beyond the limit that are no sign that a provider ignores it.
_TOLERANCE = 16
#: Seconds that a finished stream may take to report its usage and end.
_FAREWELL = 5.0
#: Seconds that a response may take to end after its last event, so that its connection can be reused.
_LAST = 0.1


def run(call: ModelCall, account: Account, limits: Limits) -> Flow:
    """The flow of one request.

    Raises (out of the generator):
        NoCandidateError: nothing on the route could be tried.
        BadRequestError: a provider refused the request itself.
        TotalTimeoutError, ProviderError: no provider answered.
        StreamInterruptedError: the answer broke off.
    """
    estimated = estimate(call.kind, call.body)
    tier = known_tier(call.body.get("service_tier"))
    demand = Demand(uuid7(), estimated.input_tokens, estimated.output_tokens, tier)
    deadline = time.monotonic() + call.timeouts.total
    try:
        route = yield from _route(call, demand, deadline)
    except SupaLLMError as error:
        account.refuse(error.code)
        raise
    receipt = Receipt(demand.request_id, route.task if call.task is None else call.task, ())
    skipped: list[Skipped] = []
    #: The candidate with a reservation. Its attempt, once begun, settles the reservation.
    reserved = route.candidates[0] if route.reserved else None
    turns = _Turns(call.retries, route.candidates)
    refusal: Json | None = None
    try:
        while (turn := turns.take()) is not None:
            candidate, wait = turn
            prepared = _prepare(call, demand, route, candidate, account)
            if isinstance(prepared, Skipped):
                skipped.append(prepared)
                continue
            if time.monotonic() >= deadline:
                late = failures.failed(receipt, out_of_time=True)
                if not receipt.attempts:
                    account.refuse(late.code)
                raise late
            if wait:
                if time.monotonic() + wait >= deadline:
                    continue
                yield Wait(wait)
            if candidate.metered and candidate is not reserved:
                number = len(receipt.attempts) + 1
                try:
                    yield Reserve(demand, receipt.task, number, candidate)
                except SupaLLMError as error:
                    skipped.append(_refused(candidate, error))
                    continue
                reserved = candidate
            running = _RunningAttempt(
                call, candidate, receipt, account, *prepared, deadline=deadline, limits=limits
            )
            reserved = None
            fault: FaultError | None = None
            try:
                yield from running.run()
            except FaultError as error:
                fault = error
            finally:
                if fault is None:
                    running.close("cancelled")  # has no effect if the attempt succeeded
            receipt = running.receipt
            if fault is None:
                return
            if running.opened:
                raise failures.interrupted(receipt)
            if running.adapts(fault):
                turns.repeat(candidate)
                continue
            if fault.error_class == "bad_request":
                raise failures.refused(receipt, running.error)
            refusal = running.error
            turns.failed(candidate, running, fault)
            if time.monotonic() >= deadline:
                raise failures.failed(receipt, out_of_time=True)
        if refusal is not None and all(it.error_class in failures.REFUSALS for it in receipt.attempts):
            raise failures.refused_by_all(receipt, refusal)
        if receipt.attempts:
            raise failures.failed(receipt)
        untried = failures.nothing_tried(route, (*route.skipped, *skipped))
        account.refuse(untried.code)
        raise untried
    finally:
        if reserved is not None:
            account.release(demand.request_id)


def _route(call: ModelCall, demand: Demand, deadline: float) -> Generator[Effect | Item, Any, Route]:
    """The route. While every key is rate-limited for a moment, it waits as for a retry."""
    for number in range(1, call.retries.most + 1):
        try:
            return (yield AskRoute(call.task, call.model, call.needs, demand))  # type: ignore[no-any-return]
        except NoCandidateError as error:
            wait = error.retry_after if error.code == "keys_rate_limited" else None
            if wait is not None:
                # Not too early, because the clocks of this process and of the database differ.
                wait = call.retries.wait(number, wait and max(wait, 0.5))
            if wait is None or time.monotonic() + wait >= deadline:
                raise
        yield Wait(wait)
    return (yield AskRoute(call.task, call.model, call.needs, demand))  # type: ignore[no-any-return]


class _Turns:
    """Whose turn it is: the candidates in order, and then again the last one that may recover."""

    def __init__(self, retries: Retries, candidates: Iterable[Candidate]) -> None:
        self._retries = retries
        self._ahead = deque(candidates)
        self._pause = 0.0
        self._repeated: Candidate | None = None  # while others are ahead
        self._last: tuple[Candidate, float] | None = None
        self._made = 0

    def take(self) -> tuple[Candidate, float] | None:
        """The next candidate, and the seconds to wait before it is tried; None at the end."""
        if self._ahead:
            pause, self._pause = self._pause, 0.0
            return self._ahead.popleft(), pause
        if self._last is None or self._made == self._retries.most:
            return None
        self._made += 1
        (candidate, ready), self._last = self._last, None
        return candidate, max(0.0, ready - time.monotonic())

    def repeat(self, candidate: Candidate, pause: float = 0.0) -> None:
        """Try a candidate again before the others."""
        self._pause = pause
        self._ahead.appendleft(candidate)

    def failed(self, candidate: Candidate, running: _RunningAttempt, fault: FaultError) -> None:
        """Plan a retry if this candidate may recover."""
        if self._retries.most == 0 or fault.error_class not in _PASSING or not running.repeatable:
            return
        asked = running.asked_wait(fault)
        limit = self._retries.short_wait
        soon = running.was_closed_within(limit, fault) or bool(asked and asked <= limit)
        if self._ahead and soon and candidate is not self._repeated:
            self._repeated = candidate
            self.repeat(candidate, asked or 0.0)
        elif (wait := self._retries.wait(self._made + 1, asked)) is not None:
            self._last = candidate, time.monotonic() + wait


def _limited(call: ModelCall, route: Route, candidate: Candidate) -> ModelCall:
    """The call with the output limit that is reserved for the candidate, unless it has a limit of its own.

    Raises UnsupportedError if the call has tools that the limit does not bind.
    """
    limit = route.max_output_tokens if candidate.metered else None
    if limit is None or call.kind == "embeddings":
        return call
    if call.kind == "responses":
        refuse_uncountable_tools(call.body)
        own = call.body.get("max_output_tokens")
        return replace(call, body={**call.body, "max_output_tokens": own or limit})
    own = call.body.get("max_completion_tokens")
    each = own or max(1, limit // (call.body.get("n") or 1))
    # Rejected tokens of a prediction are billed beyond the limit.
    body = {name: value for name, value in call.body.items() if name != "prediction"}
    return replace(call, body={**body, "max_completion_tokens": each})


def _refused(candidate: Candidate, error: SupaLLMError) -> Skipped:
    """A candidate whose reservation was refused, usually by a quota."""
    return Skipped(candidate.provider, candidate.key_source, error.code, error.args[0])


def _prepare(
    call: ModelCall, demand: Demand, route: Route, candidate: Candidate, account: Account
) -> tuple[ModelCall, Wire, WireRequest, Secret] | Skipped:
    """What an attempt on a candidate needs, or why the candidate is skipped.

    The call that comes back is a chat if the candidate can serve a request for a response only as one.
    """

    def skipped(reason: str, message: str) -> Skipped:
        return Skipped(candidate.provider, candidate.key_source, reason, message)

    key = candidate.key
    if key is None and candidate.key_source == "operator":
        key = account.operator_key(candidate.provider)
    if key is None:
        return skipped("no_key", "This process has no key for it.")
    if exceeds(call.body, demand.input_tokens, candidate.context_tokens):
        return skipped(
            "context_too_long",
            f"{candidate.model} is skipped because the request is longer than its context window of"
            f" {candidate.context_tokens} tokens.",
        )
    native = call.kind == "responses" and candidate.responses
    wire = RESPONSES if native else WIRES.get(candidate.wire_format)
    if wire is None:
        return skipped(
            "unknown_wire_format", f"This version does not support the wire format {candidate.wire_format!r}."
        )
    try:
        call = _limited(call, route, candidate)
        if call.kind == "responses" and not native:
            call = replace(call, kind="chat", body=chat_of(call.body))
        return call, wire, wire.request(call.kind, call.body, candidate), key
    except UnsupportedError as error:
        return skipped("unsupported_request", f"{candidate.model} is skipped because {error}.")
    except _MALFORMED as error:
        raise InvalidInputError(f"The request is not a valid OpenAI-format request: {error!r}.") from None


class _RunningAttempt:
    """One attempt. It is timed and recorded exactly once, however it ends."""

    def __init__(
        self,
        asked: ModelCall,
        candidate: Candidate,
        receipt: Receipt,
        account: Account,
        sent: ModelCall,
        wire: Wire,
        request: WireRequest,
        key: Secret,
        *,
        deadline: float,
        limits: Limits,
    ) -> None:
        self._call, self._candidate, self._account = sent, candidate, account
        self._rendering = rendering(asked, sent, candidate.model)
        self._wire, self._request, self._key = wire, request, key
        self._started = time.monotonic()
        self._deadline = min(deadline, self._started + asked.timeouts.attempt)
        self._total, self._limits = deadline, limits
        self._head = Head(0, {})
        self._decoder: Decoder | None = None
        self._payload: Json = {}
        self._recorded = False
        self.receipt = receipt
        self.opened = False
        self.error: Json | None = None

    def run(self) -> Flow:
        """Send, read, and yield the answer. Raises FaultError, after recording it."""
        try:
            self._head = yield Send(self._request, self._candidate, self._key, self._left())
            if 300 <= self._head.status < 400:
                raise FaultError("invalid_response", "it redirects, and keys are never sent to a redirect")
            if not 200 <= self._head.status < 300:
                raise _understand(self._wire.fault, self._head.status, (yield from self._explanation()))
            # Some servers answer a stream request with a complete answer, or with an error.
            streamed = "json" not in self._head.headers.get("content-type", "")
            yield from self._stream() if self._call.stream and streamed else self._whole()
        except FaultError as fault:
            self._failed(fault)
            raise

    @property
    def repeatable(self) -> bool:
        """Whether the provider does not object to a retry, with a header of OpenAI's."""
        return self._head.headers.get("x-should-retry") != "false"

    def adapts(self, fault: FaultError) -> bool:
        """Whether another attempt would be sent without what the provider refused."""
        return self._wire.adapts(fault, self._call.body, self._candidate)

    def asked_wait(self, fault: FaultError) -> float | None:
        """Seconds that the provider asks to wait; None if it does not."""
        named = retry_after(self._head.headers) or believable(fault.retry_after)
        return named or named_wait(fault.message)

    def was_closed_within(self, seconds: float, fault: FaultError) -> bool:
        """Whether the connection was closed at once and without a response, as if it was no longer open."""
        return fault.closed and not self._head.status and time.monotonic() - self._started < seconds

    def close(self, outcome: Outcome, fault: FaultError | None = None) -> None:
        """Record the attempt, once."""
        if self._recorded:
            return
        self._recorded = True
        # The decoder of a stream has the usage that was reported so far.
        usage = self._decoder.usage if self._decoder else self._payload.get("usage")
        tier = self._decoder.service_tier if self._decoder else self._payload.get("service_tier")
        if tier is None:
            tier = self._request.service_tier
        tokens = read_usage(usage)
        attempt = Attempt(
            number=len(self.receipt.attempts) + 1,
            provider=self._candidate.provider,
            model=self._candidate.model,
            key_source=self._candidate.key_source,
            key_id=self._candidate.key_id,
            key_hint=self._candidate.key_hint,
            outcome=outcome,
            latency_ms=round((time.monotonic() - self._started) * 1000),
            streamed=self._call.stream,
            error_class=fault.error_class if fault else None,
            status=self._head.status or None,
            retry_after=self.asked_wait(fault) if fault else None,
            message=failures.mask(fault.message, self._key) if fault else "",
            usage=tokens,
            service_tier=known_tier(tier),
            ignored_limit=self._ignored_limit(tokens),
            team_id=self._candidate.team_id,
        )
        self.receipt = Receipt(self.receipt.request_id, self.receipt.task, (*self.receipt.attempts, attempt))
        self._account.record(self.receipt.request_id, self.receipt.task, attempt)

    def _ignored_limit(self, usage: Usage) -> int | None:
        """The output limit, if the provider exceeded it by more than providers do that count differently."""
        limit = output_limit(self._call.kind, self._call.body)
        exceeded = limit is not None and (usage.output_tokens or 0) > limit + _TOLERANCE
        return limit if exceeded else None

    def _failed(self, fault: FaultError) -> None:
        if fault.error is not None:
            self.error = failures.mask_error(fault.error, self._key)
        self.close("failed", fault)
        if fault.error_class in ("auth", "rate_limited", "out_of_credit"):
            self._account.forget_route()

    def _left(self) -> float:
        """Seconds that are left for this attempt. Raises FaultError if none are."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise FaultError("timeout", "")
        return left

    def _body(self, most: int | None = None) -> Generator[Effect | Item, Any, bytes]:
        """The body, or its first ``most`` bytes."""
        pieces, size = [], 0
        while most is None or size < most:
            piece = yield Read(self._left())
            if piece is None:
                break
            pieces.append(piece)
            size += len(piece)
            if most is None:
                self._check_size(size)
        return b"".join(pieces)

    def _explanation(self) -> Generator[Effect | Item, Any, Any]:
        """The body of an error; empty if it cannot be read, because the status says enough."""
        try:
            return json_or_text((yield from self._body(_ERROR_BODY)))
        except FaultError:
            return ""

    def _check_size(self, size: int) -> None:
        if size > self._limits.response:
            raise FaultError("invalid_response", f"the response exceeds {self._limits.response} bytes")

    def _whole(self) -> Flow:
        body = yield from self._body()
        payload = _understand(read_whole, body)
        del body
        self._payload = _understand(self._wire.answer, self._call.kind, payload, self._candidate)
        if self._call.stream:
            if self._call.kind != "chat":
                raise FaultError("invalid_response", "the answer is not a stream")
            chunks = self._rendered(as_chunks(self._payload))
            self.close("succeeded")
            yield from self._open()
            yield from chunks
            yield Answer({}, self._candidate, self.receipt)
        else:
            rendered = _understand(self._rendering.whole, self._payload)
            self.close("succeeded")
            yield Answer(rendered, self._candidate, self.receipt)

    def _stream(self) -> Flow:
        decoder = self._decoder = self._wire.decoder(self._call.body, self._candidate, self._limits.event)
        held: list[Json] = []
        size = 0
        while not decoder.finished:
            try:
                piece = yield Read(self._silence())
            except FaultError:
                held += _understand(decoder.end)
                if decoder.finished:
                    break  # each choice is complete, although more were requested
                raise
            held += _understand(_decode, decoder, piece)
            if piece is None and not decoder.finished:
                raise FaultError("invalid_response", "the stream ended before the answer did")
            if not self.opened:
                size += len(piece or b"")
                self._check_size(size)
                if any(map(bears_content, held)):
                    yield from self._open()
            if self.opened and not decoder.finished:
                yield from _understand(self._rendering.chunks, held)
                held = []
        # The end of the answer is held back until the usage arrives, because many callers stop reading at the
        # finish reason.
        held += yield from self._farewell(decoder)
        rendered = self._rendered(held)
        self.close("succeeded")
        if not self.opened:
            yield from self._open()
        yield from rendered
        yield Answer({}, self._candidate, self.receipt)

    def _rendered(self, last: list[Json]) -> list[Json]:
        """The last chunks of a stream for the caller."""
        return _understand(self._rendering.chunks, last) + _understand(self._rendering.end)

    def _farewell(self, decoder: Decoder) -> Generator[Effect | Item, Any, list[Json]]:
        """What follows the finish reason. The connection is reused only if the response ends."""
        chunks: list[Json] = []
        until = time.monotonic() + min(_FAREWELL, self._call.timeouts.idle)
        piece: bytes | None = b""
        try:
            while piece is not None and not decoder.done and (left := until - time.monotonic()) > 0:
                piece = yield Read(left)
                more = _understand(_decode, decoder, piece)
                chunks += more
                if any(map(bears_content, more)):  # some servers send the reason with each piece
                    until = time.monotonic() + min(_FAREWELL, self._call.timeouts.idle)
            if piece is not None and decoder.done:
                yield Read(_LAST)
        except FaultError:
            pass  # the answer is complete without its usage
        return chunks

    def _silence(self) -> float:
        """Seconds that the next piece of a stream may take."""
        if self.opened:
            return self._call.timeouts.idle
        left = self._total - time.monotonic()
        if left <= 0:
            raise FaultError("timeout", "")
        return min(left, max(self._deadline - time.monotonic(), self._call.timeouts.idle))

    def _open(self) -> Flow:
        self.opened = True
        yield Opened(self.receipt.request_id, self._candidate)


def _decode(decoder: Decoder, piece: bytes | None) -> list[Json]:
    return decoder.end() if piece is None else decoder.feed(piece)


def _understand(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read what a provider sent. An unexpected shape is a provider error."""
    try:
        return read(*args, **kwargs)
    except _MALFORMED:
        pass
    raise FaultError("invalid_response", "the answer is not in its provider's format")
