"""The audit log, of a user or of the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import audit
from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.audit import AuditEntry, AuditVerification
from supa_llm.values.audit_seals import ExportedSeals, header_line, seal_line

_PAGE = 500
#: How much later than a newer entry an entry may be committed.
_LATE = timedelta(minutes=1)


def verify_log(
    run: Callable[[Call[AuditVerification]], AuditVerification], team_id: UUID | str | None = None
) -> AuditVerification:
    """Verify all pages of the caller's log or of a team's."""
    found = page = run(audit.verify_audit_log(team_id=team_id))
    while page.next:
        page = run(audit.verify_audit_log(page.next, team_id=team_id))
        found += page
    return found


async def verify_log_async(
    run: Callable[[Call[AuditVerification]], Awaitable[AuditVerification]], team_id: UUID | str | None = None
) -> AuditVerification:
    """The twin of :func:`verify_log`."""
    found = page = await run(audit.verify_audit_log(team_id=team_id))
    while page.next:
        page = await run(audit.verify_audit_log(page.next, team_id=team_id))
        found += page
    return found


class Audit(Caller):
    """The audit log of a user."""

    def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        """Changes to the user's settings and keys, and which runtimes held the keys; the newest first.

        Args:
            limit: most entries to return.
            before: ID of the last entry of the previous page.
        """
        return self._run(audit.get_audit_log(limit, before))

    def verify_audit_log(self) -> AuditVerification:
        """Seal the new entries of the user's audit log, and check that no sealed entry was changed since.

        problem = user.verify_audit_log().first_problem
        """
        return verify_log(self._run)


@documented_by(Audit)
class AsyncAudit(AsyncCaller):
    """The twin of :class:`Audit`."""

    async def get_audit_log(self, limit: int = 50, before: UUID | None = None) -> list[AuditEntry]:
        return await self._run(audit.get_audit_log(limit, before))

    async def verify_audit_log(self) -> AuditVerification:
        return await verify_log_async(self._run)


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

    def verify_audit_log(self, *, user_id: UUID | None = None, every_log: bool = False) -> AuditVerification:
        """Seal the new entries of the operator's log, and check that no sealed entry was changed since.

            problem = admin.verify_audit_log(every_log=True).first_problem

        Args:
            user_id: verify this user's log instead of the operator's.
            every_log: verify the operator's and all users' logs.
        """
        found = page = self._run(audit.verify_audit_log(user_id=user_id, every_log=every_log))
        while page.next or page.next_user_id:
            log = page.next_user_id if every_log else user_id
            page = self._run(audit.verify_audit_log(page.next, user_id=log, every_log=every_log))
            found += page
        return found

    def export_audit_seals(self, *, user_id: UUID | None = None) -> Iterator[str]:
        """The lines of an export of all logs' seals, for :meth:`compare_audit_seals`.

        Only a verification seals new entries, so verify first.

            admin.verify_audit_log(every_log=True)
            with open("seals.jsonl", "w") as file:
                file.writelines(admin.export_audit_seals())

        Args:
            user_id: export only the seals of this user's log. The operator's log has the ID 0.
        """
        log, after, first = user_id, None, True
        while True:
            page = self._run(audit.list_audit_seals(after, user_id=log, every_log=user_id is None))
            if first:
                yield header_line(page, user_id)
                first = False
            if not page.seals:
                return
            yield from map(seal_line, page.seals)
            log, after = page.seals[-1].user_id, page.seals[-1].seal

    def compare_audit_seals(self, lines: Iterable[str], *, user_id: UUID | None = None) -> AuditVerification:
        """Compare the audit logs with exported seals.

        This also finds what somebody changed who recomputed the seals in the database. ``unsealed`` is the
        number of newer entries.

            with open("seals.jsonl") as file:
                problem = admin.compare_audit_seals(file).first_problem

        Args:
            lines: the lines of :meth:`export_audit_seals`.
            user_id: compare only this user's log.

        Raises:
            InvalidInputError: a line is damaged.
        """
        export = ExportedSeals.read(lines, user_id)
        log, after = export.user_id, None
        while entries := self._run(
            audit.list_audit_texts(after, user_id=log, every_log=export.user_id is None)
        ):
            for entry in entries:
                export.compare(entry)
            log, after = entries[-1].user_id, entries[-1].id
        if not export.missing:
            return export.result()
        removals = ("months_dropped", "user_data_removed")
        return export.result([it for action in removals for it in self.list_audit_log(action=action)])

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

    async def verify_audit_log(
        self, *, user_id: UUID | None = None, every_log: bool = False
    ) -> AuditVerification:
        found = page = await self._run(audit.verify_audit_log(user_id=user_id, every_log=every_log))
        while page.next or page.next_user_id:
            log = page.next_user_id if every_log else user_id
            page = await self._run(audit.verify_audit_log(page.next, user_id=log, every_log=every_log))
            found += page
        return found

    async def export_audit_seals(self, *, user_id: UUID | None = None) -> AsyncIterator[str]:
        log, after, first = user_id, None, True
        while True:
            page = await self._run(audit.list_audit_seals(after, user_id=log, every_log=user_id is None))
            if first:
                yield header_line(page, user_id)
                first = False
            if not page.seals:
                return
            for seal in page.seals:
                yield seal_line(seal)
            log, after = page.seals[-1].user_id, page.seals[-1].seal

    async def compare_audit_seals(
        self, lines: Iterable[str], *, user_id: UUID | None = None
    ) -> AuditVerification:
        export = ExportedSeals.read(lines, user_id)
        log, after = export.user_id, None
        while entries := await self._run(
            audit.list_audit_texts(after, user_id=log, every_log=export.user_id is None)
        ):
            for entry in entries:
                export.compare(entry)
            log, after = entries[-1].user_id, entries[-1].id
        if not export.missing:
            return export.result()
        removals = ("months_dropped", "user_data_removed")
        return export.result([it for action in removals async for it in self.list_audit_log(action=action)])

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
