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
    from supa_llm.client.admin import Admin
    from supa_llm.client.async_client import AsyncSupaLLM, AsyncUserLLM
    from supa_llm.client.supallm import SupaLLM
    from supa_llm.client.user import UserLLM
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
    from supa_llm.values.alerts import Alert
    from supa_llm.values.audit import AuditEntry
    from supa_llm.values.keys import Key
    from supa_llm.values.maintenance import Maintenance
    from supa_llm.values.prices import Price, PriceChange
    from supa_llm.values.providers import KnownModel, Provider
    from supa_llm.values.quotas import Quota
    from supa_llm.values.recalculations import Recalculation
    from supa_llm.values.receipts import Attempt, Receipt, Usage
    from supa_llm.values.requests import RecordedAttempt, RecordedRequest
    from supa_llm.values.routes import Candidate, Route, Skipped
    from supa_llm.values.settings import Settings
    from supa_llm.values.usage import Forecast, UsageCheck, UsageEvent, UsageHint, UsageLine

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
    "Admin": "client.admin",
    "Alert": "values.alerts",
    "AsyncSupaLLM": "client.async_client",
    "AsyncUserLLM": "client.async_client",
    "Attempt": "values.receipts",
    "AuditEntry": "values.audit",
    "Candidate": "values.routes",
    "Forecast": "values.usage",
    "Key": "values.keys",
    "KnownModel": "values.providers",
    "Maintenance": "values.maintenance",
    "Price": "values.prices",
    "PriceChange": "values.prices",
    "Provider": "values.providers",
    "Quota": "values.quotas",
    "Recalculation": "values.recalculations",
    "Receipt": "values.receipts",
    "RecordedAttempt": "values.requests",
    "RecordedRequest": "values.requests",
    "Route": "values.routes",
    "Settings": "values.settings",
    "Skipped": "values.routes",
    "SupaLLM": "client.supallm",
    "Usage": "values.receipts",
    "UsageCheck": "values.usage",
    "UsageEvent": "values.usage",
    "UsageHint": "values.usage",
    "UsageLine": "values.usage",
    "UserLLM": "client.user",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "errors")
    value = globals()[name] = getattr(import_module(f"supa_llm.{home}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
