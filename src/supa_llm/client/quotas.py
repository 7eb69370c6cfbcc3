"""Quotas, of a user or of the operator."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import quotas
from supa_llm.values.quotas import Quota, QuotaPeriod, QuotaUnit
from supa_llm.values.receipts import KeySource


class Quotas(Caller):
    """A user's quotas."""

    def list_quotas(self, *, team_id: UUID | None = None, user_id: UUID | None = None) -> list[Quota]:
        """The quotas that apply to the user, whoever set them, with the amount used and the next reset.

            for quota in llm.list_quotas():
                print(quota.used, "of", quota.limit, quota.unit, "until", quota.resets_at)

        Args:
            team_id: the quotas of this team instead, which count what its keys pay for. Members get the usage
                of their own share, owners and admins also that of quotas that are shared.
            user_id: with ``team_id``, the usage of this member, for owners and admins.

        Raises:
            NotFoundError: the user does not belong to the team (code ``team_not_found``).
        """
        return self._run(quotas.list_quotas(user_id, team_id))

    def set_quota(
        self,
        limit: Decimal | float,
        unit: QuotaUnit,
        period: QuotaPeriod,
        *,
        provider: str | None = None,
        key_source: KeySource | None = None,
        task: str | None = None,
        enforced: bool = True,
        clock: Literal["utc", "user"] | None = None,
        unpriced: Literal["allow", "refuse"] = "refuse",
        team_id: UUID | None = None,
        shared: bool = False,
    ) -> Quota:
        """Set a quota for the user's own usage, or update the one with the same scope.

            llm.set_quota(20, "cost", "month", provider="openai", key_source="user")
            llm.set_quota(500, "cost", "month", team_id=team_id, shared=True)  # for the team as a whole

        Requests that are already running continue. Other processes apply the quota when their lease ends.

        Args:
            limit: amount in the unit; 0 allows nothing.
            unit: ``requests`` that succeed, ``tokens`` (input and output) or ``cost`` (US dollars).
            period: ``minute``, ``day``, ``month`` or ``lifetime``.
            provider, key_source, task: count only requests with this value.
            enforced: refuse requests that would exceed the limit; False only raises alerts.
            clock: days and months begin in the time zone of the user's settings (``user``, the default of
                own quotas) or in ``utc`` (the default of a team's quotas).
            unpriced: whether an enforced quota of ``cost`` allows models without a price.
            team_id: limit what this team's keys pay for instead; the user is its owner or an admin.
            shared: with ``team_id``, the team as a whole shares the limit; otherwise, each member has it.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
            NotFoundError: the user does not belong to the team (code ``team_not_found``).
            ForbiddenError: the user is neither owner nor admin of it (code ``team_role_required``).
        """
        return self._change(
            quotas.set_quota(
                {
                    "limit": limit,
                    "unit": unit,
                    "period": period,
                    "provider": provider,
                    "key_source": key_source,
                    "task": task,
                    "enforced": enforced,
                    "clock": clock,
                    "unpriced": unpriced,
                    **quotas.team_fields(team_id, shared),
                }
            )
        )

    def remove_quota(self, quota_id: int) -> None:
        """Remove a quota that the user has set, or one that a team has set whose owner or admin they are.

            llm.remove_quota(llm.list_quotas()[0].id)

        Raises:
            NotFoundError: the user has set no quota with this ID.
        """
        self._change(quotas.remove_quota(quota_id))


@documented_by(Quotas)
class AsyncQuotas(AsyncCaller):
    """The twin of :class:`Quotas`."""

    async def list_quotas(self, *, team_id: UUID | None = None, user_id: UUID | None = None) -> list[Quota]:
        return await self._run(quotas.list_quotas(user_id, team_id))

    async def set_quota(
        self,
        limit: Decimal | float,
        unit: QuotaUnit,
        period: QuotaPeriod,
        *,
        provider: str | None = None,
        key_source: KeySource | None = None,
        task: str | None = None,
        enforced: bool = True,
        clock: Literal["utc", "user"] | None = None,
        unpriced: Literal["allow", "refuse"] = "refuse",
        team_id: UUID | None = None,
        shared: bool = False,
    ) -> Quota:
        return await self._change(
            quotas.set_quota(
                {
                    "limit": limit,
                    "unit": unit,
                    "period": period,
                    "provider": provider,
                    "key_source": key_source,
                    "task": task,
                    "enforced": enforced,
                    "clock": clock,
                    "unpriced": unpriced,
                    **quotas.team_fields(team_id, shared),
                }
            )
        )

    async def remove_quota(self, quota_id: int) -> None:
        await self._change(quotas.remove_quota(quota_id))


