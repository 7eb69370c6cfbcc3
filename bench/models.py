"""Models: listing the known models of a provider with their prices."""

from __future__ import annotations

from bench.lab import Lab
from bench.measure import Measured, compare_p50
from bench.project import Project

_PRICES_OF_OTHERS = 100_000


def models_p50(lab: Lab) -> Measured:
    """OpenAI's models, over a hundred after a price sync, before and after other users set prices."""
    user = lab.small.user()
    listing = lab.small.request(user, "list_llm_models", p_provider="openai")
    baseline = lab.small.request(user, "bench_select_1")
    alone = compare_p50(listing, baseline, rounds=3)
    _add_prices_of_others(lab.small)
    measured = compare_p50(listing, baseline)
    measured.detail.update(
        models=len(user.rpc("list_llm_models", p_provider="openai")),
        prices_of_others=_PRICES_OF_OTHERS,
        ratio_without_them=round(alone.ratio, 3),
    )
    return measured


def _add_prices_of_others(project: Project) -> None:
    with project.stack.connect() as connection:
        connection.execute(
            "insert into public.llm_prices (source, user_id, provider, model, key_source, rates)"
            " select 'user', u.id, 'openai', 'model-' || i, 'user', '{\"input\": 1}'"
            " from (select id from bench.users order by n limit 100) as u"
            " cross join generate_series(1, %s) as i",
            [_PRICES_OF_OTHERS // 100],
        )
        connection.execute("analyze public.llm_prices")
