"""What the engine asks about one user's request: the route, the operator's key, and where usage goes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from supa_llm.client.cache import AsyncCache, Cache, Slot, Store
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.recorder import Recorder
from supa_llm.client.session import AccessToken, Identity
from supa_llm.database import keys, routes, usage
from supa_llm.database.transport import AsyncDatabase, Database
from supa_llm.errors import NoCandidateError, NotSignedInError, QuotaExceededError, SupaLLMError
from supa_llm.values.keys import Key
from supa_llm.values.receipts import Attempt
from supa_llm.values.routes import Candidate, Route
from supa_llm.values.secrets import Secret

if TYPE_CHECKING:
    from supa_llm.engine.effects import Demand

_RATE_LIMITED = "keys_rate_limited"

_Question = tuple[str | None, str | None, tuple[str, ...], tuple[str, ...]]


class _Policy:
    """The part without I/O. One object serves one request, of whoever is signed in when it asks the route."""

    _identity: Identity

    def __init__(self, store: Store, operator_keys: OperatorKeys, recorder: Recorder) -> None:
        self._store = store
        self._operator_keys = operator_keys
        self._recorder = recorder

    def operator_key(self, provider: str) -> Secret | None:
        return self._operator_keys.get(provider)

    def record(self, request_id: UUID, task: str | None, attempt: Attempt) -> None:
        """Take one attempt to be recorded; neither blocks nor raises."""
        # A route that was resolved while this was on its way still holds the key as good: forget that, too.
        then = self.forget_route if attempt.error_class in ("auth", "rate_limited") else None
        self._recorder.put(usage.record_usage(request_id, task, attempt), self._identity, then)

    def release(self, request_id: UUID) -> None:
        """Free what is reserved for a request; neither blocks nor raises."""
        self._recorder.put(routes.release_request(request_id), self._identity)

    def forget_route(self) -> None:
        """A key of this user's was refused or limited, so every route of theirs may look different."""
        self._store.forget(self._identity.token.owner, "route")

    def _question(self, task: str | None, model: str | None, needs: Sequence[str]) -> _Question:
        # Needs in an order of their own, so that the same needs find the same route.
        return task, model, tuple(sorted(set(needs))), self._operator_keys.providers


class UserPolicy(_Policy):
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
        """The candidates for one request, from the lease where one is kept and no quota binds the user.

        Raises:
            NoCandidateError: nothing can serve; it says what the user can do, and what was left out.
        """
        self._identity = self._identify()
        token, question = self._identity.token, self._question(task, model, needs)
        asked = False

        def ask() -> Route:
            nonlocal asked
            asked = True
            return self._database.run(routes.resolve_route(*question, demand), token.secret)

        try:
            if self._cache.kept(token, _METERED):
                return ask()
            try:
                route = self._cache.fetch(token, _slot(question), ask)
            except QuotaExceededError:
                if asked:
                    raise
                route = ask()  # another request of this moment was refused: it may have been a larger one
            if route.metered and not asked:
                route = ask()  # it was reserved for another request
            if route.metered:
                self._cache.keep(token, _METERED, replace(route, candidates=()))
            return route
        except NoCandidateError as error:
            empty = error
        with suppress(SupaLLMError):  # the error says what to do without it, too
            empty.skipped = self._database.run(routes.explain_route(*question), token.secret).skipped
            rate_limited = empty.code == _RATE_LIMITED
            limited = self._database.run(keys.list_keys(), token.secret) if rate_limited else []
            empty.retry_after = _soonest(limited, empty)
        raise empty

    def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """Reserve for another candidate of a metered route. Raises SupaLLMError where a quota refuses."""
        call = routes.reserve_attempt(demand, task, number, candidate)
        self._database.run(call, self._identity.token.secret)

    def models(self, task: str | None) -> Route:
        """What a chat for this task could run on now, without keys."""
        call = routes.explain_route(*self._question(task, None, ["chat"]))
        return self._database.run(call, self._identify().token.secret)


class AsyncUserPolicy(_Policy):
    """For tasks of one event loop."""

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
        """The candidates for one request; the same as :meth:`UserPolicy.route`."""
        self._identity = await self._identify()
        token, question = self._identity.token, self._question(task, model, needs)
        asked = False

        async def ask() -> Route:
            nonlocal asked
            asked = True
            return await self._database.run(routes.resolve_route(*question, demand), token.secret)

        try:
            if self._cache.kept(token, _METERED):
                return await ask()
            try:
                route = await self._cache.fetch(token, _slot(question), ask)
            except QuotaExceededError:
                if asked:
                    raise
                route = await ask()
            if route.metered and not asked:
                route = await ask()
            if route.metered:
                self._cache.keep(token, _METERED, replace(route, candidates=()))
            return route
        except NoCandidateError as error:
            empty = error
        with suppress(SupaLLMError):
            empty.skipped = (await self._database.run(routes.explain_route(*question), token.secret)).skipped
            rate_limited = empty.code == _RATE_LIMITED
            limited = await self._database.run(keys.list_keys(), token.secret) if rate_limited else []
            empty.retry_after = _soonest(limited, empty)
        raise empty

    async def reserve(self, demand: Demand, task: str | None, number: int, candidate: Candidate) -> None:
        """The same as :meth:`UserPolicy.reserve`."""
        call = routes.reserve_attempt(demand, task, number, candidate)
        await self._database.run(call, self._identity.token.secret)

    async def models(self, task: str | None) -> Route:
        """The same as :meth:`UserPolicy.models`."""
        call = routes.explain_route(*self._question(task, None, ["chat"]))
        return await self._database.run(call, (await self._identify()).token.secret)


def _soonest(keys: list[Key], empty: NoCandidateError) -> float | None:
    """Seconds until the first key has cooled down, or the first quota resets."""
    ends = [key.rate_limited_until.timestamp() for key in keys if key.rate_limited_until]
    resets = [line.quota["resets_at"] for line in empty.skipped if line.quota and line.quota["resets_at"]]
    ends += [datetime.fromisoformat(reset).timestamp() for reset in resets]
    return max(0.0, min(ends) - time.time()) if ends else None


def _lease(route: Route) -> float:
    return route.expires_at.timestamp() if route.expires_at else 0.0


#: That quotas bind a user is remembered for a lease: their requests ask for themselves, without waiting for
#: each other's answers.
_METERED: Slot[Route] = Slot("metered", None, _lease)


def _slot(question: _Question) -> Slot[Route]:
    """A route is kept for its lease, which lets a runtime hold its keys; one with a reservation is not."""
    return Slot("route", question, lambda route: 0.0 if route.metered else _lease(route))


@contextmanager
def changing(store: Store, token: AccessToken) -> Iterator[None]:
    """Forget what is kept for the token's user after a change of theirs, or what may have been one."""
    try:
        yield
    except NotSignedInError:
        raise  # nothing changed, and a refused token may claim to be anybody's
    except BaseException:
        store.forget(token.owner)
        raise
    store.forget(token.owner)
