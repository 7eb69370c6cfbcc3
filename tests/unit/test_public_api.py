"""The public names of supa_llm, and the cost of importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import supa_llm

PUBLIC = [
    "Admin",
    "Alert",
    "AsyncAdmin",
    "AsyncSupaLLM",
    "AsyncUserLLM",
    "Attempt",
    "AuditEntry",
    "AuditProblem",
    "AuditVerification",
    "BadRequestError",
    "Candidate",
    "ConfigurationChange",
    "ConfigurationError",
    "ConflictError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "FailedAttempt",
    "ForbiddenError",
    "Forecast",
    "InstalledVersion",
    "InvalidInputError",
    "Key",
    "KnownModel",
    "LocalError",
    "Maintenance",
    "MasterKey",
    "NoCandidateError",
    "NotFoundError",
    "NotSignedInError",
    "Price",
    "PriceChange",
    "Problem",
    "Provider",
    "ProviderError",
    "Quota",
    "QuotaExceededError",
    "Recalculation",
    "Receipt",
    "RecordedAttempt",
    "RecordedRequest",
    "Refusal",
    "Route",
    "Runtime",
    "RuntimeSecret",
    "Settings",
    "Skipped",
    "StreamInterruptedError",
    "SupaLLM",
    "SupaLLMError",
    "Team",
    "TeamDetails",
    "TeamInvitation",
    "TeamMember",
    "TeamMembership",
    "TicketKey",
    "TotalTimeoutError",
    "Usage",
    "UsageCheck",
    "UsageEvent",
    "UsageHint",
    "UsageLine",
    "User",
    "UserDataRemoval",
    "UserDetails",
    "UserLLM",
    "Vault",
    "VaultRotation",
    "async_export_events",
    "export_events",
    "lifespan",
]
HEAVY = ("supabase", "supabase_auth", "postgrest", "httpx", "openai", "pydantic", "asyncio", "ssl")


def test_the_public_names_are_complete() -> None:
    assert vars(supa_llm)["__all__"] == PUBLIC
    assert set(dir(supa_llm)) >= set(PUBLIC)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in PUBLIC:
        member = getattr(supa_llm, name)
        assert member.__name__ == name
        assert member.__doc__, name


def test_every_error_is_public_and_has_the_base_class() -> None:
    from supa_llm import errors

    defined = {
        name for name, it in vars(errors).items() if isinstance(it, type) and issubclass(it, Exception)
    }
    assert defined == {name for name in PUBLIC if name.endswith("Error")}
    assert all(issubclass(getattr(supa_llm, name), supa_llm.SupaLLMError) for name in defined)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(supa_llm, "nothing_of_this_name")


def test_importing_loads_nothing_heavy() -> None:
    script = f"import sys, supa_llm; supa_llm.SupaLLMError; print(sorted({set(HEAVY)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_is_typed() -> None:
    assert (Path(supa_llm.__file__).parent / "py.typed").exists()
