"""Changes of a project's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class ConfigurationChange(Row):
    """A part of the configuration that differs from the project.

    Attributes:
        name: the setting, the provider's ID, the model of a price, or what a quota counts.
        before: the value in the project; None if it is new.
    """

    kind: Literal["setting", "provider", "price", "quota"]
    name: str
    before: Any
    after: Any
