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

    def list_quotas(self) -> list[Quota]:
        """The quotas that apply to the user, whoever set them, with the amount used and the next reset.

        for quota in llm.list_quotas():
            print(quota.used, "of", quota.limit, quota.unit, "until", quota.resets_at)
        """
        return self._run(quotas.list_quotas())

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
        clock: Literal["utc", "user"] = "user",
        unpriced: Literal["allow", "refuse"] = "refuse",
    ) -> Quota:
        """Set a quota for the user's own usage, or update the one with the same scope.

            llm.set_quota(20, "cost", "month", provider="openai", key_source="user")

        Requests that are already running continue. Other processes apply the quota when their lease ends.

        Args:
            limit: amount in the unit; 0 allows nothing.
            unit: ``requests`` that succeed, ``tokens`` (input and output) or ``cost`` (US dollars).
            period: ``minute``, ``day``, ``month`` or ``lifetime``.
            provider, key_source, task: count only requests with this value.
            enforced: refuse requests that would exceed the limit; False only raises alerts.
            clock: days and months begin in the time zone of the user's settings (``user``) or in ``utc``.
            unpriced: whether an enforced quota of ``cost`` allows models without a price.
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
                }
            )
        )

    def remove_quota(self, quota_id: int) -> None:
        """Remove a quota that the user has set.

            llm.remove_quota(llm.list_quotas()[0].id)

        Raises:
            NotFoundError: the user has set no quota with this ID.
        """
        self._change(quotas.remove_quota(quota_id))


@documented_by(Quotas)
class AsyncQuotas(AsyncCaller):
    """The twin of :class:`Quotas`."""

    async def list_quotas(self) -> list[Quota]:
        return await self._run(quotas.list_quotas())

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
        clock: Literal["utc", "user"] = "user",
        unpriced: Literal["allow", "refuse"] = "refuse",
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
                }
            )
        )

    async def remove_quota(self, quota_id: int) -> None:
        await self._change(quotas.remove_quota(quota_id))


class AdminQuotas(Caller):
    """The quotas that the operator sets, and user groups for them."""

    def list_quotas(self, user_id: UUID | None = None) -> list[Quota]:
        """All quotas; for one user, the quotas that apply to them, with the amount used.

        admin.list_quotas(user_id)
        """
        return self._run(quotas.list_quotas(user_id))

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
    ) -> Quota:
        """Set a quota for one user, a group or everyone, or update the quota with the same scope.

            admin.set_quota(5, "cost", "month", key_source="operator")  # for each
            admin.set_quota(500, "cost", "month", key_source="operator", shared=True)  # for all together

        The most specific scope wins: user, then group, then everyone.

        Args:
            shared: the users of the scope share the limit.
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

    async def list_quotas(self, user_id: UUID | None = None) -> list[Quota]:
        return await self._run(quotas.list_quotas(user_id))

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
                }
            )
        )

    async def remove_quota(self, quota_id: int) -> None:
        await self._run(quotas.remove_quota(quota_id))

    async def set_user_group(self, user_id: UUID, group: str | None) -> None:
        await self._run(quotas.set_user_group(user_id, group))
