"""RPCs about a user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.database.call import Call
from supa_llm.values.settings import Settings


def get_settings() -> Call[Settings]:
    return Call("get_llm_settings", {}, Settings.from_json)


def set_settings(changes: Mapping[str, Any], expected_version: int | None = None) -> Call[Settings]:
    return Call(
        "set_llm_settings",
        {"p_changes": changes, "p_expected_version": expected_version},
        Settings.from_json,
    )
