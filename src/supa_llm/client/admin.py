"""Admin and AsyncAdmin: the administrator's methods for a whole project."""

from __future__ import annotations

from typing import Self, TypeVar

import httpx

from supa_llm.client.alerts import Alerts, AsyncAlerts
from supa_llm.client.audit import AdminAudit, AsyncAdminAudit
from supa_llm.client.caller import documented_by
from supa_llm.client.configuration import AsyncConfiguration, Configuration
from supa_llm.client.maintenance import AsyncMaintenance, Maintenance
from supa_llm.client.operator import AsyncOperator, Operator
from supa_llm.client.prices import AdminPrices, AsyncAdminPrices
from supa_llm.client.problems import AsyncProblems, Problems
from supa_llm.client.providers import AdminProviders, AsyncAdminProviders
from supa_llm.client.quotas import AdminQuotas, AsyncAdminQuotas
from supa_llm.client.recalculations import AsyncRecalculations, Recalculations
from supa_llm.client.refusals import AdminRefusals, AsyncAdminRefusals
from supa_llm.client.runtimes import AsyncRuntimes, Runtimes
from supa_llm.client.teams import AdminTeams, AsyncAdminTeams
from supa_llm.client.usage import AdminUsage, AsyncAdminUsage
from supa_llm.client.users import AsyncUsers, Users
from supa_llm.client.vault import AdminVault, AsyncAdminVault
from supa_llm.database.call import Call
from supa_llm.database.transport import AsyncDatabase, Database, Project, is_header_value
from supa_llm.engine import POOL
from supa_llm.errors import ConfigurationError
from supa_llm.values.arguments import check
from supa_llm.values.credentials import require_project_url, require_secret_key

T = TypeVar("T")


class Admin(
    AdminProviders,
    AdminPrices,
    AdminQuotas,
    AdminUsage,
    AdminRefusals,
    AdminAudit,
    Users,
    Alerts,
    Operator,
    Configuration,
    Runtimes,
    Recalculations,
    Maintenance,
    AdminVault,
    Problems,
):
    """An administrator's access to a Supabase project with supa-llm, through the project's secret key.

        with Admin(url, secret_key) as admin:
            admin.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9})

    Use it on a server or in a command line only: the secret key may do anything. All methods raise
    :class:`~supa_llm.errors.SupaLLMError`. Threads may share one object.

    Args:
        url: the project's URL, such as ``https://<ref>.supabase.co``.
        secret_key: its secret key (``sb_secret_…``), or the service_role key of an older project.
        timeout: seconds that one call may take.

    Raises:
        ConfigurationError: the URL is not a project's (code ``project_url_invalid``), or the key is not a
            secret key (``secret_key_required``).
    """

    def __init__(self, url: str, secret_key: str, *, timeout: float = 30.0) -> None:
        project = _project(url, secret_key, timeout)
        self._http = httpx.Client(timeout=timeout, limits=POOL)
        self._database = Database(project, self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def teams(self) -> AdminTeams:
        """All teams. An administrator may do whatever an owner may.

        admin.teams.list_members(team_id)
        """
        return AdminTeams(self)

    def _run(self, call: Call[T]) -> T:
        return self._database.run(call)

    def _change(self, call: Call[T]) -> T:
        return self._database.run(call)  # nothing is cached for an administrator


@documented_by(Admin)
class AsyncAdmin(
    AsyncAdminProviders,
    AsyncAdminPrices,
    AsyncAdminQuotas,
    AsyncAdminUsage,
    AsyncAdminRefusals,
    AsyncAdminAudit,
    AsyncUsers,
    AsyncAlerts,
    AsyncOperator,
    AsyncConfiguration,
    AsyncRuntimes,
    AsyncRecalculations,
    AsyncMaintenance,
    AsyncAdminVault,
    AsyncProblems,
):
    """The twin of :class:`Admin` for asyncio: the same methods, awaited.

        async with AsyncAdmin(url, secret_key) as admin:
            await admin.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9})

    Tasks of one event loop may share one object.
    """

    def __init__(self, url: str, secret_key: str, *, timeout: float = 30.0) -> None:
        project = _project(url, secret_key, timeout)
        self._http = httpx.AsyncClient(timeout=timeout, limits=POOL)
        self._database = AsyncDatabase(project, self._http)

    async def close(self) -> None:
        await self._http.aclose()

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def teams(self) -> AsyncAdminTeams:
        return AsyncAdminTeams(self)

    async def _run(self, call: Call[T]) -> T:
        return await self._database.run(call)

    async def _change(self, call: Call[T]) -> T:
        return await self._database.run(call)


def _project(url: str, secret_key: str, timeout: float) -> Project:
    check(timeout=timeout)
    require_project_url(url)
    if not is_header_value(secret_key):
        raise ConfigurationError(
            "The secret key contains a character that no key has.",
            hint="Copy it again from the project's API settings.",
        )
    require_secret_key(secret_key)
    return Project(f"{url.rstrip('/')}/rest/v1", secret_key)
