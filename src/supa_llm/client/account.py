"""The account of the user whose request runs: the route, the operator's keys, and where usage is recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from supa_llm.client.cache import AsyncCache, Cache, Slot, Store
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.recorder import Recorder
from supa_llm.client.refusal_reports import RefusalReports
from supa_llm.client.session import Identity
from supa_llm.client.stock import Pace, Stock, sized
from supa_llm.database import routes, usage
from supa_llm.database.call import Call
from supa_llm.database.transport import AsyncDatabase, Database
from supa_llm.engine.ids import uuid7
from supa_llm.errors import NoCandidateError, QuotaExceededError, SupaLLMError
from supa_llm.values.arguments import check
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate, Demand, Route, Skipped
from supa_llm.values.secrets import Secret
from supa_llm.values.usage import Recording

T = TypeVar("T")

#: Stands for the ID of any request of a size.
_ANY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class _Request:
    """What the route of a request depends on."""

    task: str | None
    model: str | None
    needs: tuple[str, ...]
    operator_providers: tuple[str, ...]
    team: str | None

    def resolve(self, demand: Demand, requests: int = 1) -> Call[Route]:
        return routes.resolve_route(
            self.task, self.model, self.needs, self.operator_providers, demand, requests, self.team
        )

    def explain(self) -> Call[Route]:
        return routes.explain_route(
            self.task, self.model, self.needs, self.operator_providers, team=self.team
        )


@dataclass(slots=True)
class _Fetch:
    """Effect: get a value from the cache, or run the flow ``load`` and cache its result.

    Attributes:
        ran: whether this effect ran ``load``. It did not if the value was cached, or if another request was
            already loading it.
    """

    slot: Slot[Any]
    load: Generator[_Effect, Any, Any] = field(repr=False)
    ran: bool = False


_Effect = _Fetch | Call[Any]
_RouteFlow = Generator[_Effect, Any, Route]


def _find_route(request: _Request, demand: Demand, account: _Account) -> _RouteFlow:
    """Decide without I/O how to get the route of a request: from the lease, or from the database.

    A route is reused for its lease, unless a quota counts its first candidate: then it is only for the
    requests that it has reserved for.

    Raises (out of the generator):
        NoCandidateError: no provider can serve the request; it says what the user can do.
    """
    try:
        pace = account.pace(request)
        if pace is None:
            fetch = _Fetch(_slot(request), _resolve_after_first(request, demand))
            try:
                route: Route = yield fetch
            except QuotaExceededError:
                if fetch.ran:
                    raise
                return (yield from _resolve(request, demand))  # the refused one may have been larger
            if not route.reserved:
                return route
            pace = account.begin_pace(request, route)
            if fetch.ran:
                return route
        return (yield from _reserved_route(request, demand, pace, account))
    except NoCandidateError as error:
        empty = error
    with suppress(SupaLLMError):  # the error says what to do without these details too
        empty.skipped = (yield request.explain()).skipped
        empty.retry_after = _soonest(empty.skipped)
    raise empty


def _reserved_route(request: _Request, demand: Demand, pace: Pace, account: _Account) -> _RouteFlow:
    """A route that has reserved for this request: one for several requests or, near a limit, only for it."""
    slot = account.stock_slot(request, demand)
    for _ in range(2):
        if pace.alone:
            break
        fetch = _Fetch(slot, _fill_stock(request, demand, pace))
        try:
            stock: Stock = yield fetch
        except QuotaExceededError:
            pace.near_limit()
            break
        if stock.take():
            account.use(stock)
            return stock.route
        account.discard(slot, stock)
    return (yield from _resolve(request, demand))


def _fill_stock(request: _Request, demand: Demand, pace: Pace) -> Generator[_Effect, Any, Stock]:
    reservation = uuid7()
    route: Route = yield request.resolve(replace(sized(demand), request_id=reservation), pace.requests)
    stock = Stock(route, reservation)
    pace.reserved(stock.requests)
    return stock


def _resolve_after_first(request: _Request, demand: Demand) -> _RouteFlow:
    """Resolve a route once the user's first route, which leases their keys, is there.

    Other requests of the same moment wait for the first one. Each of them then takes one call instead of two.
    """
    first = _Fetch(_FIRST, _resolve(request, demand))
    try:
        route: Route = yield first
    except SupaLLMError:
        if first.ran:
            raise
    else:
        if first.ran:
            return route
    return (yield from _resolve(request, demand))


def _resolve(request: _Request, demand: Demand) -> _RouteFlow:
    return (yield request.resolve(demand))  # type: ignore[no-any-return]


def _soonest(skipped: Sequence[Skipped]) -> float | None:
    """Seconds until the first rate limit ends or the first quota resets."""
    limited = ("key_rate_limited", "model_rate_limited")
    ends = [line.until.timestamp() for line in skipped if line.until and line.reason in limited]
    resets = [line.quota["resets_at"] for line in skipped if line.quota and line.quota["resets_at"]]
    ends += [datetime.fromisoformat(reset).timestamp() for reset in resets]
    return max(0.0, min(ends) - time.time()) if ends else None


def _lease(route: Route) -> float:
    return route.expires_at.timestamp() if route.expires_at else 0.0


#: A user's first route.
_FIRST: Slot[Route] = Slot("route", "first", _lease)


def _pace_slot(request: _Request, until: float) -> Slot[Pace]:
    return Slot("pace", request, lambda _: until)


def _tries(attempt: Attempt, candidate: Candidate) -> bool:
    said = (attempt.number, attempt.provider, attempt.model, attempt.key_source)
    return said == (1, candidate.provider, candidate.model, candidate.key_source)


def _slot(request: _Request) -> Slot[Route]:
    """A route is cached for its lease, which lets a runtime hold its keys, unless it has a reservation."""
    return Slot("route", request, lambda route: 0.0 if route.reserved else _lease(route))


def _forget_outdated(store: Store, owner: str, recording: Recording) -> None:
    """Forget routes from before a change of the user's keys, settings or teams.

    So a busy runtime stops using a key soon after it was revoked, and not only when its lease ends.
    """
    if recording.version is not None:
        store.forget_outdated(owner, "route", lambda value: _version(value) != recording.version)


def _version(value: Route | Stock) -> str | None:
    return (value.route if isinstance(value, Stock) else value).version


class _Account:
    """The part without I/O. One object serves one request, of the user who is signed in when it begins."""

    _identity: Identity
    _ticket: Secret | None = None
    _process: int
    #: What the route reserved for this request, until its first candidate is tried.
    _stock: Stock | None = None

    def __init__(
        self,
        store: Store,
        operator_keys: OperatorKeys,
        recorder: Recorder,
        refusals: RefusalReports,
        team: UUID | str | None,
    ) -> None:
        check(team=team)
        self._team = str(team) if team is not None else None
        self._store = store
        self._operator_keys = operator_keys
        self._recorder = recorder
        self._refusals = refusals

    def operator_key(self, provider: str) -> Secret | None:
        return self._operator_keys.get(provider)

    def record(self, request_id: UUID, task: str | None, attempt: Attempt) -> None:
        """Queue one attempt for the recorder; neither blocks nor raises."""
        forget: Callable[[Recording], None] = partial(
            _forget_outdated, self._store, self._identity.token.owner
        )
        if attempt.error_class in ("auth", "rate_limited", "out_of_credit"):
            # A route that was resolved before the event arrived still has the key as valid: forget it too.
            forget = self._forget_after
        reservation = self._draw(attempt)
        self._queue(usage.usage_event(request_id, task, attempt, self._ticket, reservation), forget)

    def release(self, request_id: UUID) -> None:
        """Release the reservation of a request; neither blocks nor raises."""
        if self._stock is None:
            self._queue(usage.release_event(request_id, self._ticket))
        else:
            self._put_back()

    def refuse(self, code: str) -> None:
        """Count a request that reached no provider; neither blocks nor raises."""
        if hasattr(self, "_identity"):  # otherwise nobody is signed in
            self._refusals.add(code, self._identity.token)

    def pace(self, request: _Request) -> Pace | None:
        """How such requests reserve; None if no quota is known to count them."""
        return self._store.kept(self._identity.token, _pace_slot(request, 0.0))

    def begin_pace(self, request: _Request, route: Route) -> Pace:
        """For the lease of this route, a quota is known to count such requests."""
        pace = self.pace(request) or Pace()
        self._store.keep(self._identity.token, _pace_slot(request, _lease(route)), pace)
        return pace

    def stock_slot(self, request: _Request, demand: Demand) -> Slot[Stock]:
        """The stock of requests of about this size, until it is empty or its reservation ends."""
        size = replace(sized(demand), request_id=_ANY)
        return Slot("route", (request, size), lambda stock: stock.until, self._close_stock)

    def use(self, stock: Stock) -> None:
        """This request has taken its reservation from a stock."""
        self._stock = stock

    def discard(self, slot: Slot[Stock], stock: Stock) -> None:
        """A stock is empty."""
        self._store.discard(self._identity.token, slot, stock)

    def _draw(self, attempt: Attempt) -> UUID | None:
        """The reservation that this attempt settles, if it is one for several requests."""
        stock = self._stock
        if stock is None or not _tries(attempt, stock.route.candidates[0]):
            return None
        self._stock = None
        return stock.reservation

    def _put_back(self) -> None:
        """The reservation from the stock is not used."""
        stock, self._stock = self._stock, None
        if stock is not None and not stock.put_back():
            self._queue(usage.release_event(stock.reservation, self._ticket, 1))

    def _close_stock(self, stock: Stock) -> None:
        if left := stock.close():
            event = usage.release_event(stock.reservation, stock.route.ticket, left)
            self._recorder.put(event, self._identity.token)

    def forget_route(self) -> None:
        """A key of the user was rejected or rate-limited, so each of their routes may change."""
        self._store.forget(self._identity.token.owner, "route")

    def _forget_after(self, _: Recording) -> None:
        self.forget_route()

    def _queue(self, event: Mapping[str, Any], then: Callable[[Recording], None] | None = None) -> None:
        # A process that was forked in the middle of a request leaves its usage to the parent.
        if os.getpid() == self._process:
            self._recorder.put(event, self._identity.token, then)

    def _request(self, task: str | None, model: str | None, needs: Sequence[str]) -> _Request:
        # Sorted, so that the same needs find the same route.
        return _Request(task, model, tuple(sorted(set(needs))), self._operator_keys.providers, self._team)


class UserAccount(_Account):
    """For threads."""

    def __init__(
        self,
        identify: Callable[[], Identity],
        database: Database,
        cache: Cache,
        operator_keys: OperatorKeys,
        recorder: Recorder,
        refusals: RefusalReports,
        team: UUID | str | None = None,
    ) -> None:
        super().__init__(cache, operator_keys, recorder, refusals, team)
        self._identify, self._database, self._cache = identify, database, cache

    def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """The candidates for one request.

        Raises:
            NoCandidateError: no provider can serve it; it says what the user can do, and what was skipped.
        """
        self._identity = self._identify()
        request = self._request(task, model, needs)
        route = self._drive(_find_route(request, demand, self))
        self._ticket, self._process = route.ticket, os.getpid()
        return route

    def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """Reserve for another candidate of a metered route. Raises SupaLLMError if a quota refuses."""
        self._put_back()
        self._run(routes.reserve_attempt(demand, task, number, candidate))

    def explain_route(self, task: str | None, model: str | None = None) -> Route:
        """The route of a chat for this task and model, without keys."""
        self._identity = self._identify()
        return self._run(self._request(task, model, ["chat"]).explain())

    def _drive(self, flow: _RouteFlow) -> Route:
        failure: SupaLLMError | None = None
        result: Any = None
        try:
            while True:
                effect = flow.throw(failure) if failure else flow.send(result)
                failure = None
                try:
                    result = self._do(effect)
                except SupaLLMError as error:
                    failure = error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, effect: _Effect) -> Any:
        if isinstance(effect, Call):
            return self._run(effect)

        def load() -> Route:
            effect.ran = True
            return self._drive(effect.load)

        return self._cache.fetch(self._identity.token, effect.slot, load)

    def _run(self, call: Call[T]) -> T:
        return self._database.run(call, self._identity.token.secret)


class AsyncUserAccount(_Account):
    """For tasks of one event loop; the twin of :class:`UserAccount`."""

    def __init__(
        self,
        identify: Callable[[], Awaitable[Identity]],
        database: AsyncDatabase,
        cache: AsyncCache,
        operator_keys: OperatorKeys,
        recorder: Recorder,
        refusals: RefusalReports,
        team: UUID | str | None = None,
    ) -> None:
        super().__init__(cache, operator_keys, recorder, refusals, team)
        self._identify, self._database, self._cache = identify, database, cache

    async def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """See :meth:`UserAccount.route`."""
        self._identity = await self._identify()
        request = self._request(task, model, needs)
        route = await self._drive(_find_route(request, demand, self))
        self._ticket, self._process = route.ticket, os.getpid()
        return route

    async def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """See :meth:`UserAccount.reserve`."""
        self._put_back()
        await self._run(routes.reserve_attempt(demand, task, number, candidate))

    async def explain_route(self, task: str | None, model: str | None = None) -> Route:
        """See :meth:`UserAccount.explain_route`."""
        self._identity = await self._identify()
        return await self._run(self._request(task, model, ["chat"]).explain())

    async def _drive(self, flow: _RouteFlow) -> Route:
        failure: SupaLLMError | None = None
        result: Any = None
        try:
            while True:
                effect = flow.throw(failure) if failure else flow.send(result)
                failure = None
                try:
                    result = await self._do(effect)
                except SupaLLMError as error:
                    failure = error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _do(self, effect: _Effect) -> Any:
        if isinstance(effect, Call):
            return await self._run(effect)

        async def load() -> Route:
            effect.ran = True
            return await self._drive(effect.load)

        return await self._cache.fetch(self._identity.token, effect.slot, load)

    async def _run(self, call: Call[T]) -> T:
        return await self._database.run(call, self._identity.token.secret)
