"""The provider catalog, which administrators change."""

from __future__ import annotations

import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from supa_llm.wire import WIRES
from tests.database.support import Http, Refused, Transaction, new_user, owner, refused
from tests.support import Stack, key_for

NEW = {"id": "together", "base_url": "https://api.together.xyz/v1", "default_model": "some/model"}


def test_an_openai_compatible_provider_needs_only_three_values(tx: Transaction) -> None:
    added = tx.admin.rpc("set_llm_provider", p_provider=NEW)
    assert (added["name"], added["wire_format"], added["enabled"]) == ("Together", "openai", True)
    user = new_user(tx)
    assert "together" in [row["id"] for row in user.rpc("list_llm_providers")]
    user.rpc("set_llm_key", provider="together", key="0000000000000000fake")
    (candidate,) = user.rpc("resolve_llm_route")["candidates"]
    assert (candidate["provider"], candidate["model"]) == ("together", "some/model")
    assert candidate["base_url"] == "https://api.together.xyz/v1"


def test_only_the_named_columns_change(tx: Transaction) -> None:
    (before,) = tx.sql("select * from public.llm_providers where id = 'groq'")
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "default_model": "x", "position": 1})
    (after,) = tx.sql("select * from public.llm_providers where id = 'groq'")
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"default_model", "position", "updated_at"}
    assert (after["default_model"], after["position"]) == ("x", 1)


def test_a_disabled_provider_is_not_listed(tx: Transaction) -> None:
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "enabled": False})
    assert "groq" not in [row["id"] for row in new_user(tx).rpc("list_llm_providers")]
    assert "groq" in [row["id"] for row in tx.admin.rpc("list_llm_providers", p_disabled=True)]


@pytest.mark.parametrize(
    ("provider", "code"),
    [
        ({}, "invalid_argument"),
        ({"id": None}, "invalid_argument"),
        ({**NEW, "id": "Together"}, "invalid_provider"),
        ({**NEW, "id": "a" * 33}, "invalid_provider"),
        ({"id": "together", "default_model": "x"}, "invalid_provider"),
        ({"id": "together", "base_url": "https://x.example"}, "invalid_provider"),
        ({**NEW, "base_url": "http://api.together.xyz/v1"}, "invalid_provider"),
        ({**NEW, "base_url": "https://api.together.xyz/v1/"}, "invalid_provider"),
        ({**NEW, "base_url": "https://user:password@api.together.xyz"}, "invalid_provider"),
        ({**NEW, "base_url": "https://api.together.xyz?x=1"}, "invalid_provider"),
        ({**NEW, "base_url": "http://localhost.evil.example/v1"}, "invalid_provider"),
        ({**NEW, "base_url": "http://127.0.0.1@evil.example/v1"}, "invalid_provider"),
        ({**NEW, "base_url": "file:///etc/passwd"}, "invalid_provider"),
        ({**NEW, "base_url": "https://a.example\nhttps://b.example"}, "invalid_provider"),
        ({**NEW, "wire_format": "soap"}, "invalid_provider"),
        ({**NEW, "key_header": "X-Key: y"}, "invalid_provider"),
        ({**NEW, "key_scheme": "Bearer x"}, "invalid_provider"),
        ({**NEW, "key_pattern": "((("}, "invalid_provider"),
        ({**NEW, "model_pattern": "((("}, "invalid_provider"),
        ({**NEW, "capabilities": ["telepathy"]}, "invalid_provider"),
        ({**NEW, "capabilities": "chat"}, "invalid_provider"),
        ({**NEW, "wire_format": "google", "capabilities": ["chat", "responses"]}, "invalid_provider"),
        ({**NEW, "task_models": []}, "invalid_provider"),
        ({**NEW, "parameter_names": "x"}, "invalid_provider"),
        ({**NEW, "parameter_names": {"max_completion_tokens": None}}, "invalid_provider"),
        ({**NEW, "model_prefixes": "models/"}, "invalid_provider"),
        ({**NEW, "model_prefixes": ["models"]}, "invalid_provider"),
        ({**NEW, "model_prefixes": ["a/", ""]}, "invalid_provider"),
        ({**NEW, "model_prefixes": ["a/", None]}, "invalid_provider"),
        ({**NEW, "model_prefixes": ["a b/"]}, "invalid_provider"),
        ({**NEW, "model_prefixes": [f"{n}/" for n in range(9)]}, "invalid_provider"),
        ({**NEW, "name": ""}, "invalid_provider"),
        ({**NEW, "position": "first"}, "invalid_provider"),
        ({**NEW, "default_model": None}, "invalid_provider"),
        ({**NEW, "bse_url": "x"}, "unknown_setting"),
        ({**NEW, "created_at": "2020-01-01"}, "unknown_setting"),
    ],
)
def test_an_invalid_provider_is_refused(tx: Transaction, provider: dict[str, Any], code: str) -> None:
    before = tx.sql("select * from public.llm_providers order by id")
    with refused(code, 400):
        tx.admin.rpc("set_llm_provider", p_provider=provider)
    assert tx.sql("select * from public.llm_providers order by id") == before


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8080/v1", "http://localhost", "http://[::1]:1/v1"])
def test_a_loopback_provider_may_use_plain_http(tx: Transaction, base_url: str) -> None:
    tx.admin.rpc("set_llm_provider", p_provider={**NEW, "base_url": base_url})


