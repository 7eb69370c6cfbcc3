"""Append-only tables are partitioned by month; recording never fails for lack of a partition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.database.support import Connection, Transaction, new_user, owner, request_id
from tests.support import Stack, unique, wait_until


@pytest.fixture
def empty(tx: Transaction) -> Transaction:
    """The database with only the default partitions."""
    for partition in partitions(tx):
        if not partition.endswith("_default"):
            tx.sql(f"drop table llm_private.{partition}")
    return tx


def partitions(tx: Transaction) -> list[str]:
    rows = tx.sql(
        "select inhrelid::regclass::text as name from pg_inherits "
        "where inhparent in ('public.llm_usage_events'::regclass, 'public.llm_audit_log'::regclass)"
    )
    return sorted(row["name"].removeprefix("llm_private.") for row in rows)


WHERE = "select tableoid::regclass::text as partition from public.llm_usage_events where request_id = %s"


def record(connection: Connection, event: str) -> None:
    """Insert an event at any time, bypassing the checks."""
    connection.execute(
        "insert into public.llm_usage_events "
        "(user_id, request_id, attempt, recorder, provider, model, key_source, outcome, streamed) "
        "select i, %s, 1, i, 'p', 'm', 'user', 'succeeded', false from gen_random_uuid() as i",
        [event],
    )


def months(count: int) -> list[str]:
    """Return the names of this month and the months after it."""
    first = datetime.now(UTC).replace(day=1)
    found = []
    for _ in range(count):
        found.append(first.strftime("%Y_%m"))
        first = (first + timedelta(days=32)).replace(day=1)
    return found


def test_the_migration_creates_partitions_for_this_month_and_the_next_three(tx: Transaction) -> None:
    assert partitions(tx) == sorted(
        f"{table}_{month}"
        for table in ("llm_usage_events", "llm_audit_log")
        for month in [*months(4), "default"]
    )


def test_a_row_is_stored_in_the_partition_of_its_month(tx: Transaction) -> None:
    user = new_user(tx)
    user.records()
    user.holds_key("groq")
    (this,) = months(1)
    for table in ("llm_usage_events", "llm_audit_log"):
        stored = tx.value(f"select tableoid::regclass::text from public.{table} where user_id = %s", user.id)
        assert stored == f"llm_private.{table}_{this}"


def test_recording_works_without_a_partition_for_the_month(empty: Transaction) -> None:
    user = new_user(empty)
    assert user.records()
    stored = empty.value("select tableoid::regclass::text from public.llm_usage_events")
    assert stored == "llm_private.llm_usage_events_default"
    assert user.rpc("get_llm_usage")


def test_a_new_partition_takes_its_rows_from_the_default_partition(empty: Transaction) -> None:
    user = new_user(empty)
    event = request_id()
    assert user.records(request_id=event)
    user.holds_key("groq")
    assert partitions(empty) != []
    before = empty.sql("select * from public.llm_usage_events")
    (this,) = months(1)
    empty.sql("select llm_private.add_month_partition('llm_usage_events', 'request_id', now()::date)")
    assert empty.value("select tableoid::regclass::text from public.llm_usage_events") == (
        f"llm_private.llm_usage_events_{this}"
    )
    assert empty.sql("select * from public.llm_usage_events") == before
    assert not user.records(request_id=event)


def test_a_new_user_and_a_new_runtime_cause_partitions_to_be_created(empty: Transaction) -> None:
    new_user(empty).rpc("get_llm_settings")
    assert len(partitions(empty)) == 8, (
        "the next three months; a new user does not move the rows of this month"
    )
    for partition in partitions(empty):
        if not partition.endswith("_default"):
            empty.sql(f"drop table llm_private.{partition}")
    empty.admin.rpc("register_llm_runtime", p_name=unique("app"))
    assert len(partitions(empty)) == 8


def test_creating_the_partitions_again_changes_nothing(tx: Transaction) -> None:
    before = partitions(tx)
    tx.sql("select llm_private.add_month_partitions()")
    assert partitions(tx) == before


@pytest.mark.parametrize(
    ("month", "inside", "outside"),
    [
        ("2027-12-01", "2027-12-31 23:59:59.999Z", "2028-01-01 00:00:00Z"),
        ("2028-02-15", "2028-02-29 23:59:59.999Z", "2028-03-01 00:00:00Z"),
    ],
)
def test_a_month_begins_and_ends_at_midnight_utc(
    tx: Transaction, month: str, inside: str, outside: str
) -> None:
    tx.sql("set local timezone = 'Pacific/Auckland'")
    tx.sql("select llm_private.add_month_partition('llm_usage_events', 'request_id', %s)", month)
    partitions_of = []
    for moment in (inside, outside):
        event = request_id(datetime.fromisoformat(moment).timestamp())
        record(tx.connection, event)
        partitions_of.append(tx.value(WHERE, event))
    assert partitions_of == [
        f"llm_private.llm_usage_events_{month[:7].replace('-', '_')}",
        "llm_private.llm_usage_events_default",
    ]


def test_ids_generated_by_the_database_contain_the_time(tx: Transaction) -> None:
    for _ in range(50):
        generated = tx.sql("select llm_private.uuid_v7() as id, clock_timestamp() as at")[0]
        assert generated["id"].version == 7
        assert generated["id"].variant == "specified in RFC 4122"
        contained = tx.value("select llm_private.uuid_v7_time(%s)", generated["id"])
        assert abs(contained - generated["at"]) < timedelta(milliseconds=50)


def test_a_new_partition_waits_for_inserts_into_the_default_partition(stack: Stack) -> None:
    create = "select llm_private.add_month_partition('llm_usage_events', 'request_id', '2031-05-01')"
    waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and query = %s"
    in_may = request_id(datetime(2031, 5, 5, tzinfo=UTC).timestamp())
    with (
        owner(stack) as recording,
        owner(stack) as creating,
        owner(stack) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            with recording.transaction():
                record(recording, in_may)
                created = pool.submit(creating.execute, create)
                wait_until(lambda: watching.execute(waiting, [create]).fetchall())
            created.result()
            stored = watching.execute(WHERE, [in_may]).fetchall()
            assert stored == [{"partition": "llm_private.llm_usage_events_2031_05"}]
        finally:
            watching.execute("drop table if exists llm_private.llm_usage_events_2031_05")
            watching.execute("delete from public.llm_usage_events where request_id = %s", [in_may])


def test_creating_partitions_does_not_wait_for_readers(stack: Stack) -> None:
    last = months(4)[-1]
    create = "select llm_private.add_month_partitions()"
    missing = f"select to_regclass('llm_private.llm_usage_events_{last}') is null"
    with owner(stack) as reading, owner(stack) as creating:
        for table in ("llm_usage_events", "llm_audit_log"):
            creating.execute(f"drop table llm_private.{table}_{last}")
        creating.execute("set statement_timeout = '5s'")
        with reading.transaction():
            reading.execute("select count(*) from public.llm_usage_events")
            creating.execute(create)
            assert creating.execute(missing).fetchone() == {"?column?": True}
        creating.execute(create)
        assert creating.execute(missing).fetchone() == {"?column?": False}
