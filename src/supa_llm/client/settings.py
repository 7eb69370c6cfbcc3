"""Arguments of the settings methods as the change that set_llm_settings() takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from supa_llm.values.arguments import check


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


#: Not given, where None is a value of its own: it resets.
UNSET: Final = Unset.UNSET


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not UNSET}


def preference_change(provider: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    check(provider=provider)
    return {"provider_preferences": {provider: fields}}


def task_change(
    task: str, provider: str, model: str | None, fallbacks: Sequence[str] | None
) -> dict[str, Any]:
    check(task=task, provider=provider, model=model, fallbacks=fallbacks)
    override: dict[str, Any] = {"provider": provider, "model": model}
    if fallbacks is not None:
        override["fallbacks"] = [_fallback(name) for name in fallbacks]
    return {"task_overrides": {task: override}}


def _fallback(name: str) -> dict[str, str | None]:
    provider, _, model = name.partition("/")
    return {"provider": provider, "model": model or None}
