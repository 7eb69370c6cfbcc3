"""The operator's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import operator


class Operator(Caller):
    """The operator's settings."""

    def get_operator_settings(self) -> Mapping[str, Any]:
        """The operator's settings, as ``set_llm_operator_settings()`` takes them."""
        return self._run(operator.get_operator_settings())

    def set_operator_settings(self, **changes: Any) -> Mapping[str, Any]:
        """Change the named settings of the operator; returns all of them.

            admin.set_operator_settings(operator_keys_by_default=False)

        Raises:
            InvalidInputError: the setting does not exist, or its value is not allowed.
        """
        return self._run(operator.set_operator_settings(changes))


@documented_by(Operator)
class AsyncOperator(AsyncCaller):
    """The twin of :class:`Operator`."""

    async def get_operator_settings(self) -> Mapping[str, Any]:
        return await self._run(operator.get_operator_settings())

    async def set_operator_settings(self, **changes: Any) -> Mapping[str, Any]:
        return await self._run(operator.set_operator_settings(changes))
