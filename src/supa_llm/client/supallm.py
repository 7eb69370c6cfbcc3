"""SupaLLM and AsyncSupaLLM: the user signed in on the app's Supabase client, or any user of a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from supa_llm.client.caller import documented_by
from supa_llm.client.resources import AsyncResources, Options, Resources
from supa_llm.client.session import AsyncSession, Identity, Session
from supa_llm.client.user import AsyncUserLLM, UserLLM
from supa_llm.errors import SupaLLMError

if TYPE_CHECKING:
    import httpx

    import supabase


class SupaLLM(UserLLM):
    """LLM settings and requests of the user who is signed in on the app's Supabase client.

        sb = create_client(url, publishable_key)
        with SupaLLM(sb) as llm:
            sb.auth.sign_in_with_password({"email": email, "password": password})
            print(llm.chat("Hello").text)

    It follows the client's Auth events: a sign-in loads the user's settings and creates them the first time,
    a refresh replaces the token, and a sign-out drops what was cached for the user. On a server, one object
    serves all users: see :meth:`for_user`. Threads may share it, and it changes nothing in ``sb``.

    Args:
        sb: the app's client, with the project's publishable key.
        runtime_secret: secret that makes this process a runtime of the operator; None reads
            ``SUPA_LLM_RUNTIME_SECRET``.
        operator_keys: provider ID → the operator's own key. None reads ``SUPA_LLM_OPENAI_API_KEY`` or else
            ``OPENAI_API_KEY``, and so on for each provider, from the environment; ``{}`` offers none.
        settings_ttl: seconds for which settings are cached. Routes are cached for their lease.
        timeout: seconds for a whole request; for a stream, until its first content.
        attempt_timeout: seconds for one candidate before the next one is tried.
        idle_timeout: seconds for which a stream may send nothing.
        max_response_bytes: most bytes of a provider's response, after decompression.
        max_event_bytes: most bytes of one event of a stream.
        max_retries: retries after all candidates have failed, 0 to 10; 0 turns off all retries.
        max_retry_wait: seconds that a provider may ask to wait before a retry; for more, there is none.
        database_timeout: seconds for one call to the Supabase project.
        flush_timeout: seconds that closing the client and the end of the interpreter wait for usage to be
            recorded.
        http_client: HTTP client for providers, with proxies, certificates or limits; the app closes it.
        usage_spool: directory for usage that is not recorded yet, so that it survives a killed process.
            Several processes may share it. Unix only.

    Raises:
        ConfigurationError: ``sb`` is an asynchronous client, or has a secret key (code
            ``publishable_key_required``) or an invalid URL (``project_url_invalid``); the runtime secret is
            invalid (``runtime_secret_invalid``), or the spool cannot be written.
    """

    def __init__(
        self,
        sb: supabase.Client,
        *,
        runtime_secret: str | None = None,
        operator_keys: Mapping[str, str] | None = None,
        settings_ttl: float = 60.0,
        timeout: float = 600.0,
        attempt_timeout: float = 180.0,
        idle_timeout: float = 60.0,
        max_retries: int = 2,
        max_retry_wait: float = 60.0,
        max_response_bytes: int = 32 * 2**20,
        max_event_bytes: int = 2**20,
        database_timeout: float = 10.0,
        flush_timeout: float = 10.0,
        http_client: httpx.Client | None = None,
        usage_spool: str | os.PathLike[str] | None = None,
    ) -> None:
        resources = Resources(
            sb,
            Options(
                runtime_secret=runtime_secret,
                operator_keys=operator_keys,
                settings_ttl=settings_ttl,
                timeout=timeout,
                attempt_timeout=attempt_timeout,
                idle_timeout=idle_timeout,
                max_retries=max_retries,
                max_retry_wait=max_retry_wait,
                max_response_bytes=max_response_bytes,
                max_event_bytes=max_event_bytes,
                database_timeout=database_timeout,
                flush_timeout=flush_timeout,
                http_client=http_client,
                usage_spool=usage_spool,
            ),
        )
        self._session = Session(sb.auth, self._signed_in, resources.signed_out, resources.refreshed)
        super().__init__(resources, self._session.identity)

    def for_user(self, access_token: str) -> UserLLM:
        """The user of an access token. Makes no request; shares this object's connections and caches.

        llm.for_user(request.headers["Authorization"].removeprefix("Bearer ")).chat("Hello")
        """
        self._resources.require_open()
        identity = Identity(access_token)
        return UserLLM(self._resources, lambda: identity)

    @property
    def dropped_usage(self) -> int:
        """Number of usage events of this process that are lost. The logger ``supa_llm`` warns of each.

        Events that wait for the database or for a newer token of their user are not lost yet. Events that
        closing left in the spool are not lost either.
        """
        return self._resources.recorder.dropped

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait up to ``timeout`` seconds until all usage is recorded.

        Returns False if some is not recorded yet, or if any is lost: :attr:`dropped_usage` tells them apart.
        """
        return self._resources.recorder.flush(timeout)

    def close(self) -> None:
        """Record the remaining usage, then close the connections. ``sb`` stays open.

        Every later call, also through :meth:`for_user`, raises ConfigurationError (code ``closed``).
        """
        self._session.close()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signed_in(self, identity: Identity) -> None:
        with suppress(SupaLLMError):  # a sign-in never fails because of settings; their first use reports it
            self._resources.settings(identity)


