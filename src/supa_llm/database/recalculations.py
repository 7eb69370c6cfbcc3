"""RPCs about recalculations."""

from __future__ import annotations

from datetime import date

from supa_llm.database.call import Call
from supa_llm.database.encoding import timestamp
from supa_llm.values.arguments import check
from supa_llm.values.recalculations import Recalculation


def recalculate_costs(
    since: date | None = None, until: date | None = None, recalculation: int | None = None
) -> Call[Recalculation]:
    """Process one batch of a recalculation."""
    check(since=since, until=until)
    return Call(
        "recalculate_llm_costs",
        {"p_from": timestamp(since), "p_until": timestamp(until), "p_recalculation": recalculation},
        Recalculation.from_json,
    )
