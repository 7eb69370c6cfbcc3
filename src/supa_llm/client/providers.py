"""The provider catalog and its models."""

from __future__ import annotations

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import providers
from supa_llm.values.providers import KnownModel, Provider


class AdminProviders(Caller):
    """The provider catalog."""

    def list_providers(self) -> list[Provider]:
        """The providers that a user may choose from, in catalog order."""
        return self._run(providers.list_providers())


class Providers(AdminProviders):
    """The provider catalog and its models."""

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
