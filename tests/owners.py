"""Users with a data key each, made in bulk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg


@contextlib.contextmanager
def many_owners(connection: psycopg.Connection[Any], count: int) -> Iterator[None]:
    """Add users with data keys, so that a rotation takes a while, and delete them at the end of the block."""
    connection.execute(
        "insert into auth.users (id, aud, role, email)"
        " select id, 'authenticated', 'authenticated', id || '@vault.test'"
        " from (select gen_random_uuid() as id from generate_series(1, %s)) as u",
        [count],
    )
    mine = "select id from auth.users where email like '%@vault.test'"
    connection.execute(f"select llm_private.ensure_key_owner(id, false) from ({mine}) as u".encode())
    try:
        yield
    finally:
        connection.execute(f"delete from auth.users where id in ({mine})".encode())
