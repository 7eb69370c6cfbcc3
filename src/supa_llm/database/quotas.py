"""RPCs about quotas and user groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.encoding import without_decimals
from supa_llm.values.arguments import check
from supa_llm.values.quotas import Quota


def list_quotas(user_id: UUID | None = None, team_id: UUID | None = None) -> Call[list[Quota]]:
    check(user_id=user_id)
    if team_id is not None:
        check(team_id=team_id)
    args = {"p_user_id": user_id, "p_team_id": team_id}
    return Call(
        "list_llm_quotas",
        {name: str(value) for name, value in args.items() if value},
        Quota.list_from_json,
    )


def team_fields(team_id: UUID | None, shared: bool) -> dict[str, Any]:
    """The fields of a quota of a team; none without one, because an older database does not know them."""
    if team_id is None:
        return {}
    check(team_id=team_id)
    return {"team_id": str(team_id), "shared": shared}


def set_quota(fields: Mapping[str, Any]) -> Call[Quota]:
    """Set a quota; ``fields`` are those of the RPC set_llm_quota()."""
    check(**{"limit of a quota": fields["limit"]})
    return Call("set_llm_quota", {"p_quota": without_decimals(fields)}, Quota.from_json)


def remove_quota(quota_id: int) -> Call[None]:
    check(quota_id=quota_id)
    return Call("remove_llm_quota", {"p_id": quota_id}, lambda _: None)


def set_user_group(user_id: UUID, group: str | None) -> Call[None]:
    check(user_id=user_id, group=group)
    return Call("set_llm_user_group", {"p_user_id": str(user_id), "p_group": group}, lambda _: None)
