"""Usage reports, of a user or of the whole project."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import usage
from supa_llm.values.usage import (
    Bucket,
    Dimension,
    Forecast,
    Order,
    Reporter,
    UsageCheck,
    UsageEvent,
    UsageHint,
    UsageLine,
)


class UserUsage(Caller):
    """A user's usage."""

    def get_usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        bucket: Bucket | None = "day",
        by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
        time_zone: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
        team_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> list[UsageLine]:
        """Usage and cost, summed over the days from ``since`` to ``until``, both included.

        Usage is recorded asynchronously; :meth:`SupaLLM.flush` waits until it is recorded.

            sum(line.output_tokens for line in llm.get_usage(since=date(2027, 1, 1)))
            dearest = llm.get_usage(bucket=None, by=["model"], order="cost", limit=5)

        Args:
            since: None is 30 days ago.
            until: None is now.
            bucket: one line per ``hour``, ``day`` or ``month``; None sums the whole time.
            by: group by ``provider``, ``model``, ``task``, ``key_source``, ``key_id``, ``recorded_by`` or
                ``team``; with ``team_id`` also by ``user``.
            time_zone: time zone of the days, such as ``Europe/Berlin``; None is that of the user's settings.
            order: sort by ``cost``, ``requests`` or ``tokens``, highest first; None sorts newest first.
            limit: most lines to return; None is 1000. ``report_lines`` of each line is how many there are.
            team_id: only what this team's keys paid for: owners and admins of the team get all members'
                usage, members their own.
            user_id: with ``team_id``, only this member's usage, for owners and admins.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
            NotFoundError: the user does not belong to the team (code ``team_not_found``).
        """
        return self._run(
            usage.get_usage(
                since,
                until,
                bucket=bucket,
                by=by,
                time_zone=time_zone,
                order=order,
                limit=limit,
                team_id=team_id,
                user_id=user_id,
            )
        )

    def get_forecast(self) -> Forecast:
        """The cost of this month so far, and its forecast from the average of the last seven days.

        llm.get_forecast().forecast
        """
        return self._run(usage.get_forecast())

    def list_hints(self) -> list[UsageHint]:
        """Suggestions to pay less or to fail less often, computed from the user's usage.

        for hint in llm.list_hints():
            print(hint.message)
        """
        return self._run(usage.list_hints())

    def list_usage_events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        team_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> Iterator[UsageEvent]:
        """The recorded attempts of requests that began in a time range, the oldest first, read page by page.

            export_events(llm.list_usage_events(since=date(2027, 1, 1)), "usage.csv")

        Args:
            since: None begins with the first one. A date is midnight UTC; a datetime needs a time zone.
            until: end of the range, excluded; None is now.
            team_id: only attempts with this team's keys: all members' for its owners and admins, by member
                and then the oldest first.
            user_id: with ``team_id``, only this member's attempts, for owners and admins.
        """
        return _read_events(self, since, until, user_id, team_id)


@documented_by(UserUsage)
class AsyncUserUsage(AsyncCaller):
    """The twin of :class:`UserUsage`."""

    async def get_usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        bucket: Bucket | None = "day",
        by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
        time_zone: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
        team_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> list[UsageLine]:
        return await self._run(
            usage.get_usage(
                since,
                until,
                bucket=bucket,
                by=by,
                time_zone=time_zone,
                order=order,
                limit=limit,
                team_id=team_id,
                user_id=user_id,
            )
        )

    async def get_forecast(self) -> Forecast:
        return await self._run(usage.get_forecast())

    async def list_hints(self) -> list[UsageHint]:
        return await self._run(usage.list_hints())

    async def list_usage_events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        team_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> AsyncIterator[UsageEvent]:
        async for event in _async_read_events(self, since, until, user_id, team_id):
            yield event


