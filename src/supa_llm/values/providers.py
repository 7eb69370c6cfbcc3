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
        base_url: where requests and keys are sent.
        key_header: header that carries the key, after ``key_scheme``.
        key_pattern: regular expression that a key must match.
        key_url: page where users create a key; empty if unknown.
        key_check_path: path below ``base_url`` that accepts only a valid key; None for the list of models.
        task_models: model by task; other tasks use ``default_model``.
        model_pattern: regular expression for its model names, to route requests for a bare model name.
        model_prefixes: prefixes that are not part of a model's name.
        parameter_names: parameter of OpenAI → the provider's name for it; None if it is not sent.
        position: order of providers that a user has not ordered.
        enabled: False if it serves no requests.
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
    key_header: str
    key_scheme: str
    key_pattern: str
    key_check_path: str | None
    model_pattern: str | None
    model_prefixes: tuple[str, ...]
    parameter_names: Mapping[str, str | None]
    position: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class KnownModel(Row):
    """A model, its prices in US dollars per million tokens, and its context window; None if unknown.

    Attributes:
        context_tokens: the most tokens of input and output together.
    """

    model: str
    input_price: Decimal | None
    output_price: Decimal | None
    context_tokens: int | None = None
