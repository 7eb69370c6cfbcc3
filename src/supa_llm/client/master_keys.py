"""The master key, which encrypts all stored keys."""

from __future__ import annotations

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import master_keys


class MasterKeys(Caller):
    """The master key, which encrypts all stored keys."""

    def replace_master_key(self) -> int:
        """Create a new master key after the old one was lost, and return how many keys are lost with it.

        These keys get the status ``unreadable``: routes skip them, and their users can store them again. If
        the old master key turns up, import it: see docs/backup.md.

        Raises:
            ConflictError: code ``master_key_usable``: it is not lost, and nothing was changed.
        """
        return self._change(master_keys.replace_master_key())


@documented_by(MasterKeys)
class AsyncMasterKeys(AsyncCaller):
    """The twin of :class:`MasterKeys`."""

    async def replace_master_key(self) -> int:
        return await self._change(master_keys.replace_master_key())
