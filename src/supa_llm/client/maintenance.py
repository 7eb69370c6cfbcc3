"""Maintenance of the database."""

from __future__ import annotations

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import maintenance
from supa_llm.values.maintenance import Maintenance as State


class Maintenance(Caller):
    """Maintenance of the database."""

    def run_maintenance(self) -> State:
        """Run maintenance for a few seconds. Call it until ``done``; see ``run_llm_maintenance()``.

        while not admin.run_maintenance().done: ...
        """
        return self._run(maintenance.run_maintenance())


@documented_by(Maintenance)
class AsyncMaintenance(AsyncCaller):
    """The twin of :class:`Maintenance`."""

    async def run_maintenance(self) -> State:
        return await self._run(maintenance.run_maintenance())
