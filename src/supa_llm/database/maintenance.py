"""RPCs about maintenance."""

from __future__ import annotations

from supa_llm.database.call import Call
from supa_llm.values.maintenance import Maintenance


def run_maintenance() -> Call[Maintenance]:
    return Call("run_llm_maintenance", {}, Maintenance.from_json)
