"""The audit log: what administrators change, limits of users' changes, and retention."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from psycopg.types.json import Jsonb

from tests.database.metering import sets
from tests.database.support import Caller, Http, Refused, Transaction, new_user, owner, refused, request_id
from tests.database.surface import ADMIN, RPCS
from tests.support import Stack

OPERATOR = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def user(tx: Transaction) -> Caller:
    user = new_user(tx)
    user.rpc("get_llm_settings")
    return user


def operator_log(tx: Transaction) -> list[dict[str, Any]]:
    log = tx.admin.rpc("get_llm_audit_log", p_limit=500)
    assert isinstance(log, list)
    return log


# The operator's log -------------------------------------------------------------------------------


def entry(position: int = 0, **changes: Any) -> Jsonb:
    price = {"rates": {"input": 1}}
    return Jsonb([{"name": "m", "pattern": "^m$", "position": position, "prices": [price], **changes}])


@dataclass(frozen=True)
class Change:
    """A call that changes something, what it logs, and the result of the same call again."""

    function: str
    arguments: Callable[[Transaction, Caller], Mapping[str, Any]]
    action: str
    detail: Mapping[str, Any]
    again: Literal["nothing", "not_found", "unknown_provider", "change"] = "nothing"


QUOTA = {"limit": 9, "unit": "cost", "period": "day", "key_source": "operator"}
SCOPE = {"p_provider": "groq", "p_model": "m"}


def quota_of(tx: Transaction, **fields: Any) -> int:
    return int(tx.admin.rpc("set_llm_quota", p_quota={**QUOTA, **fields})["id"])


def runtime_of(tx: Transaction) -> str:
    return str(tx.admin.rpc("register_llm_runtime", p_name="an app of this test")["id"])


def new_provider(tx: Transaction) -> str:
    new = {"id": "new", "base_url": "https://new.test", "default_model": "m"}
    return str(tx.admin.rpc("set_llm_provider", p_provider=new)["id"])


def raised(tx: Transaction, _: Caller) -> Mapping[str, Any]:
    quota_of(tx, limit=1)
    return {"p_quota": QUOTA}


def ending(tx: Transaction, _: Caller) -> Mapping[str, Any]:
    return {"p_id": tx.admin.rpc("set_llm_price", **SCOPE, p_rates={"input": 2})["id"]}


def repriced(tx: Transaction, _: Caller) -> Mapping[str, Any]:
    tx.admin.rpc("set_llm_price", **SCOPE, p_rates={"input": 2})
    return {**SCOPE, "p_rates": {"input": 3}}


def expiring(tx: Transaction, user: Caller) -> Mapping[str, Any]:
    old_entry(tx, user, months_ago(5))
    tx.admin.rpc("set_llm_operator_settings", p_changes={"audit_kept_months": 2})
    return {}


def losing(tx: Transaction, _: Caller) -> Mapping[str, Any]:
    tx.sql("delete from vault.secrets where id in (select vault_secret_id from llm_private.master_keys)")
    return {}


CHANGES = [
    Change(
        "set_llm_operator_settings",
        lambda *_: {"p_changes": {"lease_seconds": 60, "keys_readable_by": "owner"}},
        "operator_settings_changed",
        {"old": {"lease_seconds": 300}, "new": {"lease_seconds": 60}},
    ),
    Change(
        "set_llm_configuration",
        lambda *_: {"p_configuration": {"format": 1, "settings": {"lease_seconds": 61}}, "p_apply": True},
        "operator_settings_changed",
        {"old": {"lease_seconds": 300}, "new": {"lease_seconds": 61}},
    ),
    Change(
        "set_llm_provider",
        lambda *_: {"p_provider": {"id": "groq", "base_url": "https://evil.test"}},
        "provider_set",
        {"old": {"base_url": "https://api.groq.com/openai/v1"}, "new": {"base_url": "https://evil.test"}},
    ),
    Change(
        "set_llm_price",
        repriced,
        "price_set",
        {"old": None, "rates_before": {"input": 2}},
        again="change",
    ),
    Change("end_llm_price", ending, "price_ended", {"model": "m", "old": {"valid_until": "infinity"}}),
    Change(
        "sync_llm_prices",
        lambda *_: {"p_provider": "mistral", "p_entries": entry(), "p_apply": True},
        "prices_synced",
        {"entries_changed": 1, "entries_gone": 0, "price_changes": {"added": 1}},
    ),
    Change("set_llm_quota", raised, "quota_set", {"old": {"limit": 1}, "new": {"limit": 9}}),
    Change(
        "remove_llm_quota",
        lambda tx, _: {"p_id": quota_of(tx, shared=True)},
        "quota_removed",
        {"new": None},
        again="not_found",
    ),
    Change(
        "set_llm_user_group",
        lambda _, user: {"p_user_id": user.id, "p_group": "trial"},
        "user_group_set",
        {"old": {"group": None}, "new": {"group": "trial"}},
    ),
    Change(
        "set_llm_user_suspended",
        lambda _, user: {"p_user_id": user.id, "p_suspended": True, "p_reason": "unpaid"},
        "user_suspended",
        {"reason": "unpaid"},
    ),
    Change(
        "remove_llm_user_data",
        lambda _, user: {"p_user_id": user.id},
        "user_data_removed",
        {"removed": {"settings": 1}},
        again="change",
    ),
    Change(
        "register_llm_runtime",
        lambda *_: {"p_name": "an app of this test"},
        "runtime_registered",
        {"old": None, "new": {"name": "an app of this test"}},
        again="change",
    ),
    Change(
        "revoke_llm_runtime",
        lambda tx, _: {"p_id": runtime_of(tx)},
        "runtime_revoked",
        {"old": {"name": "an app of this test"}, "new": None},
    ),
    Change(
        "rotate_llm_runtime",
        lambda tx, _: {"p_id": runtime_of(tx), "p_overlap_seconds": 0},
        "runtime_rotated",
        {"name": "an app of this test"},
        again="change",
    ),
    Change(
        "remove_llm_provider",
        lambda tx, _: {"p_provider": new_provider(tx)},
        "provider_removed",
        {"old": {"default_model": "m"}, "new": None},
        again="unknown_provider",
    ),
    Change(
        "recalculate_llm_costs",
        lambda *_: {"p_batch": 10_000},
        "recalculation_finished",
        {},
        again="change",
    ),
    Change("replace_llm_master_key", losing, "master_key_replaced", {}, again="change"),
    Change("rotate_llm_vault", lambda *_: {"p_batch": 10_000}, "vault_rotated", {}, again="change"),
    Change("rotate_llm_ticket_key", lambda *_: {}, "ticket_key_rotated", {}, again="change"),
    Change("run_llm_maintenance", expiring, "months_dropped", {"events": []}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.function)
def test_an_administrators_change_is_on_the_operators_log(
    tx: Transaction, user: Caller, change: Change
) -> None:
    tx.sql("delete from public.llm_audit_log where user_id = %s", OPERATOR)
    arguments = change.arguments(tx, user)
    before = len(operator_log(tx))
    answer = tx.admin.rpc(change.function, **arguments)
    log = operator_log(tx)
    logged = log[0]
    # A recalculation and a rotation also log their start.
    assert len(log) == before + (2 if change.function in ("recalculate_llm_costs", "rotate_llm_vault") else 1)
    assert (logged["action"], logged["actor"]) == (change.action, "administrator")
    assert logged["detail"]["by"] == {"role": "service_role"}
    for name, expected in change.detail.items():
        found = logged["detail"][name]
        if isinstance(expected, dict) and isinstance(found, dict):
            found = {field: found.get(field) for field in expected}
        assert found == expected, name
    if isinstance(answer, dict) and "secret" in answer:
        assert answer["secret"] not in json.dumps(log, default=str)
    if change.again in ("not_found", "unknown_provider"):
        with refused(change.again, 404):
            tx.admin.rpc(change.function, **arguments)
    elif change.again == "nothing":
        tx.admin.rpc(change.function, **arguments)
    if change.again != "change":
        assert len(operator_log(tx)) == len(log)


def test_every_rpc_that_only_administrators_call_is_checked(tx: Transaction) -> None:
    volatile = {
        row["proname"]
        for row in tx.sql(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v'"
        )
    }
    changing = {name for name, rpc in RPCS.items() if rpc.roles == ADMIN and name in volatile}
    assert changing - {change.function for change in CHANGES} == set()


def test_a_preview_of_a_price_sync_logs_nothing(tx: Transaction) -> None:
    before = operator_log(tx)
    assert tx.admin.rpc("sync_llm_prices", p_provider="mistral", p_entries=entry())
    assert operator_log(tx) == before


def test_a_sync_that_only_reorders_entries_is_logged(tx: Transaction) -> None:
    for position in (0, 1):
        tx.admin.rpc("sync_llm_prices", p_provider="mistral", p_entries=entry(position), p_apply=True)
    assert operator_log(tx)[0]["detail"]["price_changes"] == {}
    tx.admin.rpc("sync_llm_prices", p_provider="mistral", p_entries=Jsonb([]), p_apply=True)
    assert operator_log(tx)[0]["detail"]["entries_gone"] == 1


def test_a_new_provider_is_logged_in_full(tx: Transaction) -> None:
    new = {"id": "new", "base_url": "https://new.test", "default_model": "m"}
    tx.admin.rpc("set_llm_provider", p_provider=new)
    logged = operator_log(tx)[0]
    assert (logged["provider"], logged["detail"]["old"]) == ("new", None)
    assert logged["detail"]["new"].items() >= new.items()


def test_the_log_names_the_person_of_the_token(tx: Transaction) -> None:
    person = Caller(tx, "service_role", {"role": "service_role", "sub": "7", "email": "ann@example.com"})
    person.rpc("set_llm_operator_settings", p_changes={"lease_seconds": 77})
    by = {"role": "service_role", "sub": "7", "email": "ann@example.com"}
    assert operator_log(tx)[0]["detail"]["by"] == by


def test_the_log_names_the_database_role_without_a_token(tx: Transaction) -> None:
    tx.sql("""select public.set_llm_operator_settings('{"lease_seconds": 78}')""")
    assert operator_log(tx)[0]["detail"]["by"] == {"role": tx.value("select session_user::text")}


def test_a_refused_change_is_not_logged(tx: Transaction) -> None:
    before = operator_log(tx)
    with refused("invalid_setting"):
        tx.admin.rpc("set_llm_operator_settings", p_changes={"lease_seconds": 1})
    assert operator_log(tx) == before


def test_an_administrator_reads_one_users_log_and_pages(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    user.rpc("set_llm_settings", p_changes={"enable_fallbacks": False})
    own = user.rpc("get_llm_audit_log")
    assert tx.admin.rpc("get_llm_audit_log", p_user_id=user.id) == own
    first, *rest = own
    page = tx.admin.rpc("get_llm_audit_log", p_user_id=user.id, p_before=first["id"], p_limit=1)
    assert page == rest[:1]
    assert {str(entry["user_id"]) for entry in operator_log(tx)} <= {OPERATOR}
    assert {str(entry["user_id"]) for entry in own} == {user.id}


def test_the_log_is_filtered(tx: Transaction, user: Caller) -> None:
    ann = tx.admin.with_claims(email="Ann@example.com", sub="ann")
    ann.rpc("set_llm_user_group", p_user_id=user.id, p_group="a")
    tx.admin.rpc("set_llm_user_group", p_user_id=user.id, p_group="b")
    provider = {"id": "filtered", "base_url": "https://f.test", "default_model": "m"}
    tx.admin.rpc("set_llm_provider", p_provider=provider)

    def found(**only: Any) -> list[str]:
        return [entry["action"] for entry in tx.admin.rpc("get_llm_audit_log", p_limit=3, **only)]

    assert found(p_provider="filtered") == ["provider_set"]
    assert found(p_action="user_group_set", p_by="ann@EXAMPLE.com") == ["user_group_set"]
    assert found(p_by="ann") == ["user_group_set"]
    assert found(p_by="service_role")[:2] == ["provider_set", "user_group_set"]
    assert found(p_by="administrator") == found()
    assert found(p_by="nobody") == []
    assert found(p_until="2020-01-01") == found(p_since="infinity") == []
    assert found(p_since="-infinity", p_until="infinity") == found()
    user.holds_key("groq")
    assert [entry["action"] for entry in user.rpc("get_llm_audit_log", p_provider="openai")] == []
    assert [entry["action"] for entry in user.rpc("get_llm_audit_log", p_by="user")] == ["key_set"]


def test_a_user_cannot_read_the_operators_log(http: Http) -> None:
    http.admin.rpc("set_llm_user_group", p_user_id=new_user(http).id, p_group="x")
    user = new_user(http)
    assert user.rpc("get_llm_audit_log", p_user_id=OPERATOR) == []
    response = http.send(user, "GET", f"llm_audit_log?user_id=eq.{OPERATOR}")
    assert response.json() == []


# Limits of changes --------------------------------------------------------------------------------


def limit(tx: Transaction, **settings: Any) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes=settings)


def changes_settings(user: Caller, number: int) -> None:
    tasks = {"speed": {"provider": "groq", "model": f"m{number}"}}
    user.rpc("set_llm_settings", p_changes={"task_overrides": tasks})


REPEATED: Mapping[str, Callable[[Caller, int], Any]] = {
    "settings_changed": changes_settings,
    "key_set": lambda user, number: user.holds_key("openai", number),
    "price_set": lambda user, number: user.rpc(
        "set_llm_price", p_provider="groq", p_model="m", p_rates={"input": number}
    ),
    "quota_set": lambda user, number: sets(user, number + 1),
}


def entries(user: Caller, action: str) -> int:
    return sum(entry["action"] == action for entry in user.rpc("get_llm_audit_log", p_limit=500))


@pytest.mark.parametrize("action", REPEATED)
def test_a_user_repeats_an_action_only_so_often_a_day(tx: Transaction, user: Caller, action: str) -> None:
    limit(tx, changes_per_day=4)
    user.holds_key("groq")
    repeat = REPEATED[action]
    done = entries(user, action)
    for number in range(done, 4):
        repeat(user, number)
    with refused("too_many_changes", 429) as error:
        repeat(user, 9)
    assert "The limit is 4 times a day" in error.value.hint
    assert entries(user, action) == 4
    # Every other action still works, another user too, and this one a day later.
    for other, other_repeat in REPEATED.items():
        if other != action:
            other_repeat(user, 5)
    user.rpc("remove_llm_key", p_provider="groq")
    someone = new_user(tx)
    someone.holds_key("groq")
    repeat(someone, 1)
    tx.sql(
        "update public.llm_audit_log set id = llm_private.first_uuid_v7(now() - interval '25 hours')"
        " where user_id = %s and action = %s and id ="
        " (select min(id::text)::uuid from public.llm_audit_log where user_id = %s and action = %s)",
        user.id,
        action,
        user.id,
        action,
    )
    if action != "key_set":
        user.holds_key("groq")
    repeat(user, 10)


def test_a_refused_change_changes_nothing(tx: Transaction, user: Caller) -> None:
    limit(tx, changes_per_day=1)
    changes_settings(user, 1)
    saved = user.rpc("get_llm_settings")
    with refused("too_many_changes", 429):
        changes_settings(user, 2)
    assert user.rpc("get_llm_settings") == saved
    changes_settings(user, 1)  # changes nothing, so it is not limited
    assert user.rpc("explain_llm_route", p_changes={"enable_fallbacks": False})["candidates"] == []


def test_routes_and_key_checks_work_when_all_changes_are_used_up(tx: Transaction, user: Caller) -> None:
    user.holds_key("groq")
    for action, repeat in REPEATED.items():
        if action != "key_set":
            repeat(user, 7)
    limit(tx, changes_per_day=1)
    for repeat in REPEATED.values():
        with refused("too_many_changes", 429):
            repeat(user, 8)
    assert user.rpc("resolve_llm_route", p_task="speed", p_request_id=request_id())["candidates"]
    assert user.rpc("begin_llm_key_check", provider="groq")["check_id"]
    user.records()


def test_large_changes_use_up_the_limit_sooner(tx: Transaction, user: Caller) -> None:
    def large(number: int) -> dict[str, Any]:
        model = str(number) + "m" * 190
        return {"task_overrides": {f"t{n}": {"provider": "groq", "model": model} for n in range(180)}}

    limit(tx, changes_per_day=100)  # 200 kB
    for number in range(4):
        user.rpc("set_llm_settings", p_changes=large(number))
    with refused("too_many_changes", 429):
        user.rpc("set_llm_settings", p_changes=large(5))
    bytes_ = tx.value(
        "select sum(octet_length(detail::text)) from public.llm_audit_log where user_id = %s", user.id
    )
    assert bytes_ <= 100 * 2048


def test_settings_have_a_limited_size(user: Caller) -> None:
    def some(first: int) -> dict[str, Any]:
        entry = {"provider": "groq", "model": "m" * 200, "fallbacks": [{"provider": "groq"}] * 5}
        return {"task_overrides": {f"t{n}": entry for n in range(first, first + 90)}}

    user.rpc("set_llm_settings", p_changes=some(0))
    with refused("invalid_setting", 400) as error:
        user.rpc("set_llm_settings", p_changes=some(90))
    assert "task_overrides is too large" in error.value.message
    assert "64 kB" in error.value.hint


def test_concurrent_changes_do_not_pass_the_limit(http: Http, stack: Stack) -> None:
    user = new_user(http)
    user.rpc("get_llm_settings")
    http.admin.rpc("set_llm_operator_settings", p_changes={"changes_per_day": 5})

    def sets_a_price(number: int) -> str:
        try:
            user.rpc("set_llm_price", p_provider="groq", p_model="m", p_rates={"input": number})
        except Refused as error:
            return error.code
        return "set"

    try:
        with ThreadPoolExecutor(8) as pool:
            results = Counter(pool.map(sets_a_price, range(16)))
        assert results == {"set": 5, "too_many_changes": 11}
    finally:
        http.admin.rpc("set_llm_operator_settings", p_changes={"changes_per_day": 500})
    with owner(stack) as connection:
        connection.execute("delete from public.llm_prices where user_id = %s", [user.id])


def test_a_user_has_a_limited_number_of_own_prices(tx: Transaction, user: Caller) -> None:
    limit(tx, own_prices_per_user=3)

    def price(number: int) -> int:
        own = user.rpc("set_llm_price", p_provider="groq", p_model=f"m{number}", p_rates={"input": 1})
        return int(own["id"])

    first, *_ = [price(number) for number in range(3)]
    with refused("invalid_price", 400) as error:
        price(4)
    assert "at most 3" in error.value.hint
    assert tx.value("select count(*) from public.llm_prices where user_id = %s", user.id) == 3
    price_of_operator = {"p_provider": "groq", "p_model": "m", "p_rates": {"input": 1}}
    assert tx.admin.rpc("set_llm_price", **price_of_operator), "operators have no limit"
    user.rpc("end_llm_price", p_id=first)
    price(4)


# Retention ----------------------------------------------------------------------------------------


def months_ago(count: int) -> datetime:
    """Return noon on the tenth of an earlier month."""
    at = datetime.now(UTC).replace(day=10, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(count):
        at = (at.replace(day=1) - timedelta(days=1)).replace(day=10)
    return at


def old_entry(tx: Transaction, user: Caller, at: datetime) -> None:
    tx.sql(
        "insert into public.llm_audit_log (user_id, id, at, action, actor)"
        " values (%s, llm_private.first_uuid_v7(%s), %s, 'key_set', 'user')",
        user.id,
        at,
        at,
    )


@pytest.fixture
def old(tx: Transaction, user: Caller) -> Caller:
    """A user with an audit log of five months; that of the oldest month is in the default partition."""
    for count in range(1, 5):
        if count < 4:
            tx.sql(
                "select llm_private.add_month_partition('llm_audit_log', 'id', %s)", months_ago(count).date()
            )
        old_entry(tx, user, months_ago(count))
    user.rpc("set_llm_settings", p_changes={"enable_fallbacks": False})
    return user


def test_the_audit_log_is_kept_indefinitely_by_default(tx: Transaction, old: Caller) -> None:
    assert tx.admin.rpc("run_llm_maintenance")["dropped_audit_months"] == []
    assert len(old.rpc("get_llm_audit_log")) == 5


@pytest.mark.parametrize("months", [2, 3, 4])
def test_old_months_of_the_audit_log_are_dropped(tx: Transaction, old: Caller, months: int) -> None:
    tx.admin.rpc("set_llm_operator_settings", p_changes={"audit_kept_months": months})
    done = tx.admin.rpc("run_llm_maintenance")
    expected = [f"{months_ago(count):%Y-%m}" for count in (4, 3, 2, 1) if count >= months]
    assert (done["dropped_audit_months"], done["dropped_months"]) == (expected, [])
    assert len(old.rpc("get_llm_audit_log")) == months
    assert operator_log(tx)[0]["detail"]["audit"] == expected
    assert tx.admin.rpc("run_llm_maintenance")["dropped_audit_months"] == []


def test_dropping_old_entries_does_not_wait_for_readers(stack: Stack) -> None:
    at = months_ago(6)
    with owner(stack) as connection, owner(stack) as reading:
        connection.execute("select llm_private.add_month_partition('llm_audit_log', 'id', %s)", [at.date()])
        connection.execute("update llm_private.operator_settings set audit_kept_months = 6")
        connection.execute("set statement_timeout = '10s'")
        dropped = "select llm_private.drop_old_audit() as it"
        try:
            with reading.transaction():
                reading.execute("select count(*) from public.llm_audit_log")
                assert connection.execute(dropped).fetchone() == {"it": None}
            assert connection.execute(dropped).fetchone() == {"it": [f"{at:%Y-%m}"]}
        finally:
            connection.execute("update llm_private.operator_settings set audit_kept_months = null")
