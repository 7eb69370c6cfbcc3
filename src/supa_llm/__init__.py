"""Bring-your-own-key LLM settings for every user of a Supabase app.

    from supabase import create_client
    from supa_llm import SupaLLM

    sb = create_client(url, publishable_key)
    llm = SupaLLM(sb)
    sb.auth.sign_in_with_password({"email": email, "password": password})

    llm.set_key("openai", "sk-…")
    answer = llm.chat("What is the capital of France?", task="speed")
    print(answer.text, answer.answered_by)

Importing this package is cheap: each public name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _read_homes() -> dict[str, str]:
    """Public name → its module, from the stub beside this file, which type checkers read too."""
    stub = __loader__.get_data(f"{__file__}i").decode()
    homes = {}
    for line in stub.splitlines():
        match line.split():
            case ["from", module, "import", name, "as", _]:
                homes[name] = module
    return homes


_HOMES = _read_homes()
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