def test_the_catalog_accepts_the_wire_formats_of_the_client(tx: Transaction) -> None:
    accepted = tx.value(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'wire_format_is_known'"
    )
    assert set(re.findall(r"'(\w+)'", accepted)) == set(WIRES)


def test_the_seed_does_not_change_existing_providers(tx: Transaction) -> None:
    tx.admin.rpc("set_llm_provider", p_provider={"id": "groq", "default_model": "x", "enabled": False})
    before = tx.sql("select * from public.llm_providers order by id")
    tx.sql("select llm_private.add_default_providers()")
    assert tx.sql("select * from public.llm_providers order by id") == before


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral", "anthropic", "google"])
def test_a_seeded_provider_accepts_its_own_keys_and_refuses_others(tx: Transaction, provider: str) -> None:
    user = new_user(tx)
    user.holds_key(provider)
    for other in {"openai", "groq", "anthropic", "google"} - {provider}:
        with refused("key_malformed", 400):
            user.rpc("set_llm_key", provider=provider, key=key_for(other))


def test_seeded_task_orders_name_only_existing_providers(tx: Transaction) -> None:
    providers = {row["id"] for row in tx.sql("select id from public.llm_providers")}
    for task in tx.sql("select * from public.llm_tasks"):
        assert set(task["provider_order"]) <= providers, json.dumps(task)


