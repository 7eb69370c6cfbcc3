"""The provider catalog and its models."""

from __future__ import annotations

from typing import Any

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import providers
from supa_llm.values.providers import KnownModel, Provider


class Providers(Caller):
    """The provider catalog and its models."""

    def list_providers(self) -> list[Provider]:
        """The providers that a user may choose from, in catalog order."""
        return self._run(providers.list_providers())

    def list_models(self, provider: str) -> list[KnownModel]:
        """The known models of a provider, with prices. A request may name any other model too.

            for known in llm.list_models("groq"):
                print(known.model, known.input_price)

        Raises:
            NotFoundError: the provider does not exist.
        """
        return self._run(providers.list_models(provider))


@documented_by(Providers)
class AsyncProviders(AsyncCaller):
    """The twin of :class:`Providers`."""

    async def list_providers(self) -> list[Provider]:
        return await self._run(providers.list_providers())

    async def list_models(self, provider: str) -> list[KnownModel]:
        return await self._run(providers.list_models(provider))


class AdminProviders(Caller):
    """The provider catalog, which administrators change."""

    def list_providers(self, *, disabled: bool = False) -> list[Provider]:
        """The enabled providers, in catalog order; with ``disabled``, all of them.

        admin.list_providers(disabled=True)
        """
        return self._run(providers.list_providers(disabled))

    def set_provider(self, provider: str, **columns: Any) -> Provider:
        """Add a provider, or change the given columns of an existing one.

            admin.set_provider("acme", base_url="https://api.acme.example/v1", default_model="acme-1")
            admin.set_provider("google", enabled=False)

        Args:
            columns: fields of :class:`~supa_llm.Provider`. A new OpenAI-compatible provider needs
                ``base_url`` and ``default_model``.

        Raises:
            InvalidInputError: the column does not exist, or the provider would be unusable.
        """
        return self._run(providers.set_provider(provider, columns))

    def remove_provider(self, provider: str) -> None:
        """Remove a provider that has neither keys nor usage, with its prices and quotas.

        Raises:
            NotFoundError: the provider does not exist.
            ConflictError: code ``provider_in_use``: keys of it are stored, or usage is recorded. Disable it.
        """
        self._run(providers.remove_provider(provider))

    def list_models(self, provider: str) -> list[KnownModel]:
        """The models of a provider in the catalog and the prices, with the prices of the operator's key.

            for known in admin.list_models("groq"):
                print(known.model, known.input_price)

        Raises:
            NotFoundError: the provider does not exist.
        """
        return self._run(providers.list_models(provider))


@documented_by(AdminProviders)
class AsyncAdminProviders(AsyncCaller):
    """The twin of :class:`AdminProviders`."""

    async def list_providers(self, *, disabled: bool = False) -> list[Provider]:
        return await self._run(providers.list_providers(disabled))

    async def set_provider(self, provider: str, **columns: Any) -> Provider:
        return await self._run(providers.set_provider(provider, columns))

    async def remove_provider(self, provider: str) -> None:
        await self._run(providers.remove_provider(provider))

    async def list_models(self, provider: str) -> list[KnownModel]:
        return await self._run(providers.list_models(provider))
