"""Prices of models, of a user or of the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import prices
from supa_llm.values.prices import Price, PriceChange, Rate
from supa_llm.values.receipts import KeySource


class Prices(Caller):
    """A user's prices."""

    def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        """The prices of models, now and later: of the catalog, the operator and the user.

            llm.list_prices("openai", "gpt-5-mini")[0].rates

        Args:
            model: only prices of this model; the first, ``in_force``, is what the user's own key pays now.
        """
        return self._run(prices.list_prices(provider, model))

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
        """Set what a model costs with the user's own key, such as a negotiated price.

            llm.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9})

        Args:
            model: a model name; a ``*`` at the end matches any ending.
            rates: US dollars per million tokens; ``{"input": 0, "output": 0}`` is free.
            valid_from: None is now. A date is midnight UTC; a datetime needs a time zone.
            valid_until: None has no end.
            service_tier: apply only to requests that the provider served in this tier.

        Raises:
            InvalidInputError: a rate is invalid; the message lists what is allowed.
            NotFoundError: the provider does not exist.
        """
        return self._run(
            prices.set_price(provider, model, rates, valid_from, valid_until, service_tier=service_tier)
        )

    def end_price(self, price_id: int) -> Price:
        """End one of the user's own prices now. Recorded usage keeps its cost.

        Raises:
            NotFoundError: the user has no price with this ID.
        """
        return self._run(prices.end_price(price_id))


@documented_by(Prices)
class AsyncPrices(AsyncCaller):
    """The twin of :class:`Prices`."""

    async def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        return await self._run(prices.list_prices(provider, model))

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
        return await self._run(
            prices.set_price(provider, model, rates, valid_from, valid_until, service_tier=service_tier)
        )

    async def end_price(self, price_id: int) -> Price:
        return await self._run(prices.end_price(price_id))


class AdminPrices(Caller):
    """The prices of the catalog and the operator."""

    def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        """The prices of the catalog and the operator, now and later.

            admin.list_prices("openai", "gpt-5-mini")[0].rates

        Args:
            model: only prices of this model; the first, ``in_force``, is what the operator's key pays now.
        """
        return self._run(prices.list_prices(provider, model))

    def set_price(
        self,
        provider: str,
        model: str,
        rates: Mapping[str, Rate],
        *,
        valid_from: date | None = None,
        valid_until: date | None = None,
        key_source: KeySource | None = None,
        service_tier: str | None = None,
    ) -> Price:
        """Set what a model costs; it precedes the price of the catalog.

            admin.set_price("openai", "gpt-5*", {"input": 1.1, "output": 9}, key_source="operator")

        Args:
            model: a model name; a ``*`` at the end matches any ending.
            rates: US dollars per million tokens (see :class:`~supa_llm.Price`); ``{"input": 0, "output": 0}``
                is free.
            valid_from: None is now. A date is midnight UTC; a datetime needs a time zone.
            valid_until: None has no end.
            key_source: apply only to requests that such a key pays for.
            service_tier: apply only to requests that the provider served in this tier.

        Raises:
            InvalidInputError: a rate is invalid; the message lists what is allowed.
            NotFoundError: the provider does not exist.
        """
        return self._run(
            prices.set_price(
                provider,
                model,
                rates,
                valid_from,
                valid_until,
                key_source=key_source,
                service_tier=service_tier,
            )
        )

    def end_price(self, price_id: int) -> Price:
        """End one of the operator's prices now. Recorded usage keeps its cost.

        Raises:
            NotFoundError: the operator has no price with this ID.
        """
        return self._run(prices.end_price(price_id))

    def sync_prices(
        self, provider: str, entries: Sequence[Mapping[str, Any]], *, apply: bool = False
    ) -> list[PriceChange]:
        """The changes that a price list makes to a provider's catalog prices; ``apply`` makes them.

            admin.sync_prices("openai", price_list("openai", base_url).entries)

        Args:
            entries: as :func:`supa_llm.client.price_lists.price_list` returns them.

        Raises:
            InvalidInputError: an entry is invalid; nothing was changed.
        """
        return self._run(prices.sync_prices(provider, entries, apply))


@documented_by(AdminPrices)
class AsyncAdminPrices(AsyncCaller):
    """The twin of :class:`AdminPrices`."""

    async def list_prices(self, provider: str | None = None, model: str | None = None) -> list[Price]:
        return await self._run(prices.list_prices(provider, model))

    async def set_price(
        self,
        provider: str,
        model: str,
        rates: Mapping[str, Rate],
        *,
        valid_from: date | None = None,
        valid_until: date | None = None,
        key_source: KeySource | None = None,
        service_tier: str | None = None,
    ) -> Price:
        return await self._run(
            prices.set_price(
                provider,
                model,
                rates,
                valid_from,
                valid_until,
                key_source=key_source,
                service_tier=service_tier,
            )
        )

    async def end_price(self, price_id: int) -> Price:
        return await self._run(prices.end_price(price_id))

    async def sync_prices(
        self, provider: str, entries: Sequence[Mapping[str, Any]], *, apply: bool = False
    ) -> list[PriceChange]:
        return await self._run(prices.sync_prices(provider, entries, apply))
