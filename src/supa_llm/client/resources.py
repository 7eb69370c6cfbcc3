"""The resources of a SupaLLM and its users: connections, caches, recorder, operator keys, engine."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

import httpx

from supa_llm.client.account import AsyncUserAccount, UserAccount
from supa_llm.client.cache import AsyncCache, Cache, Slot, Store, changing
from supa_llm.client.forks import begin_in_children
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.recorder import Recorder, Send
from supa_llm.client.refusal_reports import RefusalReports
from supa_llm.client.session import Identity
from supa_llm.client.spool import Spool
from supa_llm.database import settings
from supa_llm.database.call import Call
from supa_llm.database.transport import AsyncDatabase, Database, Project, is_header_value
from supa_llm.engine import POOL, AsyncEngine, Engine, Limits, Retries, Timeouts
from supa_llm.errors import ConfigurationError
from supa_llm.values.arguments import check
from supa_llm.values.credentials import (
    require_project_url,
    require_publishable_key,
    require_runtime_secret,
)
from supa_llm.values.secrets import Secret
from supa_llm.values.settings import Settings

if TYPE_CHECKING:
    import supabase

#: Seconds for which usage is retried: without a spool, and with one for as long as a ticket is valid.
_TEN_MINUTES, _DAY = 600.0, 86_400.0

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)


@dataclass(frozen=True, slots=True)
class Options(Generic[H]):
    """The arguments of :class:`~supa_llm.SupaLLM`."""

    runtime_secret: str | None
    operator_keys: Mapping[str, str] | None
    settings_ttl: float
    timeout: float
    attempt_timeout: float
    idle_timeout: float
    max_retries: int
    max_retry_wait: float
    max_response_bytes: int
    max_event_bytes: int
    database_timeout: float
    flush_timeout: float
    http_client: H | None
    usage_spool: str | os.PathLike[str] | None


class _Resources(ABC):
    """The part without I/O."""

    cache: Store
    recorder: Recorder
    refusals: RefusalReports
    engine: Engine | AsyncEngine

    def __init__(self, sb: supabase.Client | supabase.AsyncClient, options: Options[H]) -> None:
        check(
            timeout=options.timeout,
            attempt_timeout=options.attempt_timeout,
            idle_timeout=options.idle_timeout,
            max_retries=options.max_retries,
            max_retry_wait=options.max_retry_wait,
            max_response_bytes=options.max_response_bytes,
            max_event_bytes=options.max_event_bytes,
            database_timeout=options.database_timeout,
            flush_timeout=options.flush_timeout,
            settings_ttl=options.settings_ttl,
        )
        check(ConfigurationError, runtime_secret=options.runtime_secret, operator_keys=options.operator_keys)
        self.project = _project(sb, options.runtime_secret)
        self.operator_keys = OperatorKeys(options.operator_keys)
        self.flush_timeout = options.flush_timeout
        self._database_timeout = options.database_timeout
        self._spool = Spool(options.usage_spool) if options.usage_spool is not None else None
        self._closed = False
        self.retries = Retries(options.max_retries, options.max_retry_wait)
        self._timeouts = Timeouts(options.timeout, options.attempt_timeout, options.idle_timeout)
        ttl = options.settings_ttl
        self._settings_slot: Slot[Settings] = Slot("settings", None, lambda _: time.time() + ttl)

    def require_open(self) -> None:
        """Raise ConfigurationError if the client is closed."""
        if self._closed:
            raise ConfigurationError(
                "This client is closed.",
                code="closed",
                hint="Create a new client, or close this one after its last call.",
            )

    def timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        """The timeouts of one request; None is the client's."""
        total = self._timeouts.total if total is None else total
        attempt = self._timeouts.attempt if attempt is None else attempt
        check(timeout=total, attempt_timeout=attempt)
        return replace(self._timeouts, total=total, attempt=attempt)

    def signed_out(self, identity: Identity) -> None:
        """Drop what is cached for a user. Queued usage is still sent with their last token."""
        self.cache.forget(identity.token.owner)

    def refreshed(self, identity: Identity) -> None:
        """Queued usage of this user may wait for their new token."""
        self.recorder.renew(identity.token)

    def begin_child(self) -> None:
        """Share no connection and no lock with the parent of this forked process."""
        if not self._closed:
            self._open()
            self.engine.begin_child()

    @abstractmethod
    def _open(self) -> None:
        """Open the connections to the project, and an empty cache."""

    def _make_recorder(self, send: Send) -> Recorder:
        patience = _TEN_MINUTES if self._spool is None else _DAY
        # What the cache drops may queue an event: reservations that were not used are released.
        return Recorder(
            send,
            patience=patience,
            exit_timeout=self.flush_timeout,
            spool=self._spool,
            before_close=lambda: self.cache.clear(),
        )


