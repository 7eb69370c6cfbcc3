"""The provider catalog and its known models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Provider(Row):
    """A provider in the catalog.

    Attributes:
        key_url: page where users create a key; empty if unknown.
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
    """A model and its prices in US dollars per million tokens; None if unknown."""

    model: str
    input_price: Decimal | None
    output_price: Decimal | None