class AdminUsage(Caller):
    """The usage of all users."""

    def get_usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        bucket: Bucket | None = "day",
        by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
        time_zone: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
        user_id: UUID | None = None,
        recorded_by: Reporter | None = None,
        team_id: UUID | None = None,
    ) -> list[UsageLine]:
        """Usage and cost of all users; as :meth:`UserLLM.get_usage`, and ``by`` may contain ``user``.

            dearest = admin.get_usage(bucket=None, by=["user"], order="cost", limit=10)

        Args:
            time_zone: None is UTC; with ``user_id``, that of the user's settings.
            user_id: report only this user's usage.
            recorded_by: ``runtime``: recorded by your runtimes; ``user``: reported by users themselves.
            team_id: report only what this team's keys paid for; it may be a removed team.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
        """
        return self._run(
            usage.get_usage(
                since,
                until,
                bucket=bucket,
                by=by,
                time_zone=time_zone,
                order=order,
                limit=limit,
                user_id=user_id,
                recorded_by=recorded_by,
                team_id=team_id,
            )
        )

    def list_usage_events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        user_id: UUID | None = None,
        team_id: UUID | None = None,
    ) -> Iterator[UsageEvent]:
        """The recorded attempts of all users, by user and then the oldest first, read page by page.

            export_events(admin.list_usage_events(since=date(2027, 1, 1)), "usage.parquet")

        Args:
            since: None begins with the first one. A date is midnight UTC; a datetime needs a time zone.
            until: end of the range, excluded; None is now.
            user_id: list only this user's attempts.
            team_id: list only attempts with this team's keys.
        """
        return _read_events(self, since, until, user_id, team_id)

    def check_usage(self, since: date | None = None, until: date | None = None) -> UsageCheck:
        """Compare the totals with the sums of their events. In a large project, check a few days at a time.

            assert admin.check_usage(since=date(2027, 1, 1)).differing == 0

        Args:
            since: first day (UTC); None is the first day with events.
            until: last day; None is today.
        """
        return self._run(usage.check_usage(since, until))


@documented_by(AdminUsage)
class AsyncAdminUsage(AsyncCaller):
    """The twin of :class:`AdminUsage`."""

    async def get_usage(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        bucket: Bucket | None = "day",
        by: Sequence[Dimension] = ("provider", "model", "task", "key_source"),
        time_zone: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
        user_id: UUID | None = None,
        recorded_by: Reporter | None = None,
        team_id: UUID | None = None,
    ) -> list[UsageLine]:
        return await self._run(
            usage.get_usage(
                since,
                until,
                bucket=bucket,
                by=by,
                time_zone=time_zone,
                order=order,
                limit=limit,
                user_id=user_id,
                recorded_by=recorded_by,
                team_id=team_id,
            )
        )

    async def list_usage_events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        user_id: UUID | None = None,
        team_id: UUID | None = None,
    ) -> AsyncIterator[UsageEvent]:
        async for event in _async_read_events(self, since, until, user_id, team_id):
            yield event

    async def check_usage(self, since: date | None = None, until: date | None = None) -> UsageCheck:
        return await self._run(usage.check_usage(since, until))


def _read_events(
    caller: Caller,
    since: date | None,
    until: date | None,
    user_id: UUID | None,
    team_id: UUID | None,
) -> Iterator[UsageEvent]:
    until = until or datetime.now(UTC)
    page = caller._run(usage.list_events(since, until, user_id=user_id, team_id=team_id))
    while page.events:
        yield from page.events
        page = caller._run(usage.list_events(since, until, page.cursor, user_id=user_id, team_id=team_id))


async def _async_read_events(
    caller: AsyncCaller,
    since: date | None,
    until: date | None,
    user_id: UUID | None,
    team_id: UUID | None,
) -> AsyncIterator[UsageEvent]:
    until = until or datetime.now(UTC)
    page = await caller._run(usage.list_events(since, until, user_id=user_id, team_id=team_id))
    while page.events:
        for event in page.events:
            yield event
        page = await caller._run(
            usage.list_events(since, until, page.cursor, user_id=user_id, team_id=team_id)
        )
