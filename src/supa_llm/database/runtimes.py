"""RPCs about runtimes."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.runtimes import Runtime, RuntimeSecret


def list_runtimes() -> Call[list[Runtime]]:
    return Call("list_llm_runtimes", {}, Runtime.list_from_json)


def register_runtime(name: str) -> Call[RuntimeSecret]:
    check(name=name)
    return Call("register_llm_runtime", {"p_name": name}, RuntimeSecret.from_json)


def rotate_runtime(runtime_id: UUID, overlap: timedelta) -> Call[RuntimeSecret]:
    check(overlap=overlap)
    return Call(
        "rotate_llm_runtime",
        {"p_id": str(runtime_id), "p_overlap_seconds": int(overlap.total_seconds())},
        RuntimeSecret.from_json,
    )


def revoke_runtime(runtime_id: UUID) -> Call[None]:
    return Call("revoke_llm_runtime", {"p_id": str(runtime_id)}, lambda _: None)