class AdminQuotas(Caller):
    """The quotas that the operator sets, and user groups for them."""

    def list_quotas(self, user_id: UUID | None = None, *, team_id: UUID | None = None) -> list[Quota]:
        """All quotas; for one user, the quotas that apply to them, with the amount used.

            admin.list_quotas(user_id)

        Args:
            team_id: the quotas of this team; with ``user_id``, with the usage of this member.
        """
        return self._run(quotas.list_quotas(user_id, team_id))

    def set_quota(
        self,
        limit: Decimal | float,
        unit: QuotaUnit,
        period: QuotaPeriod,
        *,
        user_id: UUID | None = None,
        group: str | None = None,
        shared: bool = False,
        provider: str | None = None,
        key_source: KeySource | None = None,
        task: str | None = None,
        enforced: bool = True,
        clock: Literal["utc", "user"] = "utc",
        unpriced: Literal["allow", "refuse"] = "refuse",
        team_id: UUID | None = None,
    ) -> Quota:
        """Set a quota for one user, a group, a team or everyone, or update the quota with the same scope.

            admin.set_quota(5, "cost", "month", key_source="operator")  # for each
            admin.set_quota(500, "cost", "month", key_source="operator", shared=True)  # for all together

        The most specific scope wins: user, then group, then everyone.

        Args:
            shared: the users of the scope share the limit.
            team_id: limit what this team's keys pay for: each member's usage or, if ``shared``, all of it. It
                applies in addition to other quotas.
            limit: see :meth:`UserLLM.set_quota` for this and the other arguments.

        Raises:
            InvalidInputError: a value is not allowed; the message names it and the allowed values.
        """
        return self._run(
            quotas.set_quota(
                {
                    "limit": limit,
                    "unit": unit,
                    "period": period,
                    "user_id": str(user_id) if user_id else None,
                    "group": group,
                    "shared": shared,
                    "provider": provider,
                    "key_source": key_source,
                    "task": task,
                    "enforced": enforced,
                    "clock": clock,
                    "unpriced": unpriced,
                    **quotas.team_fields(team_id, shared),
                }
            )
        )

    def remove_quota(self, quota_id: int) -> None:
        """Remove one of the operator's quotas.

        Raises:
            NotFoundError: the operator has set no quota with this ID.
        """
        self._run(quotas.remove_quota(quota_id))

    def set_user_group(self, user_id: UUID, group: str | None) -> None:
        """Put a user into a group for quotas; None removes the user from their group.

        admin.set_user_group(user_id, "students")
        """
        self._run(quotas.set_user_group(user_id, group))


@documented_by(AdminQuotas)
class AsyncAdminQuotas(AsyncCaller):
    """The twin of :class:`AdminQuotas`."""

    async def list_quotas(self, user_id: UUID | None = None, *, team_id: UUID | None = None) -> list[Quota]:
        return await self._run(quotas.list_quotas(user_id, team_id))

    async def set_quota(
        self,
        limit: Decimal | float,
        unit: QuotaUnit,
        period: QuotaPeriod,
        *,
        user_id: UUID | None = None,
        group: str | None = None,
        shared: bool = False,
        provider: str | None = None,
        key_source: KeySource | None = None,
        task: str | None = None,
        enforced: bool = True,
        clock: Literal["utc", "user"] = "utc",
        unpriced: Literal["allow", "refuse"] = "refuse",
        team_id: UUID | None = None,
    ) -> Quota:
        return await self._run(
            quotas.set_quota(
                {
                    "limit": limit,
                    "unit": unit,
                    "period": period,
                    "user_id": str(user_id) if user_id else None,
                    "group": group,
                    "shared": shared,
                    "provider": provider,
                    "key_source": key_source,
                    "task": task,
                    "enforced": enforced,
                    "clock": clock,
                    "unpriced": unpriced,
                    **quotas.team_fields(team_id, shared),
                }
            )
        )

    async def remove_quota(self, quota_id: int) -> None:
        await self._run(quotas.remove_quota(quota_id))

    async def set_user_group(self, user_id: UUID, group: str | None) -> None:
        await self._run(quotas.set_user_group(user_id, group))