@documented_by(SupaLLM)
class AsyncSupaLLM(AsyncUserLLM):
    """LLM settings and requests of the user who is signed in on the app's asynchronous Supabase client.

        sb = await create_async_client(url, publishable_key)
        async with AsyncSupaLLM(sb) as llm:
            await sb.auth.sign_in_with_password({"email": email, "password": password})
            print((await llm.chat("Hello")).text)

    It is the twin of :class:`SupaLLM` for one event loop: the same arguments, and the same methods, awaited.
    A sign-in loads the settings in the background, and their first use waits for them.
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
        idle_timeout: float = 60.0,
        max_retries: int = 2,
        max_retry_wait: float = 60.0,
        max_response_bytes: int = 32 * 2**20,
        max_event_bytes: int = 2**20,
        database_timeout: float = 10.0,
        flush_timeout: float = 10.0,
        http_client: httpx.AsyncClient | None = None,
        usage_spool: str | os.PathLike[str] | None = None,
    ) -> None:
        resources = AsyncResources(
            sb,
            Options(
                runtime_secret=runtime_secret,
                operator_keys=operator_keys,
                settings_ttl=settings_ttl,
                timeout=timeout,
                attempt_timeout=attempt_timeout,
                idle_timeout=idle_timeout,
                max_retries=max_retries,
                max_retry_wait=max_retry_wait,
                max_response_bytes=max_response_bytes,
                max_event_bytes=max_event_bytes,
                database_timeout=database_timeout,
                flush_timeout=flush_timeout,
                http_client=http_client,
                usage_spool=usage_spool,
            ),
        )
        self._session = AsyncSession(sb.auth, self._signed_in, resources.signed_out, resources.refreshed)
        self._loading: set[asyncio.Task[None]] = set()
        super().__init__(resources, self._session.identity)

    def for_user(self, access_token: str) -> AsyncUserLLM:
        self._resources.require_open()
        identity = Identity(access_token)

        async def identify() -> Identity:
            return identity

        return AsyncUserLLM(self._resources, identify)

    @property
    def dropped_usage(self) -> int:
        return self._resources.recorder.dropped

    async def flush(self, timeout: float = 10.0) -> bool:
        return await asyncio.to_thread(self._resources.recorder.flush, timeout)

    async def close(self) -> None:
        self._session.close()
        await self._resources.close()

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
            await self._resources.settings(identity)