def test_the_error_names_the_violated_constraint(tx: Transaction) -> None:
    with pytest.raises(Refused) as error:
        tx.admin.rpc("set_llm_provider", p_provider={**NEW, "base_url": "http://api.together.xyz"})
    assert "base_url_is_https_or_loopback" in error.value.message


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ({"id": "together", "default_model": "x"}, "does not exist yet, and a new one needs base_url."),
        (
            {"id": "together", "base_url": "https://x.example"},
            "does not exist yet, and a new one needs default_model.",
        ),
        ({"id": "groq", "name": None}, "name must not be null."),
    ],
)
def test_the_error_names_the_missing_field(tx: Transaction, provider: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as error:
        tx.admin.rpc("set_llm_provider", p_provider=provider)
    assert error.value.message.endswith(message)


def test_a_key_url_must_be_an_https_page(tx: Transaction) -> None:
    admin = tx.admin
    for url in ("javascript:alert(1)", "http://example.com", "https://user@example.com/", "https://a b"):
        with refused("invalid_provider", 400):
            admin.rpc("set_llm_provider", p_provider={"id": "groq", "key_url": url})
    changed = admin.rpc(
        "set_llm_provider",
        p_provider={"id": "groq", "key_url": "https://example.com/keys", "key_check_path": "/key"},
    )
    assert (changed["key_url"], changed["key_check_path"]) == ("https://example.com/keys", "/key")


# Removing -------------------------------------------------------------------------------------------


def test_an_unused_provider_is_removed_with_its_prices_and_quotas(tx: Transaction) -> None:
    tx.admin.rpc("set_llm_provider", p_provider=NEW)
    user = new_user(tx)
    user.rpc("set_llm_settings", p_changes={
        "default_provider": "together",
        "task_overrides": {"speed": {"provider": "together"}},
        "provider_preferences": {"together": {"priority": 1}},
    })  # fmt: skip
    for caller in (user, tx.admin):
        caller.rpc("set_llm_price", p_provider="together", p_model="m", p_rates={"input": 1})
        quota = {"limit": 1, "unit": "requests", "period": "day", "provider": "together"}
        caller.rpc("set_llm_quota", p_quota=quota)
    entry = {"name": "m", "pattern": "^m$", "position": 0, "prices": [{"rates": {"input": 1}}]}
    tx.admin.rpc("sync_llm_prices", p_provider="together", p_entries=Jsonb([entry]), p_apply=True)
    tx.sql("update public.llm_tasks set provider_order = provider_order || '{together}' where task = 'code'")
    tx.admin.rpc("remove_llm_provider", p_provider="together")
    for table in ("public.llm_prices", "llm_private.price_list", "llm_private.quotas"):
        assert tx.value(f"select count(*) from {table} where provider = 'together'") == 0
    assert tx.value("select count(*) from public.llm_tasks where 'together' = any(provider_order)") == 0
    # The users' settings work as before, without it.
    assert user.rpc("get_llm_settings")["default_provider"] is None
    user.holds_key("groq")
    (candidate,) = user.rpc("resolve_llm_route", p_task="speed")["candidates"]
    assert candidate["provider"] == "groq"
    user.rpc("set_llm_settings", p_changes={"task_overrides": {"speed": None}})


def test_a_provider_with_keys_or_usage_is_not_removed(tx: Transaction) -> None:
    tx.admin.rpc("set_llm_provider", p_provider=NEW)
    user = new_user(tx)
    user.rpc("set_llm_key", provider="together", key="0000000000000000fake")
    with refused("provider_in_use", 409) as error:
        tx.admin.rpc("remove_llm_provider", p_provider="together")
    assert "1 of its keys is stored" in error.value.message
    assert "usage" not in error.value.message
    user.rpc("remove_llm_key", p_provider="together")
    user.records(provider="together", model="m")
    with refused("provider_in_use", 409) as error:
        tx.admin.rpc("remove_llm_provider", p_provider="together")
    assert error.value.message.endswith("usage of it is recorded.")
    with refused("unknown_provider", 404):
        tx.admin.rpc("remove_llm_provider", p_provider="nobody")


def test_a_provider_whose_first_key_is_being_stored_is_not_removed(stack: Stack, http: Http) -> None:
    provider = f"race-{uuid.uuid4().hex[:20]}"
    http.admin.rpc("set_llm_provider", p_provider={**NEW, "id": provider})
    user = new_user(http)
    user.holds_key("groq")  # which makes the user an owner of keys
    insert = "insert into public.llm_keys (owner_id, provider, hint) values (%s, %s, '')"
    with owner(stack) as storing, ThreadPoolExecutor(1) as pool:
        with storing.transaction():
            storing.execute(insert, [user.id, provider])
            removing = pool.submit(http.admin.rpc, "remove_llm_provider", p_provider=provider)
            time.sleep(0.3)
            assert not removing.done()
        with refused("provider_in_use", 409):
            removing.result()
        storing.execute("delete from public.llm_keys where provider = %s", [provider])
    http.admin.rpc("remove_llm_provider", p_provider=provider)
