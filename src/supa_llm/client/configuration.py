"""The configuration of a project: settings, providers, prices and quotas in one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import configuration as calls
from supa_llm.values.configuration import ConfigurationChange


class Configuration(Caller):
    """The configuration of a project."""

    def get_configuration(self) -> dict[str, Any]:
        """What administrators configured for the whole project, without secrets; JSON can hold it.

        It has the operator's settings, the providers that differ from those of a new project, the operator's
        prices, and the operator's quotas for everyone and for groups.
        """
        return self._run(calls.get_configuration())

    def set_configuration(
        self, configuration: Mapping[str, Any], *, apply: bool = False
    ) -> list[ConfigurationChange]:
        """Compare a configuration with the project; returns what differs.

            for change in staging.set_configuration(production.get_configuration()):
                print(change.kind, change.name, change.before, change.after)

        Args:
            configuration: a result of :meth:`get_configuration`, of this project or another one.
            apply: whether to make the changes, all or none. What the configuration does not name stays.

        Raises:
            InvalidInputError: the configuration is invalid or has a newer format; the message names the part.
        """
        return self._run(calls.set_configuration(configuration, apply))


@documented_by(Configuration)
class AsyncConfiguration(AsyncCaller):
    """The twin of :class:`Configuration`."""

    async def get_configuration(self) -> dict[str, Any]:
        return await self._run(calls.get_configuration())

    async def set_configuration(
        self, configuration: Mapping[str, Any], *, apply: bool = False
    ) -> list[ConfigurationChange]:
        return await self._run(calls.set_configuration(configuration, apply))
