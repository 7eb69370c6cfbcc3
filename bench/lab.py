"""The project that the benchmarks run on: a local stack of their own, destroyed at the end."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg

from bench import load
from supa_llm.local import LocalStack
from supa_llm.local.ports import pick_free
from tests.support import PROVIDERS, ROOT, Emulator, Stack, User, key_for, running_emulator, wait_until

#: What a benchmarked user has keys for.
KEYS = ("openai", "groq", "anthropic")

_OTHER_USERS = 1000


class Lab:
    """Everything that a benchmark needs; leaving it takes all of it down."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @cached_property
    def stack(self) -> Stack:
        """A project with some users and what the benchmarks compare with.

        It does not wait for the disk, whose time would drown what the two sides differ in.
        """
        directory = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="supa-llm-bench-")))
        local = LocalStack(directory / "stack", project=ROOT, port=0, throwaway=True)
        self._exit.callback(local.destroy)
        local.up()
        stack = Stack.from_env(local.env())
        with stack.connect() as connection:
            connection.execute((Path(__file__).parent / "objects.sql").read_bytes())
        _populate(stack)
        self._local = local
        return stack

    @property
    def url(self) -> str:
        """PostgREST's own address: what stands before it is the same for both sides, and would hide them."""
        _ = self.stack
        return self._local.rest_direct_url

    def user(self) -> User:
        """A new user with three keys."""
        user = self.stack.sign_up()
        for provider in KEYS:
            user.rpc("set_llm_key", provider=provider, key=key_for(provider))
        return user

    def request(self, user: User, name: str, **arguments: Any) -> load.Request:
        """Requests of one RPC as this user, once PostgREST knows it."""
        request = load.rpc(self.url, name, arguments, user.access_token)
        self._wait_until_known(request)
        return request

    def request_with_new_id(self, user: User, name: str, field: str, **arguments: Any) -> load.Request:
        """The same, with a new UUIDv7 in ``field`` each time."""
        request = load.rpc_with_new_id(self.url, name, arguments, user.access_token, field)
        self._wait_until_known(request)
        return request

    @cached_property
    def emulator(self) -> Emulator:
        """An emulator of the providers, where the project's catalogue points to."""
        emulator = self._exit.enter_context(running_emulator(pick_free(1)[0]))
        for provider in PROVIDERS:
            change = {"id": provider, "base_url": emulator.base_url(provider)}
            self.stack.admin("set_llm_provider", p_provider=change)
        return emulator

    def calls_seen(self, name: str) -> int:
        """How many calls of an RPC have reached the database."""
        _ = self.stack
        with psycopg.connect(self._local.superuser_url, autocommit=True) as connection:
            row = connection.execute(
                "select coalesce(sum(calls), 0)::integer from extensions.pg_stat_statements"
                " where query like %s",
                [f'WITH pgrst_source%"public"."{name}"(%'],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _wait_until_known(self, request: load.Request) -> None:
        def works() -> bool:
            connection = load.Connection(self.url)
            try:
                connection.seconds(request())
            except load.RefusedError as refused:
                if refused.status != 404:
                    raise
                return False
            finally:
                connection.close()
            return True

        wait_until(works)


def _populate(stack: Stack) -> None:
    """Have other users with keys, so that no table is empty, and statistics as autovacuum makes them."""
    others = [user.id for user in stack.crowd(_OTHER_USERS)]
    with stack.connect() as connection:
        connection.execute(
            "insert into public.user_llm_settings (user_id) select unnest(%s::uuid [])", [others]
        )
        connection.execute(
            "insert into public.llm_keys (user_id, provider, hint) select u, p, '…'"
            " from unnest(%s::uuid []) as u cross join unnest(%s::text []) as p",
            [others, list(KEYS)],
        )
        connection.execute(
            "insert into llm_private.key_secrets (user_id, key_id, master_key_id, ciphertext)"
            " select k.user_id, k.id, m.id, extensions.gen_random_bytes(160)"
            " from public.llm_keys as k cross join llm_private.master_keys as m"
        )
        connection.execute("analyze")
