"""The provider catalog and the models that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of the catalogue.

    Attributes:
        key_url: page of the provider where one gets a key; empty where it is not known.
    """

    id: str
    name: str
    base_url: str
    wire_format: str
    capabilities: tuple[str, ...]
    default_model: str
    task_models: Mapping[str, str]
    key_example: str
    key_url: str

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            id=row["id"],
            name=row["name"],
            base_url=row["base_url"],
            wire_format=row["wire_format"],
            capabilities=tuple(row["capabilities"]),
            default_model=row["default_model"],
            task_models=row["task_models"],
            key_example=row["key_example"],
            key_url=row["key_url"],
        )


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that is known by name, and what it costs: US dollars for a million tokens, None if unknown."""

    model: str
    input_price: Decimal | None
    output_price: Decimal | None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        return cls(row["model"], _price(row["input_price"]), _price(row["output_price"]))


def _price(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
