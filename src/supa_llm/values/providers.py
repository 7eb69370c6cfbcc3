"""The provider catalog and the models that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Provider(Row):
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


@dataclass(frozen=True, slots=True)
class KnownModel(Row):
    """A model that is known by name, and what it costs: US dollars for a million tokens, None if unknown."""

    model: str
    input_price: Decimal | None
    output_price: Decimal | None
