"""The configuration: exported without secrets, previewed, and applied as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.metering import sets
from tests.database.support import Caller, Transaction, new_user, refused

OWN = {"base_url": "https://own.test/v1", "default_model": "own-1"}


@pytest.fixture
def fresh(tx: Transaction) -> Caller:
    """An administrator of a project as it is after the installation, whatever other tests left in it."""
    tx.sql("delete from public.llm_prices where source = 'operator'")
    tx.sql("delete from llm_private.quotas")
    tx.sql(
        "create temporary table added on commit drop as select id from public.llm_providers"
        " except select id from llm_private.default_providers()"
    )
    for table in ("public.llm_keys", "public.llm_prices", "llm_private.price_list"):
        tx.sql(f"delete from {table} where provider in (select id from added)")
    tx.sql("delete from public.llm_providers where id in (select id from added)")
    tx.sql("delete from llm_private.operator_settings")
    tx.sql("insert into llm_private.operator_settings default values")
    tx.sql(
        "update public.llm_providers as p set base_url = d.base_url, key_pattern = d.key_pattern,"
        " enabled = true from llm_private.default_providers() as d where d.id = p.id"
    )
    return tx.admin


def exported(admin: Caller) -> dict[str, Any]:
    found = admin.rpc("get_llm_configuration")
    assert isinstance(found, dict)
    return found


def applied(admin: Caller, configuration: Any, *, apply: bool = True) -> list[tuple[str, str]]:
    changes = admin.rpc("set_llm_configuration", p_configuration=configuration, p_apply=apply)
    return [(it["kind"], it["name"]) for it in changes]


def configure(admin: Caller) -> None:
    """Change something of each kind."""
    admin.rpc(
        "set_llm_operator_settings", p_changes={"lease_seconds": 60, "reveal_sign_in_within": "10 minutes"}
    )
    admin.rpc("set_llm_provider", p_provider={"id": "groq", "enabled": False})
    admin.rpc("set_llm_provider", p_provider={"id": "own", **OWN})
    price = {"p_provider": "own", "p_model": "Own-*"}
    admin.rpc("set_llm_price", **price, p_rates={"input": 5})
    admin.rpc("set_llm_price", **price, p_rates={"input": 1, "output": {"base": 2, "above": {"1000": 3}}})
    admin.rpc("set_llm_price", **price, p_rates={"input": 9}, p_valid_from="2099-01-01T00:00:00Z")
    admin.rpc(
        "set_llm_price", **price, p_rates={"input": 0}, p_service_tier="flex", p_valid_until="2098-01-01"
    )
    sets(admin, 5, "cost", "month", key_source="operator")
    sets(admin, 100, "requests", "day", group="trial", provider="own", task="code", enforced=False)
    sets(admin, 1000, "tokens", "day", shared=True)


def test_a_new_project_exports_its_settings_and_nothing_else(fresh: Caller) -> None:
    configuration = exported(fresh)
    assert {name: configuration[name] for name in ("format", "prices", "quotas")} == {
        "format": 1,
        "prices": [],
        "quotas": [],
    }
    assert configuration["providers"] == {}
    assert configuration["settings"]["lease_seconds"] == 300


def test_a_configuration_is_carried_to_another_project(tx: Transaction, fresh: Caller) -> None:
    configure(fresh)
    configuration = json.loads(json.dumps(exported(fresh)))
    assert configuration["providers"]["groq"] == {"enabled": False}
    assert configuration["providers"]["own"]["base_url"] == OWN["base_url"]
    assert [(it["model"], it["rates"]["input"]) for it in configuration["prices"]] == [
        ("own-*", 1),
        ("own-*", 9),
        ("own-*", 0),
    ]
    assert len(configuration["quotas"]) == 3
    # The other project.
    tx.sql("delete from public.llm_prices where source = 'operator'")
    tx.sql("delete from llm_private.quotas")
    fresh.rpc("remove_llm_provider", p_provider="own")
    fresh.rpc("set_llm_provider", p_provider={"id": "groq", "enabled": True})
    fresh.rpc("set_llm_operator_settings", p_changes={"lease_seconds": 300, "reveal_sign_in_within": None})
    preview = applied(fresh, configuration, apply=False)
    assert ("setting", "lease_seconds") in preview
    assert ("provider", "own") in preview
    assert exported(fresh) != configuration
    assert applied(fresh, configuration) == preview
    assert exported(fresh) == configuration
    assert [kind for kind, _ in preview] == [
        "setting", "setting", "provider", "provider", "price", "price", "price", "quota", "quota", "quota",
    ]  # fmt: skip


def test_applying_it_again_changes_and_logs_nothing(tx: Transaction, fresh: Caller) -> None:
    configure(fresh)
    configuration = exported(fresh)
    rows = (
        "select (select count(*) from public.llm_prices) + (select count(*) from public.llm_audit_log) as n"
    )
    before = tx.value(rows)
    assert applied(fresh, configuration) == []
    assert tx.value(rows) == before


def test_what_the_document_does_not_name_stays(fresh: Caller) -> None:
    configure(fresh)
    before = exported(fresh)
    assert applied(fresh, {"format": 1}) == []
    assert applied(fresh, {"format": 1, "settings": {"lease_seconds": 90}}) == [("setting", "lease_seconds")]
    before["settings"]["lease_seconds"] = 90
    assert exported(fresh) == before


def test_each_change_has_both_values(fresh: Caller) -> None:
    configure(fresh)
    providers = {"own": {"default_model": "own-2"}}
    (change,) = fresh.rpc("set_llm_configuration", p_configuration={"format": 1, "providers": providers})
    assert change["before"]["default_model"] == "own-1"
    assert change["after"] == {**change["before"], "default_model": "own-2"}


def test_a_changed_price_replaces_the_old_one_once(fresh: Caller) -> None:
    configure(fresh)
    configuration = exported(fresh)
    configuration["prices"][0]["rates"] = {"input": 2}
    (change,) = fresh.rpc("set_llm_configuration", p_configuration=configuration, p_apply=True)
    assert (change["kind"], change["name"], change["after"]) == ("price", "own/own-*", {"input": 2})
    assert applied(fresh, configuration) == []
    assert exported(fresh)["prices"][-2:] != []
    (line, *_) = [
        it for it in fresh.rpc("list_llm_prices", p_provider="own", p_model="own-x") if it["in_force"]
    ]
    assert line["rates"] == {"input": 2}


def test_a_temporary_price_stays_the_newer_one(fresh: Caller) -> None:
    fresh.rpc("set_llm_provider", p_provider={"id": "own", **OWN})
    permanent = {"provider": "own", "model": "m", "rates": {"input": 4}}
    sale = {**permanent, "rates": {"input": 1}, "valid_until": "2099-01-01T00:00:00+00:00"}
    past = {**permanent, "rates": {"input": 7}, "valid_until": "2020-01-01T00:00:00+00:00"}
    begun = {**permanent, "model": "n", "valid_from": "2020-01-01T00:00:00+00:00"}
    configuration = {"format": 1, "prices": [past, permanent, sale, begun]}
    assert len(applied(fresh, configuration)) == 3
    assert applied(fresh, configuration) == []
    assert [it["rates"] for it in exported(fresh)["prices"]] == [{"input": 4}, {"input": 1}, {"input": 4}]


def test_nothing_of_single_users_and_no_secret_is_exported(tx: Transaction, fresh: Caller) -> None:
    user = new_user(tx)
    key = user.holds_key("groq")
    sets(fresh, 3, user_id=user.id)
    sets(user, 2)
    fresh.rpc("set_llm_user_group", p_user_id=user.id, p_group="a-group-of-users")
    user.rpc("set_llm_price", p_provider="groq", p_model="mine", p_rates={"input": 1})
    secret = fresh.rpc("register_llm_runtime", p_name="exporting app")["secret"]
    text = json.dumps(exported(fresh))
    for word in (user.id, key["id"], key["hint"], "a-group-of-users", "mine", secret, "exporting app"):
        assert word not in text
    assert exported(fresh)["quotas"] == []


def changed(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda configuration: configuration.__setitem__(name, value)


@pytest.mark.parametrize(
    ("code", "place", "change"),
    [
        ("configuration_too_new", "format 2", changed("format", 2)),
        ("invalid_configuration", "format", changed("format", None)),
        ("invalid_configuration", "format", changed("format", "new")),
        ("invalid_configuration", "secrets", changed("secrets", {})),
        ("invalid_configuration", "settings", changed("settings", [])),
        ("unknown_setting", "settings: no_setting", changed("settings", {"no_setting": 1})),
        ("invalid_setting", "settings: ", changed("settings", {"lease_seconds": "soon"})),
        ("invalid_configuration", "providers", changed("providers", "groq")),
        ("invalid_configuration", "providers.own: ", changed("providers", {"own": [1]})),
        ("invalid_configuration", "providers.own: ", changed("providers", {"own": {"id": "groq"}})),
        ("unknown_setting", "providers.own: secret", changed("providers", {"own": {"secret": 1}})),
        ("invalid_provider", "providers.own: ", changed("providers", {"own": {"base_url": "http://x.test"}})),
        ("invalid_provider", "providers.own: ", changed("providers", {"own": {"position": "first"}})),
        ("invalid_configuration", "prices", changed("prices", {})),
        ("invalid_configuration", "prices[0]: ", changed("prices", [1])),
        ("invalid_configuration", "prices[0]: ", changed("prices", [{"provider": "own"}])),
        (
            "unknown_provider",
            "prices[0]: ",
            changed("prices", [{"provider": "nobody", "model": "m", "rates": {}}]),
        ),
        (
            "invalid_configuration",
            "prices[0]: ",
            changed("prices", [{"provider": "own", "model": "m", "rates": {}, "valid_from": "soon"}]),
        ),
        (
            "invalid_price",
            "prices: ",
            changed("prices", [{"provider": "own", "model": "m", "rates": {"input": "1"}}]),
        ),
        ("invalid_configuration", "quotas", changed("quotas", 1)),
        ("invalid_quota", "quotas[0]: ", changed("quotas", [{"limit": 1}])),
        (
            "invalid_quota",
            "quotas[0]: ",
            changed("quotas", [{"limit": 1, "unit": "cost", "period": "day", "user_id": "x"}]),
        ),
        (
            "invalid_quota",
            "quotas[0]: ",
            changed("quotas", [{"limit": 1, "unit": "cost", "period": "day", "shared": "yes"}]),
        ),
    ],
)
def test_an_invalid_part_is_named_and_nothing_is_changed(
    fresh: Caller, code: str, place: str, change: Callable[[dict[str, Any]], None]
) -> None:
    configure(fresh)
    before = exported(fresh)
    configuration = exported(fresh)
    configuration["settings"]["lease_seconds"] = 61
    change(configuration)
    for apply in (False, True):
        with refused(code, 404 if code == "unknown_provider" else 400) as error:
            fresh.rpc("set_llm_configuration", p_configuration=configuration, p_apply=apply)
        assert place in error.value.message
    assert exported(fresh) == before


@pytest.mark.parametrize("configuration", [None, Jsonb([]), Jsonb("text"), {}])
def test_only_a_configuration_is_accepted(fresh: Caller, configuration: Any) -> None:
    with refused("invalid_configuration", 400):
        fresh.rpc("set_llm_configuration", p_configuration=configuration)


def test_each_change_is_on_the_operators_log(fresh: Caller) -> None:
    providers = {"own": OWN, "groq": {"enabled": False}}
    applied(fresh, {"format": 1, "settings": {"lease_seconds": 90}, "providers": providers})
    log = fresh.rpc("get_llm_audit_log", p_limit=3)
    assert sorted(entry["action"] for entry in log) == [
        "operator_settings_changed", "provider_set", "provider_set",
    ]  # fmt: skip
