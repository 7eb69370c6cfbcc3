"""Problems of the installation."""

from __future__ import annotations

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import problems
from supa_llm.values.problems import InstalledVersion, Problem


class Problems(Caller):
    """Problems of the installation."""

    def list_problems(self) -> list[Problem]:
        """What is wrong with the installation in the database, errors and warnings.

        ``supa-llm doctor`` also checks what only a client can see, such as exposed schemas and clocks.
        """
        return self._run(problems.list_problems())

    def get_version(self) -> InstalledVersion:
        """The version of supa-llm that the database has, and the database's time."""
        return self._run(problems.get_version())


@documented_by(Problems)
class AsyncProblems(AsyncCaller):
    """The twin of :class:`Problems`."""

    async def list_problems(self) -> list[Problem]:
        return await self._run(problems.list_problems())

    async def get_version(self) -> InstalledVersion:
        return await self._run(problems.get_version())
