"""The benchmarks' project: filling it gives the same rows as recording every event."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.project import Project
from bench.scale import Scale, is_filled
from supa_llm.local import LocalStack
from tests.support import ROOT

SCALE = Scale(users=50, events=2000)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    local = LocalStack(tmp_path_factory.mktemp("bench") / "stack", project=ROOT, port=0, throwaway=True)
    try:
        yield Project.open(local, SCALE)
    finally:
        local.destroy()


def test_the_totals_of_a_filled_project_are_the_sums_of_its_events(filled: Project) -> None:
    checked = filled.stack.admin("check_llm_usage")
    assert checked["differences"] == []
    with filled.stack.connect() as connection:
        counted = connection.execute(
            "select (select count(*) from public.llm_usage_events),"
            " (select sum(attempts) from public.llm_usage_totals),"
            " (select count(*) from public.user_llm_settings)"
        ).fetchone()
    assert counted == (SCALE.events, SCALE.events, SCALE.users)


def test_events_have_the_costs_that_recording_gives_them(filled: Project) -> None:
    with filled.stack.connect() as connection:
        costs = connection.execute(
            "select count(*) filter (where e.cost > 0),"
            " count(*) filter ("
            "  where (e.cost, e.cache_savings) is distinct from (c.cost, nullif(c.cache_savings, 0)))"
            " from public.llm_usage_events as e"
            " cross join lateral llm_private.find_price("
            "  e.user_id, e.provider, e.model, e.key_source, null,"
            "  llm_private.uuid_v7_time(e.request_id)) as price"
            " cross join lateral llm_private.cost_of(price, e.input_tokens, e.cached_input_tokens,"
            "  e.cache_write_tokens, e.output_tokens, e.reasoning_tokens, null) as c"
            " where e.outcome = 'succeeded'"
        ).fetchone()
    assert costs is not None
    assert costs[0] > SCALE.events / 2
    assert costs[1] == 0


def test_a_kept_project_is_refilled_for_a_larger_scale(filled: Project) -> None:
    assert is_filled(filled.stack, SCALE)
    assert not is_filled(filled.stack, Scale(users=51, events=2000))
