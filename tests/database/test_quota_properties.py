"""Properties of quota periods in all time zones, and of counters after any sequence of operations.

`Model` below specifies quotas with dictionaries and sums, without locks and SQL.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.database.ledger import new_team
from tests.database.metering import assert_exact, expire, prices, reserves, sets
from tests.database.support import (
    Caller,
    Connection,
    Refused,
    Transaction,
    new_user,
    owner,
    request_id,
    rolled_back,
)
from tests.support import Stack, unique


@pytest.fixture(scope="module")
def connection(stack: Stack) -> Iterator[Connection]:
    with owner(stack) as connection:
        yield connection


# Periods ------------------------------------------------------------------------------------------

# Including clock changes at midnight, by half an hour and across the date line, and quarter-hour offsets.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Asia/Beirut",
    "America/Sao_Paulo",
    "America/Asuncion",
    "Africa/Cairo",
    "Asia/Tehran",
    "Asia/Gaza",
    "Atlantic/Azores",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Antarctica/Troll",
)
# Clock changes in each direction, ends of months, leap days, and the day that Samoa skipped.
EDGES = tuple(
    datetime(*date, tzinfo=UTC)  # type: ignore[misc] # the tuples are shorter than that
    for date in (
        (2024, 2, 29),
        (2023, 3, 1),
        (2025, 1, 1),
        (2000, 2, 29),
        (2024, 3, 31, 1),
        (2024, 10, 27, 1),
        (2024, 3, 10, 5),
        (2024, 11, 3, 5),
        (2024, 3, 30, 22),
        (2024, 10, 26, 21),
        (2017, 10, 15, 3),
        (2018, 2, 18, 2),
        (2018, 11, 4, 3),
        (2011, 12, 30, 10),
        (2022, 9, 21, 20),
        (2021, 9, 21, 20),
    )
)
ZONE = st.sampled_from(ZONES)
INSTANT = st.one_of(
    st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    st.builds(
        lambda edge, seconds: edge + timedelta(seconds=seconds),
        st.sampled_from(EDGES),
        st.integers(-90_000, 90_000),
    ),
)


def window(connection: Connection, period: str, zone: str, at: datetime) -> tuple[datetime, datetime]:
    row = connection.execute(
        "select * from llm_private.quota_window(%s, %s, %s)", [period, zone, at]
    ).fetchone()
    assert row is not None
    return row["starts_at"], row["ends_at"]


thoroughly = settings(
    max_examples=400,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(period=st.sampled_from(["minute", "day", "month"]), zone=ZONE, at=INSTANT)
# A day with two midnights, and an hour that occurs twice.
@example(period="day", zone="America/Havana", at=datetime(2024, 11, 3, 4, 30, tzinfo=UTC))
@example(period="month", zone="Asia/Amman", at=datetime(1999, 9, 30, 21, 30, tzinfo=UTC))
@example(period="minute", zone="Europe/Berlin", at=datetime(2024, 10, 27, 0, 30, tzinfo=UTC))
@thoroughly
def test_periods_have_no_gaps_or_overlaps(
    connection: Connection, period: str, zone: str, at: datetime
) -> None:
    starts, ends = window(connection, period, zone, at)
    assert starts <= at < ends
    assert window(connection, period, zone, starts) == (starts, ends)
    assert window(connection, period, zone, ends)[0] == ends
    assert window(connection, period, zone, starts - timedelta(microseconds=1))[1] == starts


@given(period=st.sampled_from(["day", "month"]), zone=ZONE, at=INSTANT)
@thoroughly
def test_a_period_begins_at_midnight_in_its_time_zone(
    connection: Connection, period: str, zone: str, at: datetime
) -> None:
    """It lasts as long as a day or month does there. Python's time zones check PostgreSQL's."""
    starts, ends = (moment.astimezone(ZoneInfo(zone)) for moment in window(connection, period, zone, at))
    just_before = (starts.astimezone(UTC) - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    # If clocks skip midnight, the day begins later; if midnight occurs twice, it begins with the second one.
    assert just_before.date() < starts.date() or (starts.hour, starts.minute) == (0, 0)
    assert period == "day" or starts.day == 1
    lasted = ends.astimezone(UTC) - starts.astimezone(UTC)
    shortest, longest = {"day": (22, 26), "month": (27 * 24, 31 * 24 + 2)}[period]
    assert timedelta(hours=shortest) <= lasted <= timedelta(hours=longest)


@given(
    zone=ZONE, before=ZONE, period=st.sampled_from(["day", "month"]), at=INSTANT, late=st.integers(0, 10**7)
)
@thoroughly
def test_a_time_zone_change_never_starts_a_period_early_or_shortens_it(
    connection: Connection, zone: str, before: str, period: str, at: datetime, late: int
) -> None:
    _, previous_end = window(connection, period, before, at)
    now = previous_end + timedelta(seconds=late)
    row = connection.execute(
        "select * from llm_private.next_window(%s, %s, %s, %s)", [period, zone, previous_end, now]
    ).fetchone()
    assert row is not None
    assert previous_end <= row["starts_at"] <= now < row["ends_at"]
    shortest = timedelta(hours=22) if period == "day" else timedelta(days=27)
    assert row["ends_at"] - row["starts_at"] >= shortest
    # It ends with a period of the new zone, so that later periods follow that zone's clock.
    assert window(connection, period, zone, row["ends_at"])[0] == row["ends_at"]


# Counters -----------------------------------------------------------------------------------------

PROVIDERS = ("groq", "openai")
Hold = tuple[Decimal, int]


@dataclass
class Quota:
    """One quota, and its counter once it is open."""

    id: int
    who: str
    unit: str
    provider: str | None
    limit: Decimal
    enforced: bool
    used: Decimal | None = None
    period: int = 0

    @property
    def of_team(self) -> bool:
        """Whether it counts only what the team's keys pay for."""
        return self.who in ("team", "member")

    def counts(self, provider: str, payer: str) -> bool:
        return self.provider in (None, provider) and (payer == "team" or not self.of_team)


