"""RPCs about users, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.database.routes import route_args
from supa_llm.values.arguments import check
from supa_llm.values.routes import Route
from supa_llm.values.users import User, UserDataRemoval, UserDetails


def list_users(
    search: str | None,
    ids: Sequence[UUID] | None,
    group: str | None,
    suspended: bool,
    limit: int,
    after: UUID | None,
) -> Call[list[User]]:
    check(search=search, ids=ids, group=group, limit=limit, after=after)
    return Call(
        "list_llm_users",
        {
            "p_search": search,
            "p_ids": None if ids is None else list(map(str, ids)),
            "p_group": group,
            "p_suspended": suspended,
            "p_limit": limit,
            "p_after": str(after) if after else None,
        },
        User.list_from_json,
    )


def get_user(user_id: UUID) -> Call[UserDetails]:
    return Call("get_llm_user", {"p_user_id": str(user_id)}, UserDetails.from_json)


def explain_user_route(
    user_id: UUID,
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
) -> Call[Route]:
    args = route_args(task, model, needs, operator_providers)
    return Call("explain_llm_user_route", {"p_user_id": str(user_id), **args}, Route.from_json)


def set_user_suspended(user_id: UUID, suspended: bool, reason: str | None = None) -> Call[None]:
    check(reason=reason)
    return Call(
        "set_llm_user_suspended",
        {"p_user_id": str(user_id), "p_suspended": suspended, "p_reason": reason},
        lambda _: None,
    )


def remove_user_data(user_id: UUID) -> Call[UserDataRemoval]:
    return Call("remove_llm_user_data", {"p_user_id": str(user_id)}, UserDataRemoval.from_json)
