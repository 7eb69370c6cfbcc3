"""AsyncSupaLLM: the methods of SupaLLM for asyncio, with the same arguments and docs; they are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from supa_llm.client import dropin
from supa_llm.client.answers import AsyncChatStream, ChatAnswer, Embeddings, chat_body, embeddings_body
from supa_llm.client.dropin import OnReceipt
from supa_llm.client.resources import AsyncCore, Options
from supa_llm.client.routes import AsyncUserPolicy
from supa_llm.client.session import AsyncSession, Identity
from supa_llm.client.settings import UNSET, Unset, given, preference_change, task_change
from supa_llm.client.spending import AsyncSpending
from supa_llm.client.supallm import SupaLLM
from supa_llm.client.twins import documented_by
from supa_llm.client.usage import AsyncReports
from supa_llm.client.user import UserLLM
from supa_llm.database import audit, keys, providers, routes, settings
from supa_llm.database.call import Call
from supa_llm.errors import SupaLLMError
from supa_llm.values.audit import AuditEntry
from supa_llm.values.keys import Key
from supa_llm.values.providers import KnownModel, Provider
from supa_llm.values.routes import Candidate, Route
from supa_llm.values.settings import Settings

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

    import supabase

T = TypeVar("T")


@documented_by(UserLLM)
class AsyncUserLLM(AsyncReports, AsyncSpending):
    """One user's LLM settings and requests; :meth:`AsyncSupaLLM.for_user` makes it. Nothing to be closed.

    The methods are those of :class:`UserLLM`, awaited:

        settings = await llm.get_settings()
    """

    def __init__(self, core: AsyncCore, identify: Callable[[], Awaitable[Identity]]) -> None:
        self._shared = core
        self._identify = identify

    async def get_settings(self) -> Settings:
        return await self._core.settings(await self._user())

    async def set_settings(
        self,
        *,
        default_provider: str | Unset | None = UNSET,
        enable_fallbacks: bool | Unset = UNSET,
        allow_operator_keys: bool | Unset | None = UNSET,
        time_zone: str | Unset = UNSET,
        provider_preferences: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        task_overrides: Mapping[str, Mapping[str, Any] | None] | Unset = UNSET,
        expected_version: int | None = None,
    ) -> Settings:
        changes = given(
            default_provider=default_provider,
            enable_fallbacks=enable_fallbacks,
            allow_operator_keys=allow_operator_keys,
            time_zone=time_zone,
            provider_preferences=provider_preferences,
            task_overrides=task_overrides,
        )
        return await self._change(settings.set_settings(changes, expected_version))

    async def set_preference(
        self,
        provider: str,
        *,
        enabled: bool | Unset | None = UNSET,
        priority: int | Unset | None = UNSET,
        model: str | Unset | None = UNSET,
    ) -> Settings:
        changes = preference_change(provider, given(enabled=enabled, priority=priority, model=model))
        return await self._change(settings.set_settings(changes))

    async def set_task(
        self, task: str, provider: str, model: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> Settings:
        return await self._change(settings.set_settings(task_change(task, provider, model, fallbacks)))

    async def remove_task(self, task: str) -> Settings:
        return await self._change(settings.set_settings({"task_overrides": {task: None}}))

    async def list_providers(self) -> list[Provider]:
        return await self._read(providers.list_providers())

    async def list_models(self, provider: str) -> list[KnownModel]:
        return await self._read(providers.list_models(provider))

    async def list_keys(self) -> list[Key]:
        return await self._read(keys.list_keys())

    async def set_key(self, provider: str, key: str) -> Key:
        return await self._change(keys.set_key(provider, key))

    async def remove_key(self, provider: str) -> None:
        await self._change(keys.remove_key(provider))

    async def reveal_key(self, provider: str) -> str:
        return await self._read(keys.reveal_key(provider))

    async def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        return await self._read(audit.get_audit_log(limit, before))

    async def best_provider(self, task: str | None = None) -> Candidate:
        return self._core.first_candidate(await self.explain_route(task))

    async def explain_route(
        self,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> Route:
        return await self._read(
            routes.explain_route(task, model, needs, self._core.operator_keys.providers, changes)
        )

    async def chat(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> ChatAnswer:
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return await self._core.engine.chat(
            self._policy(), body, task=task, model=model, timeouts=timeouts, schema=schema
        )

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task: str | None = None,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        schema: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> AsyncChatStream:
        body = chat_body(
            prompt, tools=tools, schema=schema, max_tokens=max_tokens, temperature=temperature, **parameters
        )
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return self._core.engine.stream(
            self._policy(), body, task=task, model=model, timeouts=timeouts, schema=schema
        )

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        **parameters: Any,
    ) -> Embeddings:
        body = embeddings_body(texts, dimensions=dimensions, **parameters)
        timeouts = self._core.timeouts(timeout, attempt_timeout)
        return await self._core.engine.embed(self._policy(), body, task=task, model=model, timeouts=timeouts)

    def async_openai(
        self, *, task: str | None = None, on_receipt: OnReceipt | None = None, **options: Any
    ) -> AsyncOpenAI:
        return dropin.async_openai(
            self._policy, self._core.engine, task=task, on_receipt=on_receipt, **options
        )

    @property
    def _core(self) -> AsyncCore:
        """What is shared, for a call: every one of a closed client's ends here."""
        self._shared.require_open()
        return self._shared

    async def _user(self) -> Identity:
        self._shared.require_open()
        return await self._identify()

    def _policy(self) -> AsyncUserPolicy:
        return self._core.policy(self._user)

    async def _read(self, call: Call[T]) -> T:
        return await self._core.run(call, await self._user())

    async def _change(self, call: Call[T]) -> T:
        return await self._core.change(call, await self._user())


