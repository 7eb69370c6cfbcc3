"""Problems that an installation reports: each is planted, and nothing else is reported."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
from psycopg.types.json import Json, Jsonb

from tests.database.support import (
    Caller,
    Transaction,
    new_user,
    refused,
    request_id,
    runtime_user,
    usage_event,
)


def problems(tx: Transaction) -> list[tuple[str, str]]:
    """The codes and subjects of the problems that an administrator sees."""
    found = [(row["code"], row["subject"]) for row in tx.admin.rpc("list_llm_problems")]
    # Other tests rotate the master key, so its number varies.
    return [(code, re.sub(r"^master key \d+$", "master key", subject)) for code, subject in found]


@pytest.fixture
def user(tx: Transaction) -> Caller:
    return new_user(tx)


@pytest.fixture
def clean(tx: Transaction) -> list[tuple[str, str]]:
    """The problems before something is planted: the stack's other tests may have left usage behind."""
    return problems(tx)


def planted(tx: Transaction, clean: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [problem for problem in problems(tx) if problem not in clean]


def test_a_new_installation_has_no_problem_of_its_catalog_keys_or_log(
    clean: list[tuple[str, str]],
) -> None:
    operation = {"maintenance_overdue", "price_missing", "usage_refused", "usage_dropped", "requests_refused"}
    operation |= {"runtime_missing"}
    assert [problem for problem in clean if problem[0] not in operation] == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "alter table public.llm_keys disable row level security",
            ("rls_off", "table public.llm_keys"),
        ),
        (
            "alter table llm_private.key_secrets disable row level security",
            ("rls_off", "table llm_private.key_secrets"),
        ),
        (
            "grant select on llm_private.key_secrets to authenticated",
            ("grants_widened", "table llm_private.key_secrets"),
        ),
        (
            "grant update (status) on public.llm_keys to authenticated",
            ("grants_widened", "table public.llm_keys"),
        ),
        (
            "grant create on schema llm_private to authenticated",
            ("grants_widened", "schema llm_private"),
        ),
        (
            "grant execute on function llm_private.master_key to service_role",
            ("grants_widened", "function llm_private.master_key"),
        ),
        (
            "grant execute on function public.sync_llm_prices to public",
            ("grants_widened", "function public.sync_llm_prices"),
        ),
        (
            "revoke execute on function public.set_llm_key from authenticated",
            ("grants_missing", "function public.set_llm_key"),
        ),
        (
            "create or replace function llm_private.require_plain_call(p_function text) returns void"
            " language plpgsql set search_path = pg_catalog, pg_temp as 'begin end'",
            ("object_changed", "function llm_private.require_plain_call"),
        ),
        (
            "alter function llm_private.set_key reset search_path",
            ("object_changed", "function llm_private.set_key"),
        ),
        (
            "alter function llm_private.set_key owner to postgres",
            ("object_changed", "function llm_private.set_key"),
        ),
        (
            "create function llm_private.helper() returns int language sql return 1",
            ("object_unknown", "function llm_private.helper"),
        ),
        (
            "drop function public.list_llm_hints",
            ("object_missing", "function public.list_llm_hints"),
        ),
        (
            "create function public.set_llm_key(a int) returns int language sql return 1",
            ("function_overloaded", "function set_llm_key"),
        ),
        (
            "alter table llm_private.llm_usage_events_default disable row level security",
            ("partition_open", "table llm_private.llm_usage_events_default"),
        ),
        (
            "grant select on llm_private.llm_audit_log_default to authenticated",
            ("partition_open", "table llm_private.llm_audit_log_default"),
        ),
        (
            "delete from vault.secrets where id in (select vault_secret_id from llm_private.master_keys)",
            ("master_key_missing", "master key"),
        ),
        (
            "update llm_private.operator_settings set keys_readable_by = 'runtime';"
            " update llm_private.runtimes set revoked_at = now()",
            ("runtime_missing", "setting keys_readable_by"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_change_by_hand(
    tx: Transaction, clean: list[tuple[str, str]], statement: str, problem: tuple[str, str]
) -> None:
    tx.sql(statement)
    assert problem in planted(tx, clean)


@pytest.mark.parametrize("change", ["drop", "widen"])
def test_a_changed_policy(tx: Transaction, clean: list[tuple[str, str]], change: str) -> None:
    (policy,) = tx.sql("select polname from pg_policy where polrelid = 'public.llm_keys'::regclass limit 1")
    name = policy["polname"]
    tx.sql(
        f'drop policy "{name}" on public.llm_keys'
        if change == "drop"
        else f'alter policy "{name}" on public.llm_keys using (true)'
    )
    code = "object_missing" if change == "drop" else "object_changed"
    assert planted(tx, clean) == [(code, f"policy {name} of public.llm_keys")]


def test_a_missing_partition(tx: Transaction, clean: list[tuple[str, str]]) -> None:
    (row,) = tx.sql(
        "select 'llm_private.llm_usage_events_'"
        " || to_char((now() at time zone 'UTC') + interval '1 month', 'YYYY_MM') as name"
    )
    tx.sql(f"alter table public.llm_usage_events detach partition {row['name']}; drop table {row['name']}")
    assert planted(tx, clean) == [("partition_missing", "table public.llm_usage_events")]


def test_keys_that_the_master_key_cannot_decrypt(
    tx: Transaction, user: Caller, clean: list[tuple[str, str]]
) -> None:
    user.holds_key("groq")
    assert planted(tx, clean) == []
    tx.sql("update llm_private.key_secrets set ciphertext = ciphertext || 'x' where owner_id = %s", user.id)
    assert planted(tx, clean) == [("keys_unreadable", "master key")]


def test_overdue_maintenance(tx: Transaction, user: Caller) -> None:
    user.records()
    tx.sql("update public.llm_usage_totals set hour = hour - interval '3 days' where user_id = %s", user.id)
    tx.sql("update llm_private.installation set maintained_at = now() - interval '25 hours'")
    assert ("maintenance_overdue", "maintenance") in problems(tx)
    tx.admin.rpc("run_llm_maintenance")
    assert ("maintenance_overdue", "maintenance") not in problems(tx)


def test_usage_without_a_price(tx: Transaction) -> None:
    user = runtime_user(tx)
    user.records(provider="groq", model="a-model-without-price")
    assert ("price_missing", "model groq/a-model-without-price") in problems(tx)


def test_refused_usage(tx: Transaction, user: Caller) -> None:
    def event(**changes: Any) -> dict[str, Any]:
        arguments = usage_event(**{"request_id": request_id(), **changes})
        return {name.removeprefix("p_"): value for name, value in arguments.items()}

    answers = user.rpc(
        "record_llm_usage_batch", p_events=[event(), event(latency_ms=-1), event(provider="acme")]
    )
    assert [answer["status"] for answer in answers] == ["recorded", "refused", "refused"]
    user.rpc("record_llm_usage_batch", p_events=[event(latency_ms=-1)])
    counts = tx.sql(
        "select code, events from llm_private.refused_events where recorder = %s order by 1", user.id
    )
    assert counts == [
        {"code": "invalid_argument", "events": 2},
        {"code": "unknown_provider", "events": 1},
    ]
    assert ("usage_refused", "error unknown_provider") in problems(tx)
    tx.sql("update llm_private.refused_events set day = day - 31 where recorder = %s", user.id)
    tx.admin.rpc("run_llm_maintenance")
    assert tx.sql("select from llm_private.refused_events where recorder = %s", user.id) == []


def test_dropped_usage(tx: Transaction, user: Caller) -> None:
    user.rpc("record_llm_usage_batch", p_events=Json([]), p_dropped={"queue_full": 3})
    user.rpc("record_llm_usage_batch", p_events=Json([]), p_dropped={"queue_full": 2, "failed": 1})
    counts = tx.sql(
        "select reason, events from llm_private.dropped_events where recorder = %s order by 1", user.id
    )
    assert counts == [{"reason": "failed", "events": 1}, {"reason": "queue_full", "events": 5}]
    assert ("usage_dropped", "reason queue_full") in problems(tx)
    tx.sql("update llm_private.dropped_events set day = day - 31 where recorder = %s", user.id)
    tx.admin.rpc("run_llm_maintenance")
    assert tx.sql("select from llm_private.dropped_events where recorder = %s", user.id) == []


@pytest.mark.parametrize(
    "dropped", [Jsonb([]), Jsonb("queue_full"), {"a text": 1}, {"queue_full": 0}, {"queue_full": "1"}]
)
def test_only_counts_of_dropped_events_are_stored(user: Caller, dropped: Any) -> None:
    with refused("invalid_argument", 400):
        user.rpc("record_llm_usage_batch", p_events=Json([]), p_dropped=dropped)


def test_refused_requests_that_the_operator_can_resolve(tx: Transaction, user: Caller) -> None:
    user.rpc("record_llm_refusals", p_refusals={"no_usable_key": 1, "model_unpriced": 4})
    found = problems(tx)
    assert ("requests_refused", "error model_unpriced") in found
    assert ("requests_refused", "error no_usable_key") not in found


def test_every_problem_says_what_to_do(tx: Transaction) -> None:
    tx.sql("alter table public.llm_keys disable row level security")
    tx.sql("grant select on llm_private.key_secrets to authenticated")
    for row in tx.admin.rpc("list_llm_problems"):
        assert row["severity"] in ("error", "warning")
        assert row["message"]
        assert row["hint"]


def test_the_version_of_the_database_is_that_of_the_client(tx: Transaction) -> None:
    assert tx.admin.rpc("get_llm_version")["version"] == version("supa-llm")


def test_a_user_cannot_see_problems(tx: Transaction) -> None:
    user = new_user(tx)
    for function in ("list_llm_problems", "get_llm_version"):
        with pytest.raises(Exception, match="permission denied"):
            user.rpc(function)
