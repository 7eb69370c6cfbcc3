"""UserLLM and AsyncUserLLM: everything about one user, put together from one file per noun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from supa_llm.client.account import AsyncUserAccount, UserAccount
from supa_llm.client.alerts import Alerts, AsyncAlerts
from supa_llm.client.audit import AsyncAudit, Audit
from supa_llm.client.caller import documented_by
from supa_llm.client.keys import AsyncKeys, Keys
from supa_llm.client.libraries import AsyncLibraries, Libraries
from supa_llm.client.prices import AsyncPrices, Prices
from supa_llm.client.providers import AsyncProviders, Providers
from supa_llm.client.quotas import AsyncQuotas, Quotas
from supa_llm.client.refusals import AsyncRefusals, Refusals
from supa_llm.client.requests import AsyncRequests, Requests
from supa_llm.client.resources import AsyncResources, Resources
from supa_llm.client.routes import AsyncRoutes, Routes
from supa_llm.client.session import Identity
from supa_llm.client.settings import AsyncUserSettings, UserSettings
from supa_llm.client.teams import AsyncTeams, Teams
from supa_llm.client.usage import AsyncUserUsage, UserUsage
from supa_llm.database.call import Call
from supa_llm.engine import AsyncEngine, Engine, Retries, Timeouts
from supa_llm.values.settings import Settings

T = TypeVar("T")


class UserLLM(
    UserSettings,
    Providers,
    Keys,
    Routes,
    Libraries,
    UserUsage,
    Requests,
    Refusals,
    Prices,
    Quotas,
    Alerts,
    Audit,
):
    """One user's LLM settings and requests, from :meth:`SupaLLM.for_user`. It needs no closing.

    All methods raise :class:`~supa_llm.errors.SupaLLMError`, such as ``NotSignedInError`` if the access token
    has expired and ``DatabaseUnavailableError`` if the Supabase project does not respond in time.
    """

    def __init__(self, resources: Resources, identify: Callable[[], Identity]) -> None:
        self._resources = resources
        self._identify = identify

    def _settings(self) -> Settings:
        return self._resources.settings(self._user())

    def _run(self, call: Call[T]) -> T:
        return self._resources.run(call, self._user())

    def _change(self, call: Call[T]) -> T:
        return self._resources.change(call, self._user())

    def _user(self) -> Identity:
        self._resources.require_open()
        return self._identify()

    @property
    def teams(self) -> Teams:
        """The user's teams: members, invitations and policies.

        team = llm.teams.create_team("Research")
        """
        return Teams(self)

    def _account(self, team: UUID | str | None = None) -> UserAccount:
        return self._resources.account(self._user, team)

    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        return self._resources.timeouts(total, attempt)

    @property
    def _retries(self) -> Retries:
        return self._resources.retries

    @property
    def _engine(self) -> Engine:
        self._resources.require_open()
        return self._resources.engine

    @property
    def _operator_providers(self) -> Sequence[str]:
        return self._resources.operator_keys.providers


@documented_by(UserLLM)
class AsyncUserLLM(
    AsyncUserSettings,
    AsyncProviders,
    AsyncKeys,
    AsyncRoutes,
    AsyncLibraries,
    AsyncUserUsage,
    AsyncRequests,
    AsyncRefusals,
    AsyncPrices,
    AsyncQuotas,
    AsyncAlerts,
    AsyncAudit,
):
    """One user's LLM settings and requests, from :meth:`AsyncSupaLLM.for_user`. It needs no closing.

    The methods are those of :class:`UserLLM`, awaited:

        settings = await llm.get_settings()
    """

    def __init__(self, resources: AsyncResources, identify: Callable[[], Awaitable[Identity]]) -> None:
        self._resources = resources
        self._identify = identify

    async def _settings(self) -> Settings:
        return await self._resources.settings(await self._user())

    async def _run(self, call: Call[T]) -> T:
        return await self._resources.run(call, await self._user())

    async def _change(self, call: Call[T]) -> T:
        return await self._resources.change(call, await self._user())

    async def _user(self) -> Identity:
        self._resources.require_open()
        return await self._identify()

    @property
    def teams(self) -> AsyncTeams:
        return AsyncTeams(self)

    def _account(self, team: UUID | str | None = None) -> AsyncUserAccount:
        return self._resources.account(self._user, team)

    def _timeouts(self, total: float | None, attempt: float | None) -> Timeouts:
        return self._resources.timeouts(total, attempt)

    @property
    def _retries(self) -> Retries:
        return self._resources.retries

    @property
    def _engine(self) -> AsyncEngine:
        self._resources.require_open()
        return self._resources.engine

    @property
    def _operator_providers(self) -> Sequence[str]:
        return self._resources.operator_keys.providers
