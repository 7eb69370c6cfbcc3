"""Quotas: setting, scopes, counting, periods and alerts."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.metering import (
    assert_exact,
    clear_usage,
    counter,
    figures,
    prices,
    reserves,
    resolves,
    sets,
)
from tests.database.support import Caller, Http, Refused, Transaction, new_user, refused, request_id

DAY = 86_400


@pytest.fixture
def user(tx: Transaction) -> Caller:
    user = new_user(tx)
    user.holds_key("groq")
    return user


# Setting ------------------------------------------------------------------------------------------


def test_a_quota_is_set_listed_changed_and_removed(user: Caller) -> None:
    created = sets(user, 20, "cost", "month", provider="openai", key_source="user")
    expected = {
        "set_by": "user",
        "user_id": user.id,
        "group": None,
        "shared": False,
        "key_source": "user",
        "provider": "openai",
        "task": None,
        "unit": "cost",
        "period": "month",
        "clock": "user",
        "limit": 20,
        "enforced": True,
        "unpriced": "refuse",
        "used": 0,
        "reserved": 0,
    }
    assert {name: created[name] for name in expected} == expected
    assert user.rpc("list_llm_quotas") == [created]
    changed = sets(
        user, 30, "cost", "month", provider="openai", key_source="user", enforced=False, unpriced="allow"
    )
    assert (changed["id"], changed["limit"], changed["enforced"], changed["unpriced"]) == (
        created["id"],
        30,
        False,
        "allow",
    )
    assert user.rpc("list_llm_quotas") == [changed]
    user.rpc("remove_llm_quota", p_id=created["id"])
    assert user.rpc("list_llm_quotas") == []


def test_quotas_with_different_scopes_units_or_periods_coexist(user: Caller) -> None:
    kinds: tuple[dict[str, Any], ...] = ({}, {"provider": "groq"}, {"task": "speed"}, {"key_source": "user"})
    for fields in kinds:
        sets(user, 5, **fields)
    sets(user, 5, "tokens")
    sets(user, 5, period="month")
    assert len({quota["id"] for quota in user.rpc("list_llm_quotas")}) == 6


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("limit", {"limit": -1}),
        ("limit", {"limit": None}),
        ("limit", {"limit": "20"}),
        ("limit", {"limit": 10**16}),
        ("limit", {"limit": True}),
        ("limit", {"limit": [1]}),
        ("unit", {"unit": None}),
        ("unit", {"unit": "euros"}),
        ("unit", {"unit": 1}),
        ("period", {"period": None}),
        ("period", {"period": "hour"}),
        ("key_source", {"key_source": "mine"}),
        ("provider", {"provider": "missing"}),
        ("provider", {"provider": {}}),
        ("task", {"task": ""}),
        ("task", {"task": "x" * 65}),
        ("task", {"task": "a\nb"}),
        ("clock", {"clock": "moon"}),
        ("enforced", {"enforced": "yes"}),
        ("enforced", {"enforced": 1}),
        ("unpriced", {"unpriced": "maybe"}),
        ("A field of the quota", {"colour": "red"}),
        ("A field of the quota", {"id": 1}),
        ("A field of the quota", {"set_by": "operator"}),
    ],
)
def test_the_error_names_the_invalid_field(user: Caller, name: str, changes: dict[str, Any]) -> None:
    quota = {"limit": 20, "unit": "cost", "period": "month", **changes}
    with refused("invalid_quota", 400) as error:
        user.rpc("set_llm_quota", p_quota=quota)
    assert error.value.message.startswith(f"{name} ")
    assert "Allowed: " in error.value.hint
    assert user.rpc("list_llm_quotas") == []


@pytest.mark.parametrize("quota", ["[]", "1", '"text"', "null", "{}"])
def test_a_malformed_quota_is_refused(http: Http, quota: str) -> None:
    answer = http.send(new_user(http), "POST", "rpc/set_llm_quota", content=f'{{"p_quota": {quota}}}')
    assert (answer.status_code, answer.json()["details"]) == (400, "invalid_quota")


@pytest.mark.parametrize("field", ["user_id", "group", "shared"])
def test_a_user_cannot_set_quotas_for_others(tx: Transaction, user: Caller, field: str) -> None:
    other = new_user(tx)
    aimed: dict[str, Any] = {"user_id": other.id, "group": "all", "shared": True}
    with refused("invalid_quota", 400):
        sets(user, 0, **{field: aimed[field]})
    assert other.rpc("list_llm_quotas") == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("user_id", {"user_id": "00000000-0000-0000-0000-000000000000"}),
        ("user_id", {"user_id": "x"}),
        ("group", {"group": ""}),
        ("group", {"group": "x" * 65}),
        ("shared", {"shared": "yes"}),
        ("shared", {"shared": True, "clock": "user"}),
    ],
)
def test_the_error_names_the_invalid_field_of_an_operators_quota(
    tx: Transaction, name: str, fields: dict[str, Any]
) -> None:
    with refused("invalid_quota", 400) as error:
        sets(tx.admin, 1, **fields)
    assert error.value.message.startswith(name)


def test_a_quota_for_one_user_cannot_be_for_a_group_or_shared(tx: Transaction, user: Caller) -> None:
    kinds: tuple[dict[str, Any], ...] = ({"group": "x"}, {"shared": True})
    for fields in kinds:
        with refused("invalid_quota", 400):
            sets(tx.admin, 1, user_id=user.id, **fields)


def test_a_user_with_fifty_quotas_can_change_them_but_not_add_another(user: Caller) -> None:
    for number in range(50):
        sets(user, 1, task=f"t{number}")
    with refused("invalid_quota", 400) as error:
        sets(user, 1, task="one more")
    assert error.value.message.startswith("The number of quotas ")
    assert sets(user, 2, task="t7")["limit"] == 2
    assert len(user.rpc("list_llm_quotas")) == 50


def test_concurrent_calls_cannot_set_more_than_fifty_quotas(http: Http) -> None:
    user = new_user(http)

    def attempt(number: int) -> str:
        try:
            sets(user, 1, task=f"t{number}")
        except Refused as error:
            return error.code
        return "set"

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(attempt, range(60))) == {"set": 50, "invalid_quota": 10}


def test_setting_and_removing_a_quota_are_audited(user: Caller) -> None:
    quota = sets(user, 5, provider="groq")
    user.rpc("remove_llm_quota", p_id=quota["id"])
    removed, added = user.rpc("get_llm_audit_log")[:2]
    assert (added["action"], added["provider"], added["detail"]["limit"]) == ("quota_set", "groq", 5)
    assert (removed["action"], removed["detail"]["id"]) == ("quota_removed", quota["id"])


def test_a_user_cannot_see_or_remove_another_users_quota(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    quota = sets(user, 5)
    assert other.rpc("list_llm_quotas") == []
    assert other.rpc("list_llm_quotas", p_user_id=user.id) == []
    with refused("not_found", 404):
        other.rpc("remove_llm_quota", p_id=quota["id"])
    with refused("not_found", 404):
        tx.admin.rpc("remove_llm_quota", p_id=quota["id"])
    operators = sets(tx.admin, 5, user_id=user.id, unit="tokens")
    with refused("not_found", 404):
        user.rpc("remove_llm_quota", p_id=operators["id"])
    assert {line["id"] for line in user.rpc("list_llm_quotas")} == {quota["id"], operators["id"]}
    assert [line["id"] for line in tx.admin.rpc("list_llm_quotas", p_user_id=user.id)] == [
        quota["id"],
        operators["id"],
    ]


def test_deleting_a_user_deletes_their_quotas(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 5)
    resolves(user)
    tx.sql("delete from auth.users where id = %s", user.id)
    assert tx.value("select count(*) from llm_private.quotas where id = %s", quota["id"]) == 0
    assert tx.value("select count(*) from llm_private.quota_counters where quota_id = %s", quota["id"]) == 0


# Scopes -------------------------------------------------------------------------------------------


def test_the_most_specific_of_the_operators_quotas_applies(tx: Transaction, user: Caller) -> None:
    def limits() -> list[int]:
        return [quota["limit"] for quota in user.rpc("list_llm_quotas")]

    sets(tx.admin, 100)
    assert limits() == [100]
    sets(tx.admin, 50, group="trial")
    assert limits() == [100]
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="trial")
    assert limits() == [50]
    assert [quota["limit"] for quota in new_user(tx).rpc("list_llm_quotas")] == [100]
    close = sets(tx.admin, 200, user_id=user.id)
    assert limits() == [200]
    sets(tx.admin, 7, provider="groq")
    assert limits() == [200, 7]
    tx.admin.rpc("remove_llm_quota", p_id=close["id"])
    assert limits() == [50, 7]
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group=None)
    assert limits() == [100, 7]


def test_a_users_own_quota_applies_in_addition_to_the_operators(tx: Transaction, user: Caller) -> None:
    sets(tx.admin, 1, user_id=user.id)
    sets(user, 5)
    request, _ = resolves(user)
    user.records(request_id=request)
    with refused("quota_exceeded", 429) as error:
        resolves(user)
    assert "operator's quota of 1 request a day" in error.value.message
    with refused("invalid_argument"):
        user.rpc("resolve_llm_route", p_task="speed")


def test_several_shared_quotas_apply_together(tx: Transaction, user: Caller, runtime: str) -> None:
    through = user.through(runtime)
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="trial")
    clear_usage(tx)
    all_, trial = sets(tx.admin, 100, shared=True), sets(tx.admin, 50, shared=True, group="trial")
    request, _ = resolves(through)
    through.records(request_id=request)
    for quota in (all_, trial):
        assert counter(tx.connection, quota["id"], "00000000-0000-0000-0000-000000000000") == (1, 0)


def test_only_the_operator_sees_the_usage_of_a_shared_quota(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    other = new_user(tx).through(runtime)
    other.holds_key("groq")
    clear_usage(tx)
    quota = sets(tx.admin, 1, shared=True)
    assert (quota["used"], quota["reserved"]) == (0, 0)
    through = user.through(runtime)
    request, _ = resolves(through)
    through.records(request_id=request)
    (line,) = user.rpc("list_llm_quotas")
    assert (line["limit"], line.get("used"), line.get("reserved")) == (1, None, None)
    with refused("quota_exceeded", 429) as error:
        resolves(other)
    assert "used" not in error.value.message
    (skipped,) = [
        line
        for line in other.rpc("explain_llm_route", p_task="speed")["skipped"]
        if line["provider"] == "groq"
    ]
    assert (skipped["quota"]["used"], skipped["quota"]["reserved"]) == (None, None)
    shown = figures(tx.admin, quota["id"])
    assert (shown["used"], shown["reserved"]) == (1, 0)


def test_usage_recorded_without_a_runtime_does_not_use_up_a_shared_quota(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    clear_usage(tx)
    quota = sets(tx.admin, 1, shared=True)
    for _ in range(3):
        request, _ = resolves(user)
        user.records(request_id=request)
    assert figures(tx.admin, quota["id"])["used"] == 0
    through = user.through(runtime)
    request, _ = resolves(through)
    through.records(request_id=request)
    assert figures(tx.admin, quota["id"])["used"] == 1


def test_a_groups_quota_does_not_meter_other_users(tx: Transaction, user: Caller) -> None:
    sets(tx.admin, 0, group="trial")
    (candidate,) = user.rpc("resolve_llm_route", p_task="speed")["candidates"]
    assert candidate["metered"] is False


# Counting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, 4),
        ({"provider": "groq"}, 3),
        ({"task": "speed"}, 2),
        ({"key_source": "operator"}, 1),
        ({"provider": "openai", "key_source": "operator"}, 0),
        ({"provider": "groq", "task": "code"}, 1),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_quota_counts_only_matching_usage(
    user: Caller, runtime: str, fields: dict[str, Any], counted: int, before: bool
) -> None:
    def use() -> None:
        user.records(task="speed")
        user.records(task="code")
        user.records(provider="openai", model="gpt", task="speed")
        user.through(runtime).records(key_source="operator")
        user.records(outcome="failed", error_class="timeout")

    if before:
        use()
    quota = sets(user, 100, **fields)
    if not before:
        use()
    assert figures(user, quota["id"])["used"] == counted


@pytest.mark.parametrize("before", [True, False])
def test_a_quota_counts_in_its_unit(tx: Transaction, user: Caller, before: bool) -> None:
    prices(tx, "groq")

    def use() -> None:
        user.records(input_tokens=700, output_tokens=300)
        user.records(input_tokens=1000, outcome="cancelled")
        user.records(input_tokens=500, outcome="failed", error_class="timeout")
        user.records(outcome="failed", error_class="timeout")

    if before:
        use()
    quotas = {unit: sets(user, 1000, unit)["id"] for unit in ("requests", "tokens", "cost")}
    if not before:
        use()
    assert {unit: figures(user, id_)["used"] for unit, id_ in quotas.items()} == {
        "requests": 2,
        "tokens": 2500,
        "cost": 0.0025,
    }


def test_an_alert_only_quota_refuses_nothing(user: Caller) -> None:
    quota = sets(user, 1, enforced=False)
    for _ in range(3):
        request, route = resolves(user)
        assert route["candidates"][0]["metered"]
        user.records(request_id=request)
    assert figures(user, quota["id"])["used"] == 3


def test_a_quota_of_zero_refuses_everything(user: Caller) -> None:
    sets(user, 0)
    with refused("quota_exceeded", 429):
        resolves(user)


def test_an_enforced_cost_quota_refuses_unpriced_models_unless_it_allows_them(user: Caller) -> None:
    quota = sets(user, 5, "cost")
    with refused("model_unpriced", 422) as error:
        resolves(user, model="groq/unpriced")
    assert "price" in error.value.message
    sets(user, 5, "cost", unpriced="allow")
    request, _ = resolves(user, model="groq/unpriced")
    user.records(request_id=request, model="unpriced", output_tokens=5)
    assert figures(user, quota["id"])["used"] == 0
    sets(user, 5, "cost", unpriced="refuse", enforced=False)
    resolves(user, model="groq/unpriced")


def test_a_requested_model_without_a_price_is_not_replaced_by_another_model(
    tx: Transaction, user: Caller
) -> None:
    user.holds_key("mistral")
    prices(tx, "mistral")
    sets(user, 5, "cost")
    with refused("model_unpriced", 422) as error:
        resolves(user, model="groq/unpriced")
    assert error.value.message.startswith("The requested model groq/unpriced has no price.")
    assert "Set a price" in error.value.hint
    explained = user.rpc("explain_llm_route", p_task="speed", p_model="groq/unpriced")
    assert explained["candidates"] == []
    reasons = {it["provider"]: it["reason"] for it in explained["skipped"] if it["reason"] != "no_key"}
    assert reasons == {"groq": "model_unpriced", "mistral": "requested_model_unpriced"}
    _, route = resolves(user, model="mistral/priced")
    assert route["candidates"][0]["model"] == "priced"
    # Without a requested model, an unpriced one is skipped as before.
    user.rpc("set_llm_settings", p_changes={"default_provider": "groq"})
    _, route = resolves(user)
    assert [it["provider"] for it in route["candidates"]] == ["mistral"]


def test_a_requested_model_without_a_price_may_come_from_another_provider(
    tx: Transaction, user: Caller
) -> None:
    pattern = {"base_url": "https://twin.test", "default_model": "llama-x", "model_pattern": "^llama"}
    tx.admin.rpc("set_llm_provider", p_provider={"id": "twin", **pattern})
    tx.admin.rpc("set_llm_price", p_provider="twin", p_model="llama-x", p_rates={"input": 1, "output": 1})
    user.holds_key("mistral")
    prices(tx, "mistral")
    user.rpc("set_llm_key", provider="twin", key="twin-key-0123456789")
    sets(user, 5, "cost")
    _, route = resolves(user, model="llama-x")
    assert route["candidates"][0]["provider"] == "twin"


def test_a_requested_model_that_is_skipped_for_another_reason_gives_way(
    tx: Transaction, user: Caller
) -> None:
    prices(tx, "groq")
    sets(user, 5, "cost")
    _, route = resolves(user, model="openai/gpt-unpriced")
    assert [it["provider"] for it in route["candidates"]] == ["groq"]


def test_a_free_model_passes_a_cost_quota_of_zero(tx: Transaction, user: Caller) -> None:
    sets(user, 0, "cost")
    tx.admin.rpc("set_llm_price", p_provider="groq", p_model="free", p_rates={"input": 0, "output": 0})
    prices(tx, "groq")
    resolves(user, model="groq/free")
    with refused("quota_exceeded", 429):
        resolves(user, model="groq/expensive")


def test_an_estimate_of_zero_tokens_does_not_pass_a_used_up_quota(user: Caller) -> None:
    sets(user, 10, "tokens")
    user.records(output_tokens=10)
    with refused("quota_exceeded", 429):
        resolves(user, input_tokens=0, output_tokens=0)


def test_operator_keys_require_a_runtime(tx: Transaction, user: Caller, runtime: str) -> None:
    tx.sql("update llm_private.operator_settings set operator_keys_by_default = true")
    user.rpc("remove_llm_key", p_provider="groq")
    sets(user, 5)
    with refused("no_usable_key", 422) as error:
        resolves(user, operator_providers=["groq"])
    assert "Only a registered runtime can use the operator's key for Groq." in error.value.hint
    assert "set SUPA_LLM_RUNTIME_SECRET" in error.value.hint
    with refused("runtime_required", 403):
        reserves(user, request_id(), key_source="operator")
    through = user.through(runtime)
    request, route = resolves(through, operator_providers=["groq"])
    assert route["candidates"][0]["key_source"] == "operator"
    reserves(through, request, key_source="operator")


# Own prices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("period", ["day", "minute", "lifetime"])
def test_an_operators_quota_counts_at_the_price_of_the_operator(
    tx: Transaction, user: Caller, runtime: str, before: bool, period: str
) -> None:
    prices(tx, "groq")
    user.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 0, "output": 0})
    through = user.through(runtime)

    def use() -> None:
        through.records(input_tokens=1000, output_tokens=500)

    if before:
        use()
    theirs = sets(tx.admin, 0.002, "cost", period, user_id=user.id)
    own = sets(user, 0.002, "cost", period)
    if not before:
        use()
    assert figures(user, theirs["id"])["used"] == 0.0015
    assert figures(user, own["id"])["used"] == 0
    (line,) = through.rpc("get_llm_usage")
    assert (line["cost"], line["list_cost"]) == (0, 0.0015)
    with refused("quota_exceeded", 429):
        reserves(through, request_id(), output_tokens=501)
    reserves(through, request_id(), output_tokens=500)
    assert figures(user, theirs["id"])["reserved"] == 0.0005
    assert figures(user, own["id"])["reserved"] == 0


def test_an_own_price_does_not_price_a_model_for_the_operators_quota(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    user.rpc("set_llm_price", p_provider="groq", p_model="*", p_rates={"input": 5, "output": 5})
    through = user.through(runtime)
    quota = sets(tx.admin, 1, "cost", user_id=user.id)
    with refused("model_unpriced", 422):
        reserves(through, request_id())
    through.records(input_tokens=1000)
    assert figures(user, quota["id"])["used"] == 0
    (line,) = user.rpc("get_llm_usage")
    assert (line["cost"], line["list_cost"]) == (0.005, None)


# Earlier usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "zone", "seconds"),
    [
        ("lifetime", "UTC", 6 * DAY),
        ("day", "Asia/Kolkata", 0),
        ("day", "Asia/Kathmandu", 0),
        ("month", "America/St_Johns", 0),
        ("minute", "UTC", 0),
    ],
)
def test_usage_before_the_quota_was_set_counts(user: Caller, period: str, zone: str, seconds: int) -> None:
    user.rpc("set_llm_settings", p_changes={"time_zone": zone})
    user.records(request_id=request_id(time.time() - seconds), output_tokens=40)
    user.records(output_tokens=2)
    assert sets(user, 100, "tokens", period)["used"] == 42


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"])
def test_only_usage_of_the_current_day_counts_in_a_new_daily_quota(
    tx: Transaction, user: Caller, zone: str
) -> None:
    """Exact to the millisecond, even where days begin within a UTC hour, although totals are hourly."""
    user.rpc("set_llm_settings", p_changes={"time_zone": zone})
    midnight = tx.value("select date_trunc('day', now(), %s)", zone).timestamp()
    user.records(request_id=request_id(midnight - 0.001), output_tokens=1)
    user.records(request_id=request_id(midnight), output_tokens=10)
    user.records(request_id=request_id(midnight - 300), output_tokens=100)
    user.records(request_id=request_id(min(midnight + 300, time.time())), output_tokens=1000)
    quota = sets(user, 10_000, "tokens")
    assert quota["used"] == 1010
    assert datetime.fromisoformat(quota["starts_at"]).timestamp() == midnight


def test_a_quota_counts_usage_during_a_more_specific_one_after_its_removal(
    tx: Transaction, user: Caller
) -> None:
    every = sets(tx.admin, 100)
    user.records()
    assert figures(user, every["id"])["used"] == 1
    close = sets(tx.admin, 100, user_id=user.id)
    user.records()
    request, _ = resolves(user)
    tx.admin.rpc("remove_llm_quota", p_id=close["id"])
    assert figures(user, every["id"])["used"] == 2
    user.records(request_id=request)
    assert figures(user, every["id"])["used"] == 3
    assert_exact(tx.connection)


def test_a_user_who_joins_a_group_brings_their_earlier_usage(tx: Transaction, user: Caller) -> None:
    quota = sets(tx.admin, 100, group="trial")
    user.records()
    for used in (1, 2):
        tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="trial")
        assert figures(user, quota["id"])["used"] == used
        tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group=None)
        user.records()


def test_a_new_shared_quota_counts_earlier_usage_recorded_by_runtimes(
    tx: Transaction, user: Caller, runtime: str
) -> None:
    other = new_user(tx)
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="trial")
    before = sets(tx.admin, 100, "tokens", "lifetime", shared=True, task="only-here")["used"]
    assert before == 0
    for member in (user, other):
        member.through(runtime).records(output_tokens=10, task="here")
        member.records(output_tokens=100, task="here")
    assert sets(tx.admin, 100, "tokens", shared=True, task="here")["used"] == 20
    assert sets(tx.admin, 100, "tokens", shared=True, task="here", group="trial")["used"] == 10


# Periods ------------------------------------------------------------------------------------------


def test_a_quota_resets_with_its_period(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 1, period="minute")
    request, _ = resolves(user)
    user.records(request_id=request)
    with refused("quota_exceeded"):
        resolves(user)
    alerting = sets(user, 1, "tokens", period="minute", enforced=False)
    tx.sql(
        "update llm_private.quota_counters set starts_at = starts_at - interval '1 minute',"
        " ends_at = ends_at - interval '1 minute' where owner = %s",
        user.id,
    )
    late, _ = resolves(user)
    assert (figures(user, quota["id"])["used"], figures(user, quota["id"])["reserved"]) == (0, 1)
    user.records(request_id=late, output_tokens=3)
    assert figures(user, alerting["id"])["used"] == 3
    assert tx.value("select count(*) from llm_private.quota_counters where owner = %s", user.id) == 2
    assert_exact(tx.connection)


def test_an_attempt_from_an_earlier_period_does_not_count_in_the_current_one(
    tx: Transaction, user: Caller
) -> None:
    quota = sets(user, 5)
    held, _ = resolves(user)
    tx.sql(
        "update llm_private.quota_counters set starts_at = starts_at - interval '1 day',"
        " ends_at = ends_at - interval '1 day' where owner = %s",
        user.id,
    )
    tx.sql(
        "update llm_private.reservations set starts_at = starts_at - interval '1 day' where owner = %s",
        user.id,
    )
    user.records(request_id=held)
    user.records(request_id=request_id(time.time() - 2 * DAY))
    line = figures(user, quota["id"])
    assert (line["used"], line["reserved"]) == (0, 0)
    assert_exact(tx.connection)


def test_days_begin_in_the_users_time_zone_by_default(user: Caller) -> None:
    user.rpc("set_llm_settings", p_changes={"time_zone": "Asia/Tokyo"})
    local, utc = sets(user, 5), sets(user, 5, "tokens", clock="utc")
    assert datetime.fromisoformat(local["resets_at"]).astimezone(UTC).hour == 15
    assert datetime.fromisoformat(utc["resets_at"]).astimezone(UTC).hour == 0


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("period", ["day", "month"])
def test_a_time_zone_change_does_not_end_a_period_early_or_shorten_the_next(
    tx: Transaction, user: Caller, zone: str, period: str
) -> None:
    quota = sets(tx.admin, 1, period=period, user_id=user.id, clock="user")
    request, _ = resolves(user)
    user.records(request_id=request)
    before = figures(user, quota["id"])
    user.rpc("set_llm_settings", p_changes={"time_zone": zone})
    assert figures(user, quota["id"]) == before
    with refused("quota_exceeded"):
        resolves(user)
    # Once the period is over, the next one begins at its end and is at least as long.
    tx.sql("update llm_private.quota_counters set ends_at = now() where owner = %s", user.id)
    after = figures(user, quota["id"])
    assert after["used"] == 0
    began, ends = (datetime.fromisoformat(after[name]) for name in ("starts_at", "resets_at"))
    assert began == tx.value("select now()")
    shortest = timedelta(days=1) if period == "day" else timedelta(days=28)
    assert shortest - timedelta(hours=1) <= ends - began <= 2 * shortest + timedelta(days=7)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "UTC+1", "x" * 65, "utc; drop table", 1, "EST5EDT4", "+05:30"]
)
def test_an_invalid_time_zone_is_refused(user: Caller, zone: Any) -> None:
    with refused("invalid_setting", 400) as error:
        user.rpc("set_llm_settings", p_changes={"time_zone": zone})
    assert "time_zone" in error.value.message


# Alerts ------------------------------------------------------------------------------------------


def quota_alerts(caller: Caller) -> list[tuple[str, float]]:
    alerts = caller.rpc("list_llm_alerts", p_unread_only=False)
    return sorted(
        (alert["kind"], alert["detail"]["used"])
        for alert in alerts
        if alert["kind"] in ("quota_warning", "quota_reached")
    )


def test_a_user_is_alerted_once_at_80_and_once_at_100_percent(user: Caller) -> None:
    sets(user, 10, enforced=False)
    for _ in range(7):
        user.records()
    assert quota_alerts(user) == []
    user.records()
    assert quota_alerts(user) == [("quota_warning", 8)]
    for _ in range(5):
        user.records()
    assert quota_alerts(user) == [("quota_reached", 10), ("quota_warning", 8)]


def test_an_alert_is_not_repeated_in_sessions_with_other_time_zones(tx: Transaction, user: Caller) -> None:
    sets(user, 1, enforced=False)
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        tx.sql("select set_config('timezone', %s, true)", zone)
        user.records()
    assert len(quota_alerts(user)) == 2


def test_a_user_is_alerted_again_in_the_next_period(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 1)
    user.records()
    tx.sql("update llm_private.quota_counters set ends_at = now() where owner = %s", user.id)
    request, _ = resolves(user)
    user.records(request_id=request)
    assert figures(user, quota["id"])["used"] == 1
    assert quota_alerts(user) == [("quota_reached", 1)] * 2 + [("quota_warning", 1)] * 2


def test_a_limit_lowered_below_the_usage_raises_an_alert_at_the_next_use(user: Caller) -> None:
    sets(user, 100, enforced=False)
    for _ in range(5):
        user.records()
    sets(user, 5, enforced=False)
    user.records()
    assert quota_alerts(user) == [("quota_reached", 6), ("quota_warning", 6)]


def test_alerts_of_a_shared_quota_go_to_the_operator(tx: Transaction, user: Caller, runtime: str) -> None:
    clear_usage(tx)
    quota = sets(tx.admin, 1, shared=True)
    user.through(runtime).records()
    assert quota_alerts(user) == []
    alerts = tx.admin.rpc("list_llm_alerts")
    assert {alert["kind"] for alert in alerts if alert["detail"].get("id") == quota["id"]} == {
        "quota_warning",
        "quota_reached",
    }


def test_a_user_can_list_and_dismiss_only_their_own_alerts(tx: Transaction, user: Caller) -> None:
    other = new_user(tx)
    sets(user, 1)
    user.records()
    # The model has no price, which raises an alert too.
    unread = user.rpc("list_llm_alerts")
    assert {"quota_warning", "quota_reached"} <= {alert["kind"] for alert in unread}
    assert other.rpc("list_llm_alerts") == []
    assert other.rpc("dismiss_llm_alerts", p_ids=[alert["id"] for alert in unread]) == 0
    assert user.rpc("dismiss_llm_alerts", p_ids=[unread[0]["id"]]) == 1
    assert user.rpc("list_llm_alerts") == unread[1:]
    assert user.rpc("dismiss_llm_alerts") == len(unread) - 1
    assert user.rpc("list_llm_alerts") == []
    assert len(user.rpc("list_llm_alerts", p_unread_only=False)) == len(unread)
    assert user.rpc("dismiss_llm_alerts") == 0


def test_removing_a_quota_frees_its_reservations(tx: Transaction, user: Caller) -> None:
    quota = sets(user, 5)
    request, _ = resolves(user)
    reserves(user, request, attempt=2)
    user.rpc("remove_llm_quota", p_id=quota["id"])
    assert tx.value("select count(*) from llm_private.reservations where user_id = %s", user.id) == 0
    user.records(request_id=request)
