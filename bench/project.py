"""A project for benchmarks: a local stack of its own, filled to a scale."""

from __future__ import annotations

import contextlib
import itertools
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Self

import psycopg

from bench import load
from bench.load import Side
from bench.scale import Scale, fill, is_filled
from supa_llm.errors import LocalError
from supa_llm.local import LocalStack
from tests.support import Stack, User, key_for, wait_until

#: Providers for which a benchmarked user has keys.
KEYS = ("openai", "groq", "anthropic")

#: Expiry of the users' tokens, in the year 2100.
_END = 4_102_444_800


class Project:
    """A running stack, its users and requests.

    It does not wait for the disk, because that time would hide the difference between two sides.
    """

    def __init__(self, local: LocalStack) -> None:
        self.local = local
        self.stack = Stack.from_env(local.env())

    @classmethod
    def open(cls, local: LocalStack, scale: Scale) -> Self:
        """The stack's project if it has this scale and the current migrations, else a new project."""
        say(f"starting a project of {scale}")
        if local.directory.exists():
            with contextlib.suppress(LocalError):  # its migrations are not older versions of the current ones
                local.up()
                if is_filled(cls(local).stack, scale):
                    return cls(local)
            local.reset()
        local.up()
        project = cls(local)
        # So that figures stay comparable with those from before runtimes were the default.
        project.stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
        fill(project.stack, scale, say)
        return project

    @property
    def url(self) -> str:
        """Address of PostgREST itself, because a proxy in front of it would hide the difference."""
        return self.local.rest_direct_url

    def user(self) -> User:
        """A new user with three keys."""
        return self._with_keys(self.stack.sign_up())

    def crowd(self, size: int) -> list[User]:
        """Some of the initial users, evenly spread, each with three keys."""
        with self.stack.connect() as connection:
            rows = connection.execute(
                "select id::text from bench.users where n in ("
                " select i * (select count(*) from bench.users) / %(size)s"
                " from generate_series(0, %(size)s - 1) as i) order by n",
                {"size": size},
            ).fetchall()
        return [
            self._with_keys(User(self.stack, user, "", self.stack.sign(sub=user, exp=_END)))
            for (user,) in rows
        ]

    def request(self, user: User, name: str, **arguments: Any) -> Side:
        """Requests of one RPC as this user, once PostgREST has loaded the RPC."""
        return self._known(load.rpc(self.url, name, arguments, user.access_token))

    def request_with_new_id(
        self,
        user: User,
        name: str,
        field: str,
        make_id: Callable[[], bytes] = load.new_id,
        **arguments: Any,
    ) -> Side:
        """The same, each with a new UUIDv7 in ``field``."""
        return self._known(
            load.rpc_with_new_ids(
                self.url, name, {**arguments, field: load.NEW_ID}, user.access_token, make_id
            )
        )

    def runtime(self) -> str:
        """The secret of a new runtime."""
        return str(self.stack.admin("register_llm_runtime", p_name=f"bench {uuid.uuid4()}")["secret"])

    def batch(self, secret: str, events: Sequence[dict[str, Any]]) -> Side:
        """Calls of a runtime that record these events, each time with new ids and without a user's token."""
        anon = self.stack.sign(role="anon", exp=_END)
        arguments = {"p_events": [{**event, "request_id": load.NEW_ID} for event in events]}
        return self._known(
            load.rpc_with_new_ids(self.url, "record_llm_usage_batch", arguments, anon, runtime=secret)
        )

    def in_turn(self, sides: Sequence[Side]) -> Side:
        """The requests of several users in turn."""
        turn = itertools.cycle(sides)
        return Side(self.url, lambda: next(turn).request())

    def calls_seen(self, name: str) -> int:
        """Number of calls of an RPC that have reached the database."""
        with psycopg.connect(self.local.superuser_url, autocommit=True) as connection:
            row = connection.execute(
                "select coalesce(sum(calls), 0)::integer from extensions.pg_stat_statements"
                " where query like %s",
                [f'WITH pgrst_source%"public"."{name}"(%'],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _with_keys(self, user: User) -> User:
        for provider in KEYS:
            user.rpc("set_llm_key", provider=provider, key=key_for(provider))
        return user

    def _known(self, request: load.Request) -> Side:
        wait_until(partial(_is_known, self.url, request))
        return Side(self.url, request)


def _is_known(url: str, request: load.Request) -> bool:
    connection = load.Connection(url)
    try:
        connection.seconds(request())
    except load.RefusedError as refused:
        if refused.status != 404:
            raise
        return False
    finally:
        connection.close()
    return True


def say(step: str) -> None:
    """Report a slow step on stderr."""
    print(f"  {datetime.now():%H:%M:%S} {step} …", file=sys.stderr, flush=True)
