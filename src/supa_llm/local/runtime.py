"""Registers the stack's own runtime, so that apps on this machine get keys without further setup."""

from __future__ import annotations

from supa_llm.local.postgres import connect
from supa_llm.local.stack_keys import StackKeys

#: Also if it was revoked, the runtime is not registered again.
_NAME = "local stack"


def register(*, db_port: int, keys: StackKeys) -> None:
    """Register the runtime with the stack's secret once, if the project has supa-llm."""
    with connect(db_port, keys) as connection, connection.transaction():
        installed = connection.execute("select to_regclass('llm_private.runtimes')").fetchone()
        if installed == (None,):
            return
        if connection.execute("select 1 from llm_private.runtimes where name = %s", [_NAME]).fetchone():
            return
        connection.execute("select public.register_llm_runtime(%s)", [_NAME])
        # The database makes a secret up. The stack's own one stays the same when the database is recreated.
        connection.execute(
            "update llm_private.runtimes set secret_hash = sha256(%s) where name = %s",
            [keys.runtime_secret.encode(), _NAME],
        )
