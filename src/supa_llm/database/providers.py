"""RPCs about providers and their models."""

from __future__ import annotations

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.providers import KnownModel, Provider


def list_providers() -> Call[list[Provider]]:
    return Call("list_llm_providers", {}, Provider.list_from_json)


def list_models(provider: str) -> Call[list[KnownModel]]:
    check(provider=provider)
    return Call("list_llm_models", {"p_provider": provider}, KnownModel.list_from_json)
