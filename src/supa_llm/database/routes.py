"""RPCs about routes and the reservations that come with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.routes import Candidate, Demand, Route


def resolve_route(
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
    demand: Demand | None = None,
    requests: int = 1,
    team: UUID | str | None = None,
) -> Call[Route]:
    """The route. With ``demand``, usage is reserved for its first candidate if a quota counts it.

    Args:
        requests: for how many requests to reserve, if no quota is near its limit.
        team: ID of a team, ``none`` for no team; None for the user's default team.
    """
    args = route_args(task, model, needs, operator_providers, team) | (_demand_args(demand) if demand else {})
    args |= {"p_requests": requests} if requests > 1 else {}
    return Call("resolve_llm_route", args, Route.from_json, again=lambda _: args)


def reserve_attempt(demand: Demand, task: str | None, number: int, candidate: Candidate) -> Call[None]:
    """Reserve usage for another candidate of a metered route."""
    return Call(
        "reserve_llm_attempt",
        {
            **_demand_args(demand),
            "p_attempt": number,
            "p_task": task,
            "p_provider": candidate.provider,
            "p_model": candidate.model,
            "p_key_source": candidate.key_source,
            # An older database knows no teams.
            **({"p_team_id": str(candidate.team_id)} if candidate.team_id else {}),
        },
        lambda _: None,
    )


def explain_route(
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
    changes: Mapping[str, Any] | None = None,
    team: UUID | str | None = None,
) -> Call[Route]:
    args = route_args(task, model, needs, operator_providers, team)
    args |= {"p_changes": changes} if changes else {}
    return Call("explain_llm_route", args, Route.from_json)


def route_args(
    task: str | None,
    model: str | None,
    needs: Sequence[str],
    operator_providers: Sequence[str],
    team: UUID | str | None = None,
) -> dict[str, Any]:
    """The arguments that say which route."""
    check(task=task, model=model, needs=needs, team=team)
    return {
        "p_task": task,
        "p_model": model,
        "p_needs": list(needs),
        "p_operator_providers": list(operator_providers),
        **({"p_team": str(team)} if team is not None else {}),
    }


def _demand_args(demand: Demand) -> dict[str, Any]:
    return {
        "p_request_id": str(demand.request_id),
        "p_input_tokens": demand.input_tokens,
        "p_output_tokens": demand.output_tokens,
        **({"p_service_tier": demand.service_tier} if demand.service_tier else {}),
    }
