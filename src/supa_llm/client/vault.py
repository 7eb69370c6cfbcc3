"""The vault: the master key, on which the encryption of all stored keys depends, and the ticket key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import vault
from supa_llm.values.vault import Vault, VaultRotation

#: How long tickets are valid.
_DAY = timedelta(days=1)
#: Seconds to wait for data keys that another transaction has locked.
_PAUSE = 0.2


class AdminVault(Caller):
    """The master key, on which the encryption of all stored keys depends, and the key that signs tickets."""

    def get_vault(self) -> Vault:
        """Return the state of the master keys and ticket keys, without any key."""
        return self._run(vault.get_vault())

    def rotate_vault(self) -> Iterator[VaultRotation]:
        """Rotate the master key; yields the progress after each batch.

            for state in admin.rotate_vault():
                print(f"{state.left} left")

        Encrypts the data keys of all users and teams with a new master key, and then destroys the previous
        one. Keys are stored and used meanwhile. You can stop at any time and continue with the same call,
        which finishes a pending rotation before another one starts.

        Raises:
            DatabaseError: code ``master_key_missing``: the master key is lost. Import or replace it.
        """
        state = self._run(vault.rotate_vault())
        yield state
        while not state.finished:
            if not state.rewrapped:
                time.sleep(_PAUSE)
            state = self._run(vault.rotate_vault(state.after))
            yield state

    def rotate_ticket_key(self, *, overlap: timedelta = _DAY) -> datetime:
        """Sign tickets with a new key, and return until when those of the previous one are valid.

        Args:
            overlap: how long they are valid, at most a day, which is as long as a ticket is valid. After a
                leak, pass zero: usage of earlier requests is then only recorded with the users' tokens.
        """
        return self._change(vault.rotate_ticket_key(overlap))

    def replace_master_key(self) -> int:
        """Create a new master key after the old one was lost, and return how many keys are lost with it.

        These keys get the status ``unreadable``: routes skip them, and their users can store them again. If
        the old master key turns up, import it: see docs/backup.md.

        Raises:
            ConflictError: code ``master_key_usable``: it is not lost, and nothing was changed.
        """
        return self._change(vault.replace_master_key())


@documented_by(AdminVault)
class AsyncAdminVault(AsyncCaller):
    """The twin of :class:`AdminVault`."""

    async def get_vault(self) -> Vault:
        return await self._run(vault.get_vault())

    async def rotate_vault(self) -> AsyncIterator[VaultRotation]:
        state = await self._run(vault.rotate_vault())
        yield state
        while not state.finished:
            if not state.rewrapped:
                await asyncio.sleep(_PAUSE)
            state = await self._run(vault.rotate_vault(state.after))
            yield state

    async def rotate_ticket_key(self, *, overlap: timedelta = _DAY) -> datetime:
        return await self._change(vault.rotate_ticket_key(overlap))

    async def replace_master_key(self) -> int:
        return await self._change(vault.replace_master_key())
