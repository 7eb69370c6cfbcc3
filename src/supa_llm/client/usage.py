"""What a user asks of their usage: the part of UserLLM that reports, and its twin for asyncio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from supa_llm.client.twins import documented_by
from supa_llm.database import requests, usage
from supa_llm.database.call import Call
from supa_llm.values.usage import Bucket, Dimension, Order

if TYPE_CHECKING:
    from supa_llm.values.requests import RecordedRequest
    from supa_llm.values.usage import Forecast, UsageEvent, UsageHint, UsageLine

T = TypeVar("T")


class Reports(ABC):
    """The methods of :class:`UserLLM` that report usage."""

    @abstractmethod
    def _read(self, call: Call[T]) -> T: ...

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
    ) -> list[UsageLine]:
        """What was used and what it cost, summed; both days included.

        What is still on its way is missing: :meth:`SupaLLM.flush` waits for it.

            sum(line.output_tokens for line in llm.get_usage(since=date(2027, 1, 1)))
            dearest = llm.get_usage(bucket=None, by=["model"], order="cost", limit=5)

        Args:
            since: None is 30 days ago.
            until: None is now.
            bucket: a line for each ``hour``, ``day`` or ``month``; None is one over all the time.
            by: and for each ``provider``, ``model``, ``task``, ``key_source`` or ``key_id``.
            time_zone: where days begin, such as ``Europe/Berlin``; None is that of the user's settings.
            order: ``cost``, ``requests`` or ``tokens``: the most first; else the newest first.
            limit: lines at most.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and what is.
        """
        return self._read(
            usage.get_usage(since, until, bucket=bucket, by=by, time_zone=time_zone, order=order, limit=limit)
        )

    def list_requests(self, limit: int = 50, before: UUID | None = None) -> list[RecordedRequest]:
        """The user's requests, newest first, each with its attempts and what they cost.

            for request in llm.list_requests(10):
                print(request.requested_at, request.outcome, request.cost)

        Args:
            limit: requests at most, and 500 whatever is asked for.
            before: id of the last request of the page before.
        """
        return self._read(requests.list_requests(limit, before))

    def get_forecast(self) -> Forecast:
        """What this month has cost, and is going to cost if days go on as the last seven.

        llm.get_forecast().forecast
        """
        return self._read(usage.get_forecast())

    def list_hints(self) -> list[UsageHint]:
        """Where the user could pay less, or fail less, worked out from their usage.

        for hint in llm.list_hints():
            print(hint.message)
        """
        return self._read(usage.list_hints())

    def list_usage_events(self, since: date | None = None, until: date | None = None) -> Iterator[UsageEvent]:
        """Every recorded attempt of requests that began in a time, the oldest first, read page by page.

            export_events(llm.list_usage_events(since=date(2027, 1, 1)), "usage.csv")

        Args:
            since: None is the first one. A date is midnight UTC; a datetime needs a time zone.
            until: and no longer at that moment; None is now.
        """
        until = until or datetime.now(UTC)
        page = self._read(usage.list_events(since, until))
        while page.events:
            yield from page.events
            page = self._read(usage.list_events(since, until, page.cursor))


@documented_by(Reports)
class AsyncReports(ABC):
    """The methods of :class:`AsyncUserLLM` that report usage."""

    @abstractmethod
    async def _read(self, call: Call[T]) -> T: ...

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
    ) -> list[UsageLine]:
        return await self._read(
            usage.get_usage(since, until, bucket=bucket, by=by, time_zone=time_zone, order=order, limit=limit)
        )

    async def list_requests(self, limit: int = 50, before: UUID | None = None) -> list[RecordedRequest]:
        return await self._read(requests.list_requests(limit, before))

    async def get_forecast(self) -> Forecast:
        return await self._read(usage.get_forecast())

    async def list_hints(self) -> list[UsageHint]:
        return await self._read(usage.list_hints())

    async def list_usage_events(
        self, since: date | None = None, until: date | None = None
    ) -> AsyncIterator[UsageEvent]:
        until = until or datetime.now(UTC)
        page = await self._read(usage.list_events(since, until))
        while page.events:
            for event in page.events:
                yield event
            page = await self._read(usage.list_events(since, until, page.cursor))
