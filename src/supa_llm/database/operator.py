"""RPCs about the operator's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.database.call import Call


def get_operator_settings() -> Call[Mapping[str, Any]]:
    return Call("get_llm_operator_settings", {}, dict)


def set_operator_settings(changes: Mapping[str, Any]) -> Call[Mapping[str, Any]]:
    return Call("set_llm_operator_settings", {"p_changes": changes}, dict)
