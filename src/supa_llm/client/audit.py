"""The audit log, of a user or of the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date, timedelta
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import audit
from supa_llm.values.arguments import check
from supa_llm.values.audit import AuditEntry

_PAGE = 500
#: How much later than a newer entry an entry may be committed.
_LATE = timedelta(minutes=1)


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
        self,
        limit: int = 50,
        before: UUID | None = None,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[AuditEntry]:
        """What administrators changed and who they were; with ``user_id``, that user's log. Newest first.

            for entry in admin.get_audit_log(action="provider_set"):
                print(entry.at, entry.provider, entry.detail)

        Args:
            limit: most entries to return; at most 500.
            before: ID of the last entry of the previous page.
            user_id: read this user's log instead of the operator's.
            action: only this action, such as ``provider_set``.
            provider: only entries about this provider.
            by: only entries by this actor (``user``, ``runtime`` or ``administrator``), or by the
                administrator with this email address, ``sub`` or role.
            since: first moment. A date is midnight UTC.
            until: end, excluded. A date is midnight UTC.
        """
        return self._run(
            audit.get_audit_log(
                limit,
                before,
                user_id=user_id,
                action=action,
                provider=provider,
                by=by,
                since=since,
                until=until,
            )
        )

    def list_audit_log(
        self,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> Iterator[AuditEntry]:
        """All entries, newest first, read in pages. For the arguments, see :meth:`get_audit_log`."""
        page = self.get_audit_log(
            _PAGE, user_id=user_id, action=action, provider=provider, by=by, since=since, until=until
        )
        while page:
            yield from page
            page = self.get_audit_log(
                _PAGE,
                page[-1].id,
                user_id=user_id,
                action=action,
                provider=provider,
                by=by,
                since=since,
                until=until,
            )

    def follow_audit_log(
        self,
        last: int = 10,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        interval: float = 2.0,
    ) -> Iterator[AuditEntry]:
        """The last entries, oldest first, and then each new one as it comes; the iterator never ends.

            for entry in admin.follow_audit_log():
                print(entry.at, entry.action)

        Args:
            last: how many existing entries to return first.
            user_id: read this user's log instead of the operator's.
            action: only this action, such as ``provider_set``.
            provider: only entries about this provider.
            by: only entries by this actor (``user``, ``runtime`` or ``administrator``), or by the
                administrator with this email address, ``sub`` or role.
            interval: seconds between two calls to the database.
        """
        check(interval=interval)
        follower = _Follower()
        page = self.get_audit_log(_PAGE, user_id=user_id, action=action, provider=provider, by=by)
        existing = follower.take(page)
        yield from existing[max(0, len(existing) - last) :]
        while True:
            time.sleep(interval)
            found = self.list_audit_log(
                user_id=user_id, action=action, provider=provider, by=by, since=follower.since
            )
            yield from follower.take([*found])


class _Follower:
    """Which entries are new. Entries are not always committed in the order of their IDs."""

    def __init__(self) -> None:
        self.since: date | None = None
        self._seen: set[UUID] = set()

    def take(self, entries: Sequence[AuditEntry]) -> list[AuditEntry]:
        """The entries that are new, oldest first.

        Args:
            entries: all since ``since``, newest first.
        """
        new = [it for it in reversed(entries) if it.id not in self._seen]
        if entries:
            self.since = entries[0].at - _LATE
            self._seen = {it.id for it in entries}
        return new


@documented_by(AdminAudit)
class AsyncAdminAudit(AsyncCaller):
    """The twin of :class:`AdminAudit`."""

    async def get_audit_log(
        self,
        limit: int = 50,
        before: UUID | None = None,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[AuditEntry]:
        return await self._run(
            audit.get_audit_log(
                limit,
                before,
                user_id=user_id,
                action=action,
                provider=provider,
                by=by,
                since=since,
                until=until,
            )
        )

    async def list_audit_log(
        self,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> AsyncIterator[AuditEntry]:
        page = await self.get_audit_log(
            _PAGE, user_id=user_id, action=action, provider=provider, by=by, since=since, until=until
        )
        while page:
            for entry in page:
                yield entry
            page = await self.get_audit_log(
                _PAGE,
                page[-1].id,
                user_id=user_id,
                action=action,
                provider=provider,
                by=by,
                since=since,
                until=until,
            )

    async def follow_audit_log(
        self,
        last: int = 10,
        *,
        user_id: UUID | None = None,
        action: str | None = None,
        provider: str | None = None,
        by: str | None = None,
        interval: float = 2.0,
    ) -> AsyncIterator[AuditEntry]:
        check(interval=interval)
        follower = _Follower()
        page = await self.get_audit_log(_PAGE, user_id=user_id, action=action, provider=provider, by=by)
        existing = follower.take(page)
        for entry in existing[max(0, len(existing) - last) :]:
            yield entry
        while True:
            await asyncio.sleep(interval)
            found = self.list_audit_log(
                user_id=user_id, action=action, provider=provider, by=by, since=follower.since
            )
            for entry in follower.take([it async for it in found]):
                yield entry