class Resources(_Resources):
    """For threads."""

    cache: Cache
    engine: Engine

    def __init__(self, sb: supabase.Client, options: Options[httpx.Client]) -> None:
        if _is_asynchronous(sb) is not False:
            raise ConfigurationError(
                "SupaLLM needs a supabase.Client.", hint="For an asynchronous client, use AsyncSupaLLM."
            )
        super().__init__(sb, options)
        # The app's own HTTP client, if there is one, may have a proxy or a certificate.
        self._app_http = sb.options.httpx_client
        self._open()
        self.engine = Engine(options.http_client, _limits(options))
        self.recorder = self._make_recorder(lambda call, token: self._database.run(call, token))
        self.refusals = RefusalReports(lambda call, token: self._database.run(call, token))
        begin_in_children(self)

    def _open(self) -> None:
        http = self._app_http or _sync_http(self._database_timeout)
        self._own_http = None if self._app_http else http
        self._database = Database(self.project, http)
        self.cache = Cache()

    def account(self, identify: Callable[[], Identity], team: UUID | str | None) -> UserAccount:
        return UserAccount(
            identify, self._database, self.cache, self.operator_keys, self.recorder, self.refusals, team
        )

    def settings(self, identity: Identity) -> Settings:
        return self.cache.fetch(
            identity.token, self._settings_slot, lambda: self.run(settings.get_settings(), identity)
        )

    def run(self, call: Call[T], identity: Identity) -> T:
        token = identity.token
        result = self._database.run(call, token.secret)
        self.recorder.renew(token)
        return result

    def change(self, call: Call[T], identity: Identity) -> T:
        with changing(self.cache, identity.token):
            return self.run(call, identity)

    def close(self) -> None:
        self._closed = True
        self.recorder.close(self.flush_timeout)
        self.refusals.close(self.flush_timeout)
        self.engine.close()
        if self._own_http:
            self._own_http.close()


class AsyncResources(_Resources):
    """For tasks of one event loop."""

    cache: AsyncCache
    engine: AsyncEngine

    def __init__(self, sb: supabase.AsyncClient, options: Options[httpx.AsyncClient]) -> None:
        if _is_asynchronous(sb) is not True:
            raise ConfigurationError(
                "AsyncSupaLLM needs a supabase.AsyncClient.", hint="For a synchronous client, use SupaLLM."
            )
        super().__init__(sb, options)
        self._app_http = sb.options.httpx_client
        self._open()
        self.engine = AsyncEngine(options.http_client, _limits(options))
        self.recorder = self._make_recorder(lambda call, token: self._recording.run(call, token))
        self.refusals = RefusalReports(lambda call, token: self._recording.run(call, token))
        begin_in_children(self)

    def _open(self) -> None:
        http = self._app_http or httpx.AsyncClient(timeout=self._database_timeout, limits=POOL)
        self._own_http = None if self._app_http else http
        self._database = AsyncDatabase(self.project, http)
        # Threads send usage here too, because the event loop ends before the process.
        self._recording_http = _sync_http(self._database_timeout)
        self._recording = Database(self.project, self._recording_http)
        self.cache = AsyncCache()

    def account(
        self, identify: Callable[[], Awaitable[Identity]], team: UUID | str | None
    ) -> AsyncUserAccount:
        return AsyncUserAccount(
            identify, self._database, self.cache, self.operator_keys, self.recorder, self.refusals, team
        )

    async def settings(self, identity: Identity) -> Settings:
        return await self.cache.fetch(
            identity.token, self._settings_slot, lambda: self.run(settings.get_settings(), identity)
        )

    async def run(self, call: Call[T], identity: Identity) -> T:
        token = identity.token
        result = await self._database.run(call, token.secret)
        self.recorder.renew(token)
        return result

    async def change(self, call: Call[T], identity: Identity) -> T:
        with changing(self.cache, identity.token):
            return await self.run(call, identity)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self.recorder.close, self.flush_timeout)
        await asyncio.to_thread(self.refusals.close, self.flush_timeout)
        self._recording_http.close()
        await self.engine.aclose()
        if self._own_http:
            await self._own_http.aclose()


def _limits(options: Options[H]) -> Limits:
    return Limits(options.max_response_bytes, options.max_event_bytes)


def _is_asynchronous(sb: object) -> bool | None:
    """Whether a Supabase client is asynchronous; None if ``sb`` is not a Supabase client."""
    get_session = getattr(getattr(sb, "auth", None), "get_session", None)
    return inspect.iscoroutinefunction(get_session) if callable(get_session) else None


def _sync_http(timeout: float) -> httpx.Client:
    # HTTP/2 stays off because its header compression logs every header at DEBUG, tokens included.
    return httpx.Client(timeout=timeout, limits=POOL)


def _project(sb: supabase.Client | supabase.AsyncClient, runtime_secret: str | None) -> Project:
    secret = runtime_secret or os.environ.get("SUPA_LLM_RUNTIME_SECRET") or None
    if secret is not None and not is_header_value(secret):
        raise ConfigurationError(
            "The runtime secret contains a character that no runtime secret has.",
            hint="Pass the secret exactly as it was printed when the runtime was registered.",
        )
    if secret is not None:
        require_runtime_secret(secret)
    require_project_url(str(sb.supabase_url))
    require_publishable_key(sb.supabase_key)
    return Project(
        rest_url=str(sb.rest_url),
        api_key=sb.supabase_key,
        runtime_secret=Secret(secret) if secret else None,
    )
