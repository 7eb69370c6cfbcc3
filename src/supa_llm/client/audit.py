"""The audit log of a user."""

from __future__ import annotations

from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import audit
from supa_llm.values.audit import AuditEntry


class Audit(Caller):
    """The audit log of a user."""

    def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        """Changes to the user's settings and keys, and which runtimes held the keys; the newest first.

        Args:
            limit: most entries to return.
            before: ID of the last entry of the previous page.
        """
        return self._run(audit.get_audit_log(limit, before))


@documented_by(Audit)
class AsyncAudit(AsyncCaller):
    """The twin of :class:`Audit`."""

    async def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        return await self._run(audit.get_audit_log(limit, before))
