"""The audit log, of a user or of the operator."""

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


class AdminAudit(Caller):
    """The audit logs of the operator and of all users."""

    def get_audit_log(
        self, limit: int = 50, before: UUID | None = None, *, user_id: UUID | None = None
    ) -> list[AuditEntry]:
        """What administrators changed and who they were; with ``user_id``, that user's log. Newest first.

            for entry in admin.get_audit_log():
                print(entry.at, entry.action, entry.detail)

        Args:
            limit: most entries to return; at most 500.
            before: ID of the last entry of the previous page.
            user_id: read this user's log instead of the operator's.
        """
        return self._run(audit.get_audit_log(limit, before, user_id=user_id))


@documented_by(AdminAudit)
class AsyncAdminAudit(AsyncCaller):
    """The twin of :class:`AdminAudit`."""

    async def get_audit_log(
        self, limit: int = 50, before: UUID | None = None, *, user_id: UUID | None = None
    ) -> list[AuditEntry]:
        return await self._run(audit.get_audit_log(limit, before, user_id=user_id))