@documented_by(SupaLLM)
class AsyncSupaLLM(AsyncUserLLM):
    """LLM settings and requests of whoever is signed in on the app's asynchronous Supabase client.

        sb = await create_async_client(url, publishable_key)
        async with AsyncSupaLLM(sb) as llm:
            await sb.auth.sign_in_with_password({"email": email, "password": password})
            print((await llm.chat("Hello")).text)

    It is :class:`SupaLLM` for one event loop: the same arguments, and the same methods, awaited. What a
    sign-in loads is loaded in the background, and the first use waits for it.
    """

    def __init__(
        self,
        sb: supabase.AsyncClient,
        *,
        runtime_secret: str | None = None,
        operator_keys: Mapping[str, str] | None = None,
        settings_ttl: float = 60.0,
        timeout: float = 600.0,
        attempt_timeout: float = 180.0,
        database_timeout: float = 10.0,
        flush_timeout: float = 10.0,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        core = AsyncCore(
            sb,
            Options(
                runtime_secret=runtime_secret,
                operator_keys=operator_keys,
                settings_ttl=settings_ttl,
                timeout=timeout,
                attempt_timeout=attempt_timeout,
                database_timeout=database_timeout,
                flush_timeout=flush_timeout,
                http_client=http_client,
            ),
        )
        self._session = AsyncSession(sb.auth, self._signed_in, core.signed_out)
        self._loading: set[asyncio.Task[None]] = set()
        super().__init__(core, self._session.identity)

    def for_user(self, access_token: str) -> AsyncUserLLM:
        core, identity = self._core, Identity(access_token)

        async def identify() -> Identity:
            return identity

        return AsyncUserLLM(core, identify)

    @property
    def dropped_usage(self) -> int:
        """Usage events that could not be recorded; each was warned of on the logger ``supa_llm``."""
        return self._shared.recorder.dropped

    async def flush(self, timeout: float = 10.0) -> bool:
        return await asyncio.to_thread(self._shared.recorder.flush, timeout)

    async def close(self) -> None:
        self._session.close()
        await self._shared.close()

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _signed_in(self, identity: Identity) -> None:
        task = asyncio.ensure_future(self._load(identity))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _load(self, identity: Identity) -> None:
        with suppress(SupaLLMError):
            await self._shared.settings(identity)