@dataclass
class Usage:
    """One recorded attempt; `other` if another member of the team recorded it."""

    provider: str
    payer: str
    used: dict[str, Decimal]
    other: bool = False


@dataclass
class Attempt:
    """An attempt with reservations: the amount and the period in each quota.

    `counted` has those that expired in an enforced quota of the operator's or the team's, and therefore count
    as used.
    """

    holds: dict[int, Hold] = field(default_factory=dict)
    counted: dict[int, Hold] = field(default_factory=dict)
    expired: bool = False


@dataclass
class Model:
    """The specified state of one user's quotas."""

    quotas: dict[int, Quota] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    ledger: list[Usage] = field(default_factory=list)
    recorded: set[tuple[str, int]] = field(default_factory=set)
    period: int = 0

    def binding(self, payer: str = "user") -> list[Quota]:
        """Return the user's and the operator's quotas, where one for this user replaces one for everyone.

        With the payer `team`, those of the team too.
        """
        specific = {(quota.unit, quota.provider) for quota in self.quotas.values() if quota.who == "close"}
        return [
            quota
            for _, quota in sorted(self.quotas.items())
            if (quota.who != "every" or (quota.unit, quota.provider) not in specific)
            and (payer == "team" or not quota.of_team)
        ]

    def reserved(self, quota: Quota) -> Decimal:
        holds = [attempt.holds[quota.id] for attempt in self.attempts.values() if quota.id in attempt.holds]
        return sum((amount for amount, period in holds if period == quota.period), Decimal(0))

    def open(self, quotas: list[Quota]) -> None:
        """Move quotas to the current period without expired holds. Open others with the ledger's sum."""
        for quota in quotas:
            if quota.used is None:
                quota.period = self.period
                quota.used = sum(
                    (
                        it.used[quota.unit]
                        for it in self.ledger
                        if quota.counts(it.provider, it.payer) and (quota.who == "team" or not it.other)
                    ),
                    Decimal(0),
                )
                for attempt in self.attempts.values():
                    amount, period = attempt.counted.get(quota.id, (Decimal(0), -1))
                    quota.used += amount if period == quota.period else 0
            elif quota.period < self.period:
                quota.used, quota.period = Decimal(0), self.period
            for attempt in self.attempts.values():
                if attempt.expired and (hold := attempt.holds.pop(quota.id, None)):
                    amount, period = hold
                    if quota.enforced and quota.who != "own" and period == quota.period:
                        quota.used += amount
                        attempt.counted[quota.id] = hold

    def release(self, key: tuple[str, int]) -> Attempt:
        """Free what an attempt holds, also what expired and was counted."""
        gone = self.attempts.pop(key, Attempt())
        for id_, (amount, period) in gone.counted.items():
            quota = self.quotas.get(id_)
            if quota and quota.used is not None and quota.period == period:
                quota.used -= amount
        return gone

    def reserve(self, key: tuple[str, int], provider: str, tokens: int, payer: str = "user") -> str:
        """Reserve for an attempt. Return `allowed`, or the error code of the refusal."""
        attempt = self.attempts.get(key, Attempt())
        held = {**attempt.holds, **attempt.counted}
        self.open(self.binding(payer) + [self.quotas[id_] for id_ in held if id_ in self.quotas])
        self.release(key)
        self.attempts[key] = reserving = Attempt()
        holds = {}
        for quota in self.binding(payer):
            if not quota.counts(provider, payer):
                continue
            amount = {"requests": Decimal(1), "tokens": Decimal(max(tokens, 1)), "cost": dollars(tokens)}[
                quota.unit
            ]
            assert quota.used is not None
            large = quota.who == "team" and quota.unit != "requests" and amount > quota.limit
            if quota.enforced and amount and large:
                return "request_too_large"
            if quota.enforced and amount and quota.used + self.reserved(quota) + amount > quota.limit:
                return "quota_exceeded"
            holds[quota.id] = (amount, quota.period)
        reserving.holds = holds
        return "allowed"

    def settle(
        self, key: tuple[str, int], provider: str, tokens: int | None, outcome: str, payer: str = "user"
    ) -> None:
        if key in self.recorded:
            return
        self.recorded.add(key)
        answered = outcome != "failed"
        counted = Decimal(tokens or 0)
        used = {"requests": Decimal(answered), "tokens": counted, "cost": dollars(tokens or 0)}
        self.ledger.append(Usage(provider, payer, used))
        gone = self.release(key)
        held = {**gone.holds, **gone.counted}
        for quota in self.binding(payer):
            amount, period = held.get(quota.id, (Decimal(0), self.period))
            if not quota.counts(provider, payer) or quota.used is None:
                continue
            if quota.period == self.period == period:
                unreported = tokens is None and answered and quota.unit != "requests"
                quota.used += amount if unreported else used[quota.unit]

    def settle_of_other(self, provider: str, tokens: int) -> None:
        """Count an attempt of another member with the team's key, which nothing was reserved for."""
        used = {"requests": Decimal(1), "tokens": Decimal(tokens), "cost": dollars(tokens)}
        self.ledger.append(Usage(provider, "team", used, other=True))
        for quota in self.binding("team"):
            if quota.who == "team" and quota.counts(provider, "team") and quota.period == self.period:
                assert quota.used is not None
                quota.used += used[quota.unit]

    def remove(self, id_: int) -> None:
        gone = self.quotas.pop(id_)
        for attempt in self.attempts.values():
            attempt.holds.pop(id_, None)
            attempt.counted.pop(id_, None)
        for quota in self.quotas.values():
            # A quota that a more specific one replaced is summed from the ledger.
            alike = (quota.unit, quota.provider) == (gone.unit, gone.provider)
            if alike and {gone.who, quota.who} <= {"close", "every"}:
                quota.used = None


