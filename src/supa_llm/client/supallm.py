"""SupaLLM: the settings and requests of whoever is signed in on the app's Supabase client, or of any user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from supa_llm.client.resources import Core, Options
from supa_llm.client.session import Identity, Session
from supa_llm.client.user import UserLLM
from supa_llm.errors import SupaLLMError

if TYPE_CHECKING:
    import httpx

    import supabase


class SupaLLM(UserLLM):
    """LLM settings and requests of whoever is signed in on the app's Supabase client.

        sb = create_client(url, publishable_key)
        with SupaLLM(sb) as llm:
            sb.auth.sign_in_with_password({"email": email, "password": password})
            print(llm.chat("Hello").text)

    It follows the client's Auth events: a sign-in loads the user's settings (and makes them, the first time),
    a token refresh is followed, a sign-out clears what was kept of the user. In a server one object serves
    everybody: :meth:`for_user`. It may be shared between threads, and it changes nothing in ``sb``.

    Args:
        sb: the app's client. Its publishable key is enough.
        runtime_secret: what makes this process a runtime of the operator's; None reads
            ``SUPA_LLM_RUNTIME_SECRET``.
        operator_keys: provider id → the operator's own key; None reads ``OPENAI_API_KEY``, ``GROQ_API_KEY``
            and so on (``<PROVIDER>_API_KEY``) from the environment, ``{}`` offers none.
        settings_ttl: seconds for which settings are kept. Routes are kept as long as the database lets keys
            be kept.
        timeout: seconds from a call until a provider must have answered.
        attempt_timeout: seconds for one candidate, after which the next is tried.
        database_timeout: seconds that one call to the Supabase project may take.
        flush_timeout: seconds that closing, and the end of the interpreter, wait for usage to be recorded.
        http_client: for calls to providers, to set proxies, certificates or limits; yours to close.

    Raises:
        ConfigurationError: ``sb`` is an asynchronous client, or the runtime secret cannot be one.
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
        database_timeout: float = 10.0,
        flush_timeout: float = 10.0,
        http_client: httpx.Client | None = None,
    ) -> None:
        core = Core(
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
        self._session = Session(sb.auth, self._signed_in, core.signed_out)
        super().__init__(core, self._session.identity)

    def for_user(self, access_token: str) -> UserLLM:
        """The user of an access token; costs nothing, and shares connections and caches with this object.

        llm.for_user(request.headers["Authorization"].removeprefix("Bearer ")).chat("Hello")
        """
        core, identity = self._core, Identity(access_token)
        return UserLLM(core, lambda: identity)

    @property
    def dropped_usage(self) -> int:
        """Usage events that could not be recorded; each was warned of on the logger ``supa_llm``."""
        return self._shared.recorder.dropped

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all usage so far is recorded, at most ``timeout`` seconds; False when some is not."""
        return self._shared.recorder.flush(timeout)

    def close(self) -> None:
        """Record what usage there still is, then close the connections. ``sb`` stays open.

        Every later call, of its views too, raises ConfigurationError (code ``closed``).
        """
        self._session.close()
        self._shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signed_in(self, identity: Identity) -> None:
        with suppress(
            SupaLLMError
        ):  # a sign-in does not fail because of settings: their first use reports it
            self._shared.settings(identity)
