"""The account of the user whose request runs: the route, the operator's keys, and where usage is recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from supa_llm.client.cache import AsyncCache, Cache, Slot, Store
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.recorder import Recorder
from supa_llm.client.session import AccessToken, Identity
from supa_llm.database import keys, routes, usage
from supa_llm.database.call import Call
from supa_llm.database.transport import AsyncDatabase, Database
from supa_llm.errors import NoCandidateError, QuotaExceededError, SupaLLMError
from supa_llm.values.keys import Key
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate, Demand, Route
from supa_llm.values.secrets import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Request:
    """What the route of a request depends on."""

    task: str | None
    model: str | None
    needs: tuple[str, ...]
    operator_providers: tuple[str, ...]

    def resolve(self, demand: Demand) -> Call[Route]:
        return routes.resolve_route(self.task, self.model, self.needs, self.operator_providers, demand)

    def explain(self) -> Call[Route]:
        return routes.explain_route(self.task, self.model, self.needs, self.operator_providers)


@dataclass(slots=True)
class _Fetch:
    """Effect: get the route from the cache, or run the flow ``load`` and cache its result.

    Attributes:
        ran: whether this effect ran ``load``. It did not if the route was cached, or if another request was
            already loading it.
    """

    slot: Slot[Route]
    load: _RouteFlow = field(repr=False)
    ran: bool = False


_Effect = _Fetch | Call[Any]
_RouteFlow = Generator[_Effect, Any, Route]


def _find_route(request: _Request, demand: Demand, store: Store, token: AccessToken) -> _RouteFlow:
    """Decide without I/O how to get the route of a request: from the lease, or from the database.

    A route is reused for its lease, unless a quota counts its first candidate: then each request reserves for
    itself.

    Raises (out of the generator):
        NoCandidateError: no provider can serve the request; it says what the user can do.
    """
    try:
        if store.kept(token, _metered(request)):
            return (yield from _resolve(request, demand))
        fetch = _Fetch(_slot(request), _resolve_after_first(request, demand))
        try:
            route: Route = yield fetch
        except QuotaExceededError:
            if fetch.ran:
                raise
            route = yield from _resolve(request, demand)  # the refused one may have been larger
        if route.reserved and not fetch.ran:
            route = yield from _resolve(request, demand)  # the cached one is reserved for another request
        if route.reserved:
            store.keep(token, _metered(request), replace(route, candidates=()))
        return route
    except NoCandidateError as error:
        empty = error
    with suppress(SupaLLMError):  # the error says what to do without these details too
        empty.skipped = (yield request.explain()).skipped
        limited = (yield keys.list_keys()) if empty.code == "keys_rate_limited" else []
        empty.retry_after = _soonest(limited, empty)
    raise empty


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


def _soonest(keys: list[Key], empty: NoCandidateError) -> float | None:
    """Seconds until the first rate limit ends or the first quota resets."""
    ends = [key.rate_limited_until.timestamp() for key in keys if key.rate_limited_until]
    resets = [line.quota["resets_at"] for line in empty.skipped if line.quota and line.quota["resets_at"]]
    ends += [datetime.fromisoformat(reset).timestamp() for reset in resets]
    return max(0.0, min(ends) - time.time()) if ends else None


def _lease(route: Route) -> float:
    return route.expires_at.timestamp() if route.expires_at else 0.0


#: A user's first route.
_FIRST: Slot[Route] = Slot("route", "first", _lease)


def _metered(request: _Request) -> Slot[Route]:
    """Holds for the time of a lease that a quota counts such requests. They then resolve routes of their own,
    without waiting for each other.
    """
    return Slot("metered", request, _lease)


def _slot(request: _Request) -> Slot[Route]:
    """A route is cached for its lease, which lets a runtime hold its keys, unless it has a reservation."""
    return Slot("route", request, lambda route: 0.0 if route.reserved else _lease(route))


class _Account:
    """The part without I/O. One object serves one request, of the user who is signed in when it begins."""

    _identity: Identity
    _ticket: Secret | None = None
    _process: int

    def __init__(self, store: Store, operator_keys: OperatorKeys, recorder: Recorder) -> None:
        self._store = store
        self._operator_keys = operator_keys
        self._recorder = recorder

    def operator_key(self, provider: str) -> Secret | None:
        return self._operator_keys.get(provider)

    def record(self, request_id: UUID, task: str | None, attempt: Attempt) -> None:
        """Queue one attempt for the recorder; neither blocks nor raises."""
        # A route that was resolved before the event arrived still has the key as valid: forget that one too.
        then = self.forget_route if attempt.error_class in ("auth", "rate_limited") else None
        self._queue(usage.usage_event(request_id, task, attempt, self._ticket), then)

    def release(self, request_id: UUID) -> None:
        """Release the reservation of a request; neither blocks nor raises."""
        self._queue(usage.release_event(request_id, self._ticket))

    def forget_route(self) -> None:
        """A key of the user was rejected or rate-limited, so each of their routes may change."""
        self._store.forget(self._identity.token.owner, "route")

    def _queue(self, event: Mapping[str, Any], then: Callable[[], None] | None = None) -> None:
        # A process that was forked in the middle of a request leaves its usage to the parent.
        if os.getpid() == self._process:
            self._recorder.put(event, self._identity.token, then)

    def _request(self, task: str | None, model: str | None, needs: Sequence[str]) -> _Request:
        # Sorted, so that the same needs find the same route.
        return _Request(task, model, tuple(sorted(set(needs))), self._operator_keys.providers)


class UserAccount(_Account):
    """For threads."""

    def __init__(
        self,
        identify: Callable[[], Identity],
        database: Database,
        cache: Cache,
        operator_keys: OperatorKeys,
        recorder: Recorder,
    ) -> None:
        super().__init__(cache, operator_keys, recorder)
        self._identify, self._database, self._cache = identify, database, cache

    def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """The candidates for one request.

        Raises:
            NoCandidateError: no provider can serve it; it says what the user can do, and what was skipped.
        """
        self._identity = self._identify()
        request, token = self._request(task, model, needs), self._identity.token
        route = self._drive(_find_route(request, demand, self._store, token))
        self._ticket, self._process = route.ticket, os.getpid()
        return route

    def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """Reserve for another candidate of a metered route. Raises SupaLLMError if a quota refuses."""
        self._run(routes.reserve_attempt(demand, task, number, candidate))

    def explain_route(self, task: str | None) -> Route:
        """The route of a chat for this task, without keys."""
        self._identity = self._identify()
        return self._run(self._request(task, None, ["chat"]).explain())

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
    ) -> None:
        super().__init__(cache, operator_keys, recorder)
        self._identify, self._database, self._cache = identify, database, cache

    async def route(self, task: str | None, model: str | None, needs: Sequence[str], demand: Demand) -> Route:
        """See :meth:`UserAccount.route`."""
        self._identity = await self._identify()
        request, token = self._request(task, model, needs), self._identity.token
        route = await self._drive(_find_route(request, demand, self._store, token))
        self._ticket, self._process = route.ticket, os.getpid()
        return route

    async def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """See :meth:`UserAccount.reserve`."""
        await self._run(routes.reserve_attempt(demand, task, number, candidate))

    async def explain_route(self, task: str | None) -> Route:
        """See :meth:`UserAccount.explain_route`."""
        self._identity = await self._identify()
        return await self._run(self._request(task, None, ["chat"]).explain())

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
