"""A user's recorded requests."""

from __future__ import annotations

from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import requests
from supa_llm.values.requests import RecordedRequest


class Requests(Caller):
    """A user's recorded requests."""

    def list_requests(self, limit: int = 50, before: UUID | None = None) -> list[RecordedRequest]:
        """The user's requests, newest first, each with its attempts and their cost.

            for request in llm.list_requests(10):
                print(request.requested_at, request.outcome, request.cost)

        Args:
            limit: most requests to return; at most 500.
            before: ID of the last request of the previous page.
        """
        return self._run(requests.list_requests(limit, before))


@documented_by(Requests)
class AsyncRequests(AsyncCaller):
    """The twin of :class:`Requests`."""

    async def list_requests(self, limit: int = 50, before: UUID | None = None) -> list[RecordedRequest]:
        return await self._run(requests.list_requests(limit, before))
