"""RPCs about problems of the installation."""

from __future__ import annotations

from supa_llm.database.call import Call
from supa_llm.values.problems import InstalledVersion, Problem


def list_problems() -> Call[list[Problem]]:
    return Call("list_llm_problems", {}, Problem.list_from_json)


def get_version() -> Call[InstalledVersion]:
    return Call("get_llm_version", {}, InstalledVersion.from_json)
