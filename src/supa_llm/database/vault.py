"""RPCs about the vault."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.vault import Vault, VaultRotation


def get_vault() -> Call[Vault]:
    return Call("get_llm_vault", {}, Vault.from_json)


def rotate_vault(after: UUID | None = None) -> Call[VaultRotation]:
    """Process one batch of a rotation."""
    return Call("rotate_llm_vault", {"p_after": after and str(after)}, VaultRotation.from_json)


def rotate_ticket_key(overlap: timedelta) -> Call[datetime]:
    check(overlap=overlap)
    return Call(
        "rotate_llm_ticket_key",
        {"p_overlap_seconds": int(overlap.total_seconds())},
        lambda data: datetime.fromisoformat(data["previous_until"]),
    )


def replace_master_key() -> Call[int]:
    return Call("replace_llm_master_key", {}, lambda data: int(data["unreadable_keys"]))
