"""RPCs about provider keys."""

from __future__ import annotations

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.keys import Key


def list_keys() -> Call[list[Key]]:
    return Call("list_llm_keys", {}, Key.list_from_json)


def set_key(provider: str, key: str) -> Call[Key]:
    check(provider=provider, key=key)
    return Call("set_llm_key", {"provider": provider, "key": key}, Key.from_json)


def remove_key(provider: str) -> Call[None]:
    check(provider=provider)
    return Call("remove_llm_key", {"p_provider": provider}, lambda _: None)


def reveal_key(provider: str) -> Call[str]:
    check(provider=provider)
    args = {"p_provider": provider}
    return Call("reveal_llm_key", args, lambda row: str(row["key"]), again=lambda _: args)