def dollars(tokens: int) -> Decimal:
    return Decimal(tokens) / 1_000_000


TOKENS = st.integers(0, 500)
WHICH = st.integers(0, 1)


class Quotas:
    """The operations of a user, their requests, the operator and time."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.user, self.owner, self.other = new_user(tx), new_user(tx), new_user(tx)
        self.team = new_team(tx.connection, owner=self.owner, member=[self.user, self.other])
        # Otherwise, most requests are too large for the team's shared quotas.
        tx.admin.rpc("set_llm_operator_settings", p_changes={"largest_request_percent": 100})
        prices(tx, *PROVIDERS)
        self.model = Model()
        self.running = [request_id() for _ in range(2)]

    def set_quota(
        self, who: str, unit: str, provider: str | None, parts: int, enforced: bool, clock: str
    ) -> None:
        limit = parts * {"requests": Decimal(1), "tokens": Decimal(700), "cost": Decimal("0.0007")}[unit]
        scopes: dict[str, dict[str, Any]] = {
            "own": {"clock": clock},
            "close": {"user_id": self.user.id},
            "every": {},
            "team": {"team_id": self.team, "shared": True},
            "member": {"team_id": self.team, "clock": clock},
        }
        whom = scopes[who]
        stored = sets(self.setter(who), float(limit), unit, provider=provider, enforced=enforced, **whom)
        quota = self.model.quotas.setdefault(
            stored["id"], Quota(stored["id"], who, unit, provider, limit, enforced)
        )
        quota.limit, quota.enforced = limit, enforced
        if who in ("own", "team"):
            self.model.open([quota])

    def setter(self, who: str) -> Caller:
        """Who sets and removes such quotas."""
        return {"own": self.user, "team": self.owner, "member": self.owner}.get(who, self.tx.admin)

    def remove_quota(self, number: int) -> None:
        if not self.model.quotas:
            return
        id_ = sorted(self.model.quotas)[number % len(self.model.quotas)]
        self.setter(self.model.quotas[id_].who).rpc("remove_llm_quota", p_id=id_)
        self.model.remove(id_)

    def begin(self, which: int) -> None:
        self.running[which] = request_id()

    def reserve(
        self,
        which: int,
        attempt: int,
        provider: str,
        input_tokens: int,
        output_tokens: int,
        payer: str = "user",
    ) -> None:
        request = self.running[which]
        before = copy.deepcopy(self.model)
        expected = self.model.reserve((request, attempt), provider, input_tokens + output_tokens, payer)
        try:
            reserves(
                self.user,
                request,
                attempt=attempt,
                provider=provider,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                **self.paid(payer),
            )
        except Refused as error:
            outcome = error.code
            self.model = before
        else:
            outcome = "allowed"
        assert outcome == expected
        if outcome == "allowed":
            for quota in self.model.binding(payer):
                if quota.enforced and quota.counts(provider, payer) and quota.used is not None:
                    free = quota.unit == "cost" and input_tokens + output_tokens == 0
                    assert free or quota.used + self.model.reserved(quota) <= quota.limit

    def paid(self, payer: str) -> dict[str, Any]:
        """The arguments of an attempt that say whose key pays."""
        return {"key_source": payer, "team_id": self.team if payer == "team" else None}

    def settle(
        self,
        which: int,
        attempt: int,
        provider: str,
        tokens: int | None,
        outcome: str,
        payer: str = "user",
    ) -> None:
        """Record an attempt, even if it is already recorded, out of order, or not reserved."""
        request = self.running[which]
        self.model.settle((request, attempt), provider, tokens, outcome, payer)
        self.user.records(
            request_id=request,
            attempt=attempt,
            provider=provider,
            model="m",
            outcome=outcome,
            error_class="timeout" if outcome == "failed" else None,
            output_tokens=tokens,
            **self.paid(payer),
        )

    def settle_of_other(self, provider: str, tokens: int) -> None:
        """Record an attempt of another member of the team."""
        self.model.settle_of_other(provider, tokens)
        self.other.records(provider=provider, model="m", output_tokens=tokens, **self.paid("team"))

    def release(self, which: int) -> None:
        request = self.running[which]
        self.user.rpc("release_llm_request", p_request_id=request)
        for key in [key for key in self.model.attempts if key[0] == request]:
            self.model.release(key)

    def expire(self, which: int) -> None:
        request = self.running[which]
        expire(self.tx.connection, request)
        for key, attempt in self.model.attempts.items():
            if key[0] == request:
                attempt.expired = True

    def let_the_period_end(self) -> None:
        """Move all state into the past, because time stands still in a transaction."""
        self.tx.sql(
            "update llm_private.quota_counters set starts_at = starts_at - interval '4 days',"
            " ends_at = ends_at - interval '4 days' where owner in (%s, %s)",
            self.user.id,
            self.team,
        )
        self.tx.sql(
            "update llm_private.reservations set starts_at = starts_at - interval '4 days'"
            " where user_id = %s",
            self.user.id,
        )
        self.model.period += 1

    def move(self, zone: str) -> None:
        self.user.rpc("set_llm_settings", p_changes={"time_zone": zone})

    def look(self) -> None:
        """List the quotas: as if their counters were open, but without opening them."""
        lines = self.user.rpc("list_llm_quotas")
        lines += self.owner.rpc("list_llm_quotas", p_team_id=self.team, p_user_id=self.user.id)
        model = copy.deepcopy(self.model)
        model.open(model.binding("team"))
        assert {line["id"]: (line["used"], line["reserved"]) for line in lines} == {
            quota.id: (float(quota.used or 0), float(model.reserved(quota)))
            for quota in model.binding("team")
        }


class TeamQuotas(Quotas):
    """The same with attempts that a team's key pays for, through a runtime."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx)
        runtime = tx.admin.rpc("register_llm_runtime", p_name=unique("app"))["secret"]
        self.user, self.other = self.user.through(runtime), self.other.through(runtime)


STEPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "set_quota": {
        "who": st.sampled_from(["own", "own", "close", "every"]),
        "unit": st.sampled_from(["requests", "tokens", "cost"]),
        "provider": st.sampled_from([None, "groq"]),
        # Most limits allow some requests, because a quota that refuses all of them tests little.
        "parts": st.sampled_from([0, 2, 4, 8, 100, 100, 100]),
        "enforced": st.sampled_from([True, True, True, False]),
        "clock": st.sampled_from(["utc", "user"]),
    },
    "remove_quota": {"number": st.integers(0, 9)},
    "begin": {"which": WHICH},
    "reserve": {
        "which": WHICH,
        "attempt": st.sampled_from([1, 1, 2]),
        "provider": st.sampled_from(PROVIDERS),
        "input_tokens": TOKENS,
        "output_tokens": TOKENS,
    },
    "settle": {
        "which": WHICH,
        "attempt": st.sampled_from([1, 1, 2]),
        "provider": st.sampled_from(PROVIDERS),
        "tokens": st.none() | TOKENS,
        "outcome": st.sampled_from(["succeeded", "succeeded", "cancelled", "failed"]),
    },
    "release": {"which": WHICH},
    "expire": {"which": WHICH},
    "let_the_period_end": {},
    "move": {"zone": st.sampled_from(["UTC", "Asia/Kathmandu", "Pacific/Kiritimati", "Etc/GMT+12"])},
    "look": {},
}
OFTEN = {"reserve": 5, "settle": 3, "begin": 3, "look": 2, "set_quota": 2, "settle_of_other": 2}
PAYER = st.sampled_from(["team", "team", "user"])
TEAM_STEPS = STEPS | {
    "set_quota": STEPS["set_quota"] | {"who": st.sampled_from(["own", "close", "team", "team", "member"])},
    "reserve": STEPS["reserve"] | {"payer": PAYER},
    "settle": STEPS["settle"] | {"payer": PAYER},
    "settle_of_other": {"provider": st.sampled_from(PROVIDERS), "tokens": TOKENS},
}


