"""Recalculations of recorded costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import recalculations
from supa_llm.values.recalculations import Recalculation


class Recalculations(Caller):
    """Recalculations of recorded costs."""

    def recalculate_costs(
        self, since: date | None = None, until: date | None = None
    ) -> Iterator[Recalculation]:
        """Recalculate recorded costs at the current prices; yields the progress after each batch.

            for state in admin.recalculate_costs(since=date(2027, 1, 1)):
                print(f"{state.events} of {state.expected}, {state.changed} changed")

        You can stop at any time and continue with the same call. Running it again changes nothing.
        An event that had a price never loses it.

        Args:
            since: first request to recalculate; None is the first one. A date is midnight UTC.
            until: end of the range, excluded; None is now.
        """
        state = self._run(recalculations.recalculate_costs(since, until))
        yield state
        while not state.done:
            state = self._run(recalculations.recalculate_costs(since, until, state.id))
            yield state


@documented_by(Recalculations)
class AsyncRecalculations(AsyncCaller):
    """The twin of :class:`Recalculations`."""

    async def recalculate_costs(
        self, since: date | None = None, until: date | None = None
    ) -> AsyncIterator[Recalculation]:
        state = await self._run(recalculations.recalculate_costs(since, until))
        yield state
        while not state.done:
            state = await self._run(recalculations.recalculate_costs(since, until, state.id))
            yield state
