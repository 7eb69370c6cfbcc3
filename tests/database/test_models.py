"""The known models of a provider."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.support import Caller, Transaction, new_user, refused

#: How many rows of a table this transaction has read so far.
ROWS_READ = """
select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables
where relid = 'public.llm_prices'::regclass
"""


def has_prices(tx: Transaction, user: Caller, name: str, count: int) -> None:
    """Insert prices of a user for models that are named after their number."""
    tx.sql(
        "insert into public.llm_prices (source, user_id, provider, model, key_source, rates)"
        " select 'user', %s, 'groq', replace(%s, '#', n::text), 'user', '{\"input\": 9}'"
        " from generate_series(1, %s) as n",
        user.id, name, count,
    )  # fmt: skip
    tx.sql("analyze public.llm_prices")


def rows_read(tx: Transaction, query: str, *parameters: Any) -> int:
    """Run a query and return how many prices it read."""
    before = tx.value(ROWS_READ)
    tx.sql(query, *parameters)
    read: int = tx.value(ROWS_READ) - before
    return read


def test_known_models_come_from_the_catalog_and_the_callers_prices(tx: Transaction) -> None:
    user = new_user(tx)
    user.rpc("set_llm_price", p_provider="groq", p_model="my-model", p_rates={"input": 1.5, "output": 3})
    user.rpc("set_llm_price", p_provider="groq", p_model="some-*", p_rates={"input": 1})
    known = {model["model"]: model for model in user.rpc("list_llm_models", p_provider="groq")}
    assert known["my-model"] == {
        "model": "my-model",
        "input_price": 1.5,
        "output_price": 3,
        "context_tokens": None,
    }
    assert {"openai/gpt-oss-120b", "llama-3.1-8b-instant"} <= set(known)
    assert not [model for model in known if "*" in model]
    other_users_models = [model["model"] for model in new_user(tx).rpc("list_llm_models", p_provider="groq")]
    assert "my-model" not in other_users_models
    with refused("unknown_provider", 404):
        user.rpc("list_llm_models", p_provider="missing")


def test_an_administrator_sees_the_prices_of_the_operators_key_and_no_users(tx: Transaction) -> None:
    new_user(tx).rpc("set_llm_price", p_provider="groq", p_model="users-model", p_rates={"input": 9})
    for source, rate in (("operator", 2), ("user", 3)):
        scope = {"p_provider": "groq", "p_model": "shared-model", "p_key_source": source}
        tx.admin.rpc("set_llm_price", **scope, p_rates={"input": rate})
    known = {model["model"]: model for model in tx.admin.rpc("list_llm_models", p_provider="groq")}
    assert known["shared-model"]["input_price"] == 2
    assert "llama-3.1-8b-instant" in known
    assert "users-model" not in known


def test_listing_models_reads_no_prices_of_other_users(tx: Transaction) -> None:
    user = new_user(tx)
    has_prices(tx, new_user(tx), "model-#", 2000)
    user.rpc("list_llm_models", p_provider="groq")
    before = tx.value(ROWS_READ)
    models = user.rpc("list_llm_models", p_provider="groq")
    assert tx.value(ROWS_READ) - before < 20 * len(models)


@pytest.mark.parametrize("whose", ["own", "another's"])
@pytest.mark.parametrize("name", ["model-#", "pattern-#-*"])
def test_finding_a_price_reads_few_rows(tx: Transaction, whose: str, name: str) -> None:
    user = new_user(tx)
    has_prices(tx, user if whose == "own" else new_user(tx), name, 2000)
    find = "select llm_private.find_price(%s, 'groq', 'pattern-7-x', 'user', null, now())"
    assert rows_read(tx, find, user.id) < 10
    found = tx.value(find, user.id)
    assert (found is not None) == (whose == "own" and name == "pattern-#-*")


def test_a_user_with_many_prices_lists_their_models(tx: Transaction) -> None:
    user = new_user(tx)
    has_prices(tx, user, "model-#", 1500)
    prices = {
        model["model"]: model["input_price"] for model in user.rpc("list_llm_models", p_provider="groq")
    }
    assert [prices[f"model-{n}"] for n in range(1, 1501)] == [9] * 1500
