"""The part of UserLLM about prices, quotas and alerts, and its twin for asyncio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Literal, TypeVar
from uuid import UUID

from supa_llm.client.twins import documented_by
from supa_llm.database import alerts, prices, quotas
from supa_llm.database.call import Call
from supa_llm.values.alerts import Alert
from supa_llm.values.prices import Price, Rate
from supa_llm.values.quotas import Quota, QuotaPeriod, QuotaUnit
from supa_llm.values.receipts import KeySource

T = TypeVar("T")


class Spending(ABC):
    """The methods of :class:`UserLLM` about prices, quotas and alerts."""

    @abstractmethod
    def _read(self, call: Call[T]) -> T: ...

    @abstractmethod
    def _change(self, call: Call[T]) -> T: ...

    def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        """What models cost now or later: by the catalogue, the operator, and the user themselves.

            llm.list_prices("openai", "gpt-5-mini")[0].rates

        Args:
            model: only what is for this model; first, and ``in_force``, what the user's own key pays now.
        """
        return self._read(prices.list_prices(provider, model))

    def set_price(
        self,
        provider: str,
        model: str,
        rates: Mapping[str, Rate],
        *,
        valid_from: date | None = None,
        valid_until: date | None = None,
        service_tier: str | None = None,
    ) -> Price:
        """Say what a model costs with the user's own key, such as by a contract of theirs.

            llm.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9})

        Args:
            model: a model name; ``*`` at its end is any ending.
            rates: US dollars per million tokens; ``{"input": 0, "output": 0}`` is free.
            valid_from: None is now. A date is midnight UTC; a datetime needs a time zone.
            valid_until: None is open.
            service_tier: only for what the provider served in this tier.

        Raises:
            InvalidInputError: the rates cannot be; the message says what is allowed.
            NotFoundError: no such provider.
        """
        return self._read(
            prices.set_price(provider, model, rates, valid_from, valid_until, service_tier=service_tier)
        )

    def end_price(self, price_id: int) -> Price:
        """End one of the user's own prices now. What was used until now keeps its cost.

        Raises:
            NotFoundError: the user has no such price.
        """
        return self._read(prices.end_price(price_id))

    def list_quotas(self) -> list[Quota]:
        """The quotas that bind the user, whoever set them, with what is used of each and when it resets.

        for quota in llm.list_quotas():
            print(quota.used, "of", quota.limit, quota.unit, "until", quota.resets_at)
        """
        return self._read(quotas.list_quotas())

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
        """Set a quota of the user's own, or change the one that counts the same.

            llm.set_quota(20, "cost", "month", provider="openai", key_source="user")

        What runs already is not stopped. Processes that hold a route for the user alert within its lease.

        Args:
            limit: in the unit; 0 allows nothing.
            unit: ``requests`` that do not fail, ``tokens`` (input and output) or ``cost`` (US dollars).
            period: ``minute``, ``day``, ``month`` or ``total``.
            provider: counts only this provider; and so on with key source and task.
            enforced: refuse what would pass it; False only makes an alert.
            clock: days and months begin in the user's time zone (see settings), or in ``utc``.
            unpriced: whether an enforced quota of cost lets models without a price pass.
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
        """Remove a quota that the user set.

            llm.remove_quota(llm.list_quotas()[0].id)

        Raises:
            NotFoundError: there is none of the user's own with this id.
        """
        self._change(quotas.remove_quota(quota_id))

    def list_alerts(
        self, *, unread_only: bool = True, limit: int = 50, before: UUID | None = None
    ) -> list[Alert]:
        """What the user should know: quotas at 80 % and 100 %, a rejected key, a missing price; each once.

            for alert in llm.list_alerts():
                print(alert.kind, alert.detail)

        Args:
            limit: alerts at most, and 500 whatever is asked for.
            before: id of the last alert of the page before.
        """
        return self._read(alerts.list_alerts(unread_only, limit, before))

    def dismiss_alerts(self, ids: Sequence[UUID] | None = None) -> int:
        """Mark these alerts as read, or all; returns how many were unread.

        llm.dismiss_alerts([alert.id])
        """
        return self._read(alerts.dismiss_alerts(ids))


@documented_by(Spending)
class AsyncSpending(ABC):
    """The methods of :class:`AsyncUserLLM` about prices, quotas and alerts."""

    @abstractmethod
    async def _read(self, call: Call[T]) -> T: ...

    @abstractmethod
    async def _change(self, call: Call[T]) -> T: ...

    async def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        return await self._read(prices.list_prices(provider, model))

    async def set_price(
        self,
        provider: str,
        model: str,
        rates: Mapping[str, Rate],
        *,
        valid_from: date | None = None,
        valid_until: date | None = None,
        service_tier: str | None = None,
    ) -> Price:
        return await self._read(
            prices.set_price(provider, model, rates, valid_from, valid_until, service_tier=service_tier)
        )

    async def end_price(self, price_id: int) -> Price:
        return await self._read(prices.end_price(price_id))

    async def list_quotas(self) -> list[Quota]:
        return await self._read(quotas.list_quotas())

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

    async def list_alerts(
        self, *, unread_only: bool = True, limit: int = 50, before: UUID | None = None
    ) -> list[Alert]:
        return await self._read(alerts.list_alerts(unread_only, limit, before))

    async def dismiss_alerts(self, ids: Sequence[UUID] | None = None) -> int:
        return await self._read(alerts.dismiss_alerts(ids))
