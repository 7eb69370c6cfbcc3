"""A user's own provider keys."""

from __future__ import annotations

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import keys
from supa_llm.values.keys import Key


class Keys(Caller):
    """A user's own provider keys."""

    def list_keys(self) -> list[Key]:
        """The user's keys with provider, hint and status; never the key itself."""
        return self._run(keys.list_keys())

    def set_key(self, provider: str, key: str) -> Key:
        """Store the user's key for a provider, encrypted. It replaces an older one.

            llm.set_key("openai", "sk-…").hint

        Raises:
            InvalidInputError: the key does not look like a key of this provider.
            NotFoundError: the provider does not exist.
        """
        return self._change(keys.set_key(provider, key))

    def remove_key(self, provider: str) -> None:
        """Delete the user's key for a provider.

        Raises:
            NotFoundError: the user has no key for it.
        """
        self._change(keys.remove_key(provider))

    def reveal_key(self, provider: str) -> str:
        """The user's own key in plain text. The audit log records each call.

        Raises:
            ForbiddenError: the operator has switched this off, or requires a more recent sign-in.
            NotFoundError: the user has no key for the provider.
        """
        return self._run(keys.reveal_key(provider))


@documented_by(Keys)
class AsyncKeys(AsyncCaller):
    """The twin of :class:`Keys`."""

    async def list_keys(self) -> list[Key]:
        return await self._run(keys.list_keys())

    async def set_key(self, provider: str, key: str) -> Key:
        return await self._change(keys.set_key(provider, key))

    async def remove_key(self, provider: str) -> None:
        await self._change(keys.remove_key(provider))

    async def reveal_key(self, provider: str) -> str:
        return await self._run(keys.reveal_key(provider))