def sequences(steps: dict[str, dict[str, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Any]:
    step = st.one_of(
        [
            st.tuples(st.just(name), st.fixed_dictionaries(arguments))
            for name, arguments in steps.items()
            for _ in range(OFTEN.get(name, 1))
        ]
    )
    return st.lists(step, min_size=30, max_size=60)


in_sequence = settings(
    max_examples=80,
    # Shrinking a failure takes minutes; do it by hand.
    phases=[Phase.generate],
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@given(steps=sequences(STEPS))
@in_sequence
def test_counters_match_the_model_after_any_sequence_of_operations(
    connection: Connection, steps: list[tuple[str, dict[str, Any]]]
) -> None:
    run(Quotas, connection, steps)


@given(steps=sequences(TEAM_STEPS))
@in_sequence
def test_counters_of_a_team_match_the_model_after_any_sequence_of_operations(
    connection: Connection, steps: list[tuple[str, dict[str, Any]]]
) -> None:
    run(TeamQuotas, connection, steps)


def run(kind: type[Quotas], connection: Connection, steps: list[tuple[str, dict[str, Any]]]) -> None:
    with rolled_back(connection) as tx:
        world = kind(tx)
        for name, arguments in steps:
            getattr(world, name)(**arguments)
            assert_exact(connection)
        world.look()
