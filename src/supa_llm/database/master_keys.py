"""RPCs about master keys."""

from __future__ import annotations

from supa_llm.database.call import Call


def replace_master_key() -> Call[int]:
    return Call("replace_llm_master_key", {}, lambda data: int(data["unreadable_keys"]))
