"""The vault: the master keys, which protect the stored keys, and the keys that sign tickets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class MasterKey(Row):
    """A master key, without its secret.

    Attributes:
        readable: whether it is in Supabase Vault, and Vault can decrypt it.
        owners: how many users and teams have a data key that it encrypts.
    """

    id: int
    created_at: datetime
    readable: bool
    owners: int


@dataclass(frozen=True, slots=True)
class TicketKey(Row):
    """A key that signs tickets, without its secret.

    Attributes:
        valid_until: until when the tickets that it signed are valid; None for the one that signs.
    """

    id: int
    created_at: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Vault(Row):
    """The state of the vault.

    Attributes:
        master_keys: oldest first; the last one encrypts new data keys.
        ticket_keys: oldest first; the last one signs new tickets.
        pending: whether a rotation of the master key is not finished.
        left: how many data keys the pending rotation has yet to encrypt again.
        unreadable: how many data keys an earlier master key encrypts that is lost.
    """

    master_keys: tuple[MasterKey, ...]
    ticket_keys: tuple[TicketKey, ...]
    pending: bool
    left: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class VaultRotation(Row):
    """One batch of a rotation of the master key.

    Attributes:
        rewrapped: how many data keys this batch encrypted with the new master key.
        left: how many are left.
        destroyed: how many earlier master keys this batch destroyed.
        unreadable: how many data keys cannot be decrypted. They stay as they are, and so does their master
            key.
        finished: whether the rotation is finished.
        after: where the next batch continues.
    """

    rewrapped: int
    left: int
    destroyed: int
    unreadable: int
    finished: bool
    after: UUID
