"""RPCs about the provider keys of a team."""

from __future__ import annotations

from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.keys import Key


def list_team_keys(team_id: UUID | str) -> Call[list[Key]]:
    check(team_id=team_id)
    return Call("list_llm_team_keys", {"p_team_id": str(team_id)}, Key.list_from_json)


def set_team_key(team_id: UUID | str, provider: str, key: str) -> Call[Key]:
    check(team_id=team_id, provider=provider, key=key)
    return Call(
        "set_llm_team_key", {"team_id": str(team_id), "provider": provider, "key": key}, Key.from_json
    )


def remove_team_key(team_id: UUID | str, provider: str) -> Call[None]:
    check(team_id=team_id, provider=provider)
    args = {"p_team_id": str(team_id), "p_provider": provider}
    return Call("remove_llm_team_key", args, lambda _: None)
