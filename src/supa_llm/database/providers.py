"""RPCs about providers and their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.providers import KnownModel, Provider


def list_providers(disabled: bool = False) -> Call[list[Provider]]:
    return Call("list_llm_providers", {"p_disabled": disabled}, Provider.list_from_json)


def set_provider(provider: str, columns: Mapping[str, Any]) -> Call[Provider]:
    check(provider=provider)
    return Call("set_llm_provider", {"p_provider": {**columns, "id": provider}}, Provider.from_json)


def remove_provider(provider: str) -> Call[None]:
    check(provider=provider)
    return Call("remove_llm_provider", {"p_provider": provider}, lambda _: None)


def list_models(provider: str) -> Call[list[KnownModel]]:
    check(provider=provider)
    return Call("list_llm_models", {"p_provider": provider}, KnownModel.list_from_json)
