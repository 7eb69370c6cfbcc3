"""Requests that were refused before they reached a provider."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import refusals
from supa_llm.values.refusals import Refusal


class Refusals(Caller):
    """A user's refused requests."""

    def list_refusals(self, since: date | None = None, until: date | None = None) -> list[Refusal]:
        """How many of the user's requests were refused before they reached a provider, by error code.

            for refusal in llm.list_refusals():
                print(refusal.code, refusal.refusals, refusal.last_at)

        Clients report refusals in the background, usually within a minute; 30 days are kept.

        Args:
            since: first day (UTC).
            until: last day (UTC).
        """
        return self._run(refusals.list_refusals(since, until))


@documented_by(Refusals)
class AsyncRefusals(AsyncCaller):
    """The twin of :class:`Refusals`."""

    async def list_refusals(self, since: date | None = None, until: date | None = None) -> list[Refusal]:
        return await self._run(refusals.list_refusals(since, until))


class AdminRefusals(Caller):
    """The refused requests of all users."""

    def list_refusals(
        self, since: date | None = None, until: date | None = None, *, user_id: UUID | None = None
    ) -> list[Refusal]:
        """How many requests were refused before they reached a provider, by error code; last one first.

            for refusal in admin.list_refusals():
                print(refusal.code, refusal.refusals, refusal.users)

        Clients report refusals in the background under their user's access token, usually within a minute.
        A client that crashes does not report its last ones. 30 days are kept.

        Args:
            since: first day (UTC).
            until: last day (UTC).
            user_id: only the refusals of this user.
        """
        return self._run(refusals.list_refusals(since, until, user_id=user_id))


@documented_by(AdminRefusals)
class AsyncAdminRefusals(AsyncCaller):
    """The twin of :class:`AdminRefusals`."""

    async def list_refusals(
        self, since: date | None = None, until: date | None = None, *, user_id: UUID | None = None
    ) -> list[Refusal]:
        return await self._run(refusals.list_refusals(since, until, user_id=user_id))
