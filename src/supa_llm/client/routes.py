"""The route of a user's requests, without running one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import routes
from supa_llm.errors import NoCandidateError
from supa_llm.values.routes import Candidate, Route


class Routes(Caller):
    """The route of a user's requests."""

    @property
    @abstractmethod
    def _operator_providers(self) -> Sequence[str]:
        """The providers for which this process has an operator's key."""

    def best_provider(self, task: str | None = None) -> Candidate:
        """The first candidate for a request of this task, without running the request.

            llm.best_provider("speed").provider

        Raises:
            NoCandidateError: no provider can serve it; the hint says what the user can do.
        """
        return _first_candidate(self.explain_route(task))

    def explain_route(
        self,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
        team: UUID | str | None = None,
    ) -> Route:
        """The route of a request: its candidates and skipped providers with reasons; advice if it is empty.

            for candidate in llm.explain_route("code").candidates:
                print(candidate.provider, candidate.model, candidate.reason)

        Args:
            model: the requested model: ``provider/model`` or a bare model.
            needs: any of ``chat``, ``streaming``, ``tools``, ``json_schema``, ``vision``, ``embeddings``.
            changes: arguments of :meth:`set_settings`; the route is as it would be after that call.
            team: as in :meth:`chat`.

        Raises:
            InvalidInputError: no provider is known to have the model, or a change is not allowed.
        """
        return self._run(routes.explain_route(task, model, needs, self._operator_providers, changes, team))


@documented_by(Routes)
class AsyncRoutes(AsyncCaller):
    """The twin of :class:`Routes`."""

    @property
    @abstractmethod
    def _operator_providers(self) -> Sequence[str]: ...

    async def best_provider(self, task: str | None = None) -> Candidate:
        return _first_candidate(await self.explain_route(task))

    async def explain_route(
        self,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
        team: UUID | str | None = None,
    ) -> Route:
        return await self._run(
            routes.explain_route(task, model, needs, self._operator_providers, changes, team)
        )


def _first_candidate(route: Route) -> Candidate:
    if route.candidates:
        return route.candidates[0]
    raise NoCandidateError(
        "No provider can serve this request.",
        code="no_usable_key",
        hint=route.advice,
        skipped=route.skipped,
    )
