"""Alerts, of a user or of the operator."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import alerts
from supa_llm.values.alerts import Alert


class Alerts(Caller):
    """Alerts, of a user or of the operator."""

    def list_alerts(
        self, *, unread_only: bool = True, limit: int = 50, before: UUID | None = None
    ) -> list[Alert]:
        """Alerts, newest first: quotas at 80 % and 100 %, a rejected key, a model without a price.

            for alert in llm.list_alerts():
                print(alert.kind, alert.detail)

        An event raises one alert, however often it recurs. A user reads their own alerts, an administrator
        those of the operator.

        Args:
            limit: most alerts to return; at most 500.
            before: ID of the last alert of the previous page.
        """
        return self._run(alerts.list_alerts(unread_only, limit, before))

    def dismiss_alerts(self, ids: Sequence[UUID] | None = None) -> int:
        """Mark alerts as read, all of them if ``ids`` is None; returns how many were unread.

        llm.dismiss_alerts([alert.id])
        """
        return self._run(alerts.dismiss_alerts(ids))


@documented_by(Alerts)
class AsyncAlerts(AsyncCaller):
    """The twin of :class:`Alerts`."""

    async def list_alerts(
        self, *, unread_only: bool = True, limit: int = 50, before: UUID | None = None
    ) -> list[Alert]:
        return await self._run(alerts.list_alerts(unread_only, limit, before))

    async def dismiss_alerts(self, ids: Sequence[UUID] | None = None) -> int:
        return await self._run(alerts.dismiss_alerts(ids))
