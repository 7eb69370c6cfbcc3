"""Bring-your-own-key LLM settings for every user of a Supabase app.

    from supabase import create_client
    from supa_llm import SupaLLM

    sb = create_client(url, publishable_key)
    llm = SupaLLM(sb)
    sb.auth.sign_in_with_password({"email": email, "password": password})

    llm.set_key("openai", "sk-…")
    answer = llm.chat("What is the capital of France?", task="speed")
    print(answer.text, answer.answered_by)

Importing this package is cheap: what needs ``supabase`` or an HTTP library is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supa_llm.admin import Admin
    from supa_llm.async_client import AsyncSupaLLM, AsyncUserLLM
    from supa_llm.client import SupaLLM
    from supa_llm.errors import (
        BadRequestError,
        ConfigurationError,
        ConflictError,
        DatabaseError,
        DatabaseUnavailableError,
        ForbiddenError,
        InvalidInputError,
        LocalError,
        NoCandidateError,
        NotFoundError,
        NotSignedInError,
        ProviderError,
        QuotaExceededError,
        StreamInterruptedError,
        SupaLLMError,
        TotalTimeoutError,
    )
    from supa_llm.ledger import Alert, Price, PriceChange, Quota
    from supa_llm.models import (
        Attempt,
        AuditEntry,
        Candidate,
        Key,
        KnownModel,
        Provider,
        Receipt,
        Route,
        Settings,
        Skipped,
        Usage,
    )
    from supa_llm.usage import (
        Forecast,
        Maintenance,
        Recalculation,
        RecordedAttempt,
        RecordedRequest,
        UsageCheck,
        UsageEvent,
        UsageHint,
        UsageLine,
    )
    from supa_llm.user import UserLLM

__all__ = [
    "Admin",
    "Alert",
    "AsyncSupaLLM",
    "AsyncUserLLM",
    "Attempt",
    "AuditEntry",
    "BadRequestError",
    "Candidate",
    "ConfigurationError",
    "ConflictError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "ForbiddenError",
    "Forecast",
    "InvalidInputError",
    "Key",
    "KnownModel",
    "LocalError",
    "Maintenance",
    "NoCandidateError",
    "NotFoundError",
    "NotSignedInError",
    "Price",
    "PriceChange",
    "Provider",
    "ProviderError",
    "Quota",
    "QuotaExceededError",
    "Recalculation",
    "Receipt",
    "RecordedAttempt",
    "RecordedRequest",
    "Route",
    "Settings",
    "Skipped",
    "StreamInterruptedError",
    "SupaLLM",
    "SupaLLMError",
    "TotalTimeoutError",
    "Usage",
    "UsageCheck",
    "UsageEvent",
    "UsageHint",
    "UsageLine",
    "UserLLM",
]

_HOMES = {
    "Admin": "admin",
    "AsyncSupaLLM": "async_client",
    "AsyncUserLLM": "async_client",
    "Alert": "ledger",
    "Price": "ledger",
    "PriceChange": "ledger",
    "Quota": "ledger",
    "Forecast": "usage",
    "Maintenance": "usage",
    "RecordedAttempt": "usage",
    "RecordedRequest": "usage",
    "Recalculation": "usage",
    "SupaLLM": "client",
    "UsageCheck": "usage",
    "UsageEvent": "usage",
    "UsageHint": "usage",
    "UsageLine": "usage",
    "UserLLM": "user",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "errors" if name.endswith("Error") else "models")
    value = globals()[name] = getattr(import_module(f"supa_llm.{home}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
