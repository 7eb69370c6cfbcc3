"""The known models of a provider."""

from __future__ import annotations

from tests.database.support import Transaction, new_user, refused


def test_known_models_come_from_the_catalog_and_the_callers_prices(tx: Transaction) -> None:
    user = new_user(tx)
    user.rpc("set_llm_price", p_provider="groq", p_model="my-model", p_rates={"input": 1.5, "output": 3})
    user.rpc("set_llm_price", p_provider="groq", p_model="some-*", p_rates={"input": 1})
    known = {model["model"]: model for model in user.rpc("list_llm_models", p_provider="groq")}
    assert known["my-model"] == {"model": "my-model", "input_price": 1.5, "output_price": 3}
    assert {"openai/gpt-oss-120b", "llama-3.1-8b-instant"} <= set(known)
    assert not [model for model in known if "*" in model]
    other_users_models = [model["model"] for model in new_user(tx).rpc("list_llm_models", p_provider="groq")]
    assert "my-model" not in other_users_models
    with refused("unknown_provider", 404):
        user.rpc("list_llm_models", p_provider="missing")
