"""The vault: rotating the master key of a project with many keys."""

from __future__ import annotations

import time
from statistics import median

from bench.lab import Lab
from bench.measure import Measured
from supa_llm import Admin
from tests.owners import many_owners
from tests.support import Stack

_KEYS = 100_000
_MINUTE = 60


def vault_rotate(lab: Lab, rounds: int = 3) -> Measured:
    """Rotations through the API, in batches, as `supa-llm vault rotate` does them."""
    stack = lab.small.stack
    with stack.connect() as connection, many_owners(connection, _KEYS):
        # A key for each of them, encrypted with their data key.
        connection.execute(
            "with stored as ("
            " insert into public.llm_keys (owner_id, provider, hint)"
            " select id, 'openai', '…' from llm_private.key_owners as o"
            " where not exists (select from public.llm_keys as k where k.owner_id = o.id)"
            " returning owner_id, id)"
            " insert into llm_private.key_secrets (owner_id, key_id, ciphertext)"
            " select s.owner_id, s.id, llm_private.encrypt_key("
            "  s.owner_id, s.id, 'sk-fake', llm_private.data_key(s.owner_id)) from stored as s"
        )
        connection.execute("analyze llm_private.key_owners")
        with Admin(stack.api_url, stack.secret_key) as admin:
            seconds = [_seconds(admin) for _ in range(rounds)]
        opened = _opened(stack)
    return Measured(
        [each / _MINUTE for each in seconds],
        {"seconds": round(median(seconds), 2), "keys": _KEYS, "keys_read_afterwards": opened},
    )


def _seconds(admin: Admin) -> float:
    begun = time.perf_counter()
    rewrapped = sum(state.rewrapped for state in admin.rotate_vault())
    taken = time.perf_counter() - begun
    assert rewrapped >= _KEYS, rewrapped
    return taken


def _opened(stack: Stack) -> int:
    with stack.connect() as connection:
        row = connection.execute(
            # First these owners, because the keys of the project's other users are made up and do not open.
            "with ours as materialized ("
            " select s.owner_id, s.key_id from llm_private.key_secrets as s"
            " inner join auth.users as u on s.owner_id = u.id and u.email like '%@vault.test')"
            " select count(*) from ours where llm_private.stored_key(owner_id, key_id) = 'sk-fake'"
        ).fetchone()
    assert row
    return int(row[0])
