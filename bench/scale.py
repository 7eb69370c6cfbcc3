"""Fills a project: users with settings and keys, prices, and half a year of usage with its totals."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from supa_llm.client.price_lists import price_list
from tests.support import ROOT, Stack

Progress = Callable[[str], None]

_DAYS = 180
_EVENTS_A_SESSION = 4
_SQL = Path(__file__).with_name("scale.sql")
_COUNTERPARTS = Path(__file__).with_name("objects.sql")


@dataclass(frozen=True)
class Scale:
    """Size of a project."""

    users: int
    events: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.events:,} events"


def is_filled(stack: Stack, scale: Scale) -> bool:
    """Whether a kept project has this size and the current migrations."""
    with stack.connect() as connection:
        try:
            row = connection.execute("select users, events, migrations from bench.filled").fetchone()
        except psycopg.errors.UndefinedTable:
            return False
    return row == (scale.users, scale.events, _fingerprint())


def fill(stack: Stack, scale: Scale, progress: Progress) -> None:
    """Fill a new project. Events are inserted in bulk, with the totals that recording them would give."""
    stack.admin("register_llm_runtime", p_name=f"bench {uuid.uuid4()}")
    _sync_prices(stack)
    with stack.connect() as connection:
        connection.execute(_SQL.read_bytes())
        # A lost project is filled again, so it needs no durability.
        connection.execute("set synchronous_commit = off")
        _add_users(connection, scale, progress)
        _add_usage(connection, scale, progress)
        connection.execute(_COUNTERPARTS.read_bytes())
        progress("statistics")
        connection.execute("vacuum (analyze)")
        connection.execute(
            "insert into bench.filled (users, events, migrations) values (%s, %s, %s)",
            [scale.users, scale.events, _fingerprint()],
        )


def _sync_prices(stack: Stack) -> None:
    with stack.connect() as connection:
        providers = connection.execute("select id, base_url from public.llm_providers").fetchall()
    for provider, base_url in providers:
        if prices := price_list(provider, base_url):
            stack.admin("sync_llm_prices", p_provider=provider, p_entries=prices.entries, p_apply=True)


def _add_users(connection: psycopg.Connection[tuple[object, ...]], scale: Scale, progress: Progress) -> None:
    progress(f"{scale.users:,} users")
    connection.execute("select bench.add_users(%s)", [scale.users])
    connection.execute("analyze bench.users")


def _add_usage(connection: psycopg.Connection[tuple[object, ...]], scale: Scale, progress: Progress) -> None:
    """One month and thus one partition at a time, up to the hour before the last."""
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    since = until - timedelta(days=_DAYS)
    sessions = scale.events // _EVENTS_A_SESSION
    done = 0
    begins = since
    while begins < until:
        ends = min((begins.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1), until)
        upto = round(sessions * ((ends - since) / (until - since)))
        progress(f"{begins:%B %Y}: {(upto - done) * _EVENTS_A_SESSION:,} events")
        connection.execute(
            "select llm_private.add_month_partition('llm_usage_events', 'request_id', %s)", [begins.date()]
        )
        connection.execute("select bench.add_events(%s, %s, %s)", [begins, ends, upto - done])
        connection.execute("select bench.add_totals(%s, %s)", [begins, ends])
        begins, done = ends, upto


def _fingerprint() -> str:
    """Hash of the files that define the database; a kept project with another hash is refilled."""
    files = [*sorted((ROOT / "supabase" / "migrations").glob("*.sql")), _SQL, _COUNTERPARTS]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
