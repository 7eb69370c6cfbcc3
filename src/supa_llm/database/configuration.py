"""RPCs about the configuration of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supa_llm.database.call import Call
from supa_llm.values.arguments import check
from supa_llm.values.configuration import ConfigurationChange


def get_configuration() -> Call[dict[str, Any]]:
    return Call("get_llm_configuration", {}, dict)


def set_configuration(configuration: Mapping[str, Any], apply: bool) -> Call[list[ConfigurationChange]]:
    """Compare a configuration with the project, and apply it."""
    check(configuration=configuration)
    return Call(
        "set_llm_configuration",
        {"p_configuration": configuration, "p_apply": apply},
        ConfigurationChange.list_from_json,
    )
