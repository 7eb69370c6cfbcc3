"""Errors of a request: what went wrong at each provider, and what the user can do."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from supa_llm.errors import (
    BadRequestError,
    NoCandidateError,
    ProviderError,
    StreamInterruptedError,
    TotalTimeoutError,
)
from supa_llm.values.receipts import Attempt, Receipt
from supa_llm.values.routes import Route, Skipped
from supa_llm.values.secrets import Secret

#: Error classes of refusals that another candidate might not make.
REFUSALS = frozenset({"context_too_long", "unsupported"})
_LONGEST_MESSAGE = 500

_KEY_LIKE = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|pplx|csk|nvapi|hf|key|sb_secret)[-_][\w*.…-]{6,}"
    r"|\bAIza[\w*.…-]{6,}|\bAQ\.[\w-]{10,}"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+)*"
    r"|\bBearer\s+\S+",
    re.IGNORECASE,
)


def mask(text: str, key: Secret) -> str:
    """``text`` without the key and anything that looks like a key, cut to 500 characters."""
    text = _KEY_LIKE.sub("…", text.replace(key.reveal(), "…"))
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def mask_error(error: Mapping[str, Any], key: Secret) -> dict[str, Any]:
    """A provider's error object with its texts masked at any depth."""

    def masked(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value, key)
        if isinstance(value, Mapping):
            return {mask(str(name), key): masked(inner) for name, inner in value.items()}
        return [masked(inner) for inner in value] if isinstance(value, list) else value

    return {mask(name, key): masked(value) for name, value in error.items()}


def nothing_tried(route: Route, skipped: Sequence[Skipped]) -> NoCandidateError:
    """The route has candidates, but none of them could be tried."""
    reasons = " ".join(f"{it.provider}: {it.message}" for it in skipped)
    given = {it.reason for it in skipped}
    code = None
    hint = route.advice or "Add a provider key in the LLM settings."
    if "unsupported_request" in given:
        code = "unsupported_request"
        hint = "Remove the named parameter, or add a provider that supports it."
    elif "context_too_long" in given:
        code = "context_too_long"
        hint = "Shorten the request, or choose a model with a larger context window."
    return NoCandidateError(
        f"No provider on the route can serve this request. {reasons}".rstrip(),
        code=code,
        hint=hint,
        skipped=tuple(skipped),
    )


def failed(receipt: Receipt, *, out_of_time: bool = False) -> ProviderError:
    """Every candidate failed, or no time was left for the next one."""
    lines = "; ".join(map(_line, receipt.attempts)) or "no provider was tried"
    hints = dict.fromkeys(hint for attempt in receipt.attempts if (hint := _hint(attempt)))
    waits = [it.retry_after for it in receipt.attempts if it.retry_after is not None]
    statuses = [it.status for it in receipt.attempts if it.status is not None]
    error_type = TotalTimeoutError if out_of_time else ProviderError
    return error_type(
        f"{'The request timed out' if out_of_time else 'No provider answered'}: {lines}.",
        hint=" ".join(hints),
        receipt=receipt,
        status=statuses[-1] if statuses else None,
        retry_after=min(waits, default=None),
    )


def refused(receipt: Receipt, body: Mapping[str, Any] | None) -> BadRequestError:
    """A provider refused the request itself."""
    attempt = receipt.attempts[-1]
    error = BadRequestError(
        f"{attempt.provider} refused the request for {attempt.model}: {attempt.message}",
        hint="Change the request; it was not sent to another provider.",
        receipt=receipt,
        status=attempt.status,
    )
    error.body = body
    return error


def refused_by_all(receipt: Receipt, body: Mapping[str, Any] | None) -> BadRequestError:
    """Every candidate refused the request, each for a reason that another one might not have had."""
    too_long = all(attempt.error_class == "context_too_long" for attempt in receipt.attempts)
    error = BadRequestError(
        f"Every provider refused the request: {'; '.join(map(_line, receipt.attempts))}.",
        code="context_too_long" if too_long else "unsupported_request",
        hint="Shorten the messages, lower max_tokens, or choose a model with a longer context."
        if too_long
        else "Change what the providers do not support, or add a provider that supports it.",
        receipt=receipt,
        status=400,
    )
    error.body = body
    return error


def interrupted(receipt: Receipt) -> StreamInterruptedError:
    """A stream broke off after part of the answer had been delivered."""
    attempt = receipt.attempts[-1]
    return StreamInterruptedError(
        f"The answer broke off: {_line(attempt)}.",
        hint="Send the request again; the answer so far is incomplete.",
        receipt=receipt,
        status=attempt.status,
        retry_after=attempt.retry_after,
    )


_PROBLEMS: Mapping[str, str] = {
    "auth": "rejected {key}",
    "forbidden": "does not allow this for {key}",
    "rate_limited": "rate-limits {key}",
    "out_of_credit": "has no credit left for {key}",
    "context_too_long": "does not take a request of this length",
    "unsupported": "does not support this request",
    "not_found": "does not have the model",
    "server_error": "reported a server error",
    "timeout": "did not answer in time",
    "connection": "could not be reached",
    "invalid_response": "sent an invalid response",
}
_WHOSE = {"user": "your key", "team": "the team's key", "operator": "the operator's key"}


def _line(attempt: Attempt) -> str:
    key = " ".join(filter(None, [_WHOSE[attempt.key_source], attempt.key_hint and f"({attempt.key_hint})"]))
    problem = _PROBLEMS.get(attempt.error_class or "", "failed").format(key=key)
    status = f" [{attempt.status}]" if attempt.status else ""
    detail = f": {attempt.message.rstrip('. ')}" if attempt.message else ""
    return f"{attempt.provider}/{attempt.model} {problem}{status}{detail}"


def _hint(attempt: Attempt) -> str:
    provider = attempt.provider
    if attempt.error_class == "auth":
        return {
            "user": f"Replace your {provider} key in the LLM settings.",
            "team": f"Ask the team's administrator to replace its {provider} key.",
            "operator": f"Contact the app's support: the app's {provider} key was rejected.",
        }[attempt.key_source]
    if attempt.error_class == "rate_limited":
        wait = f"in {math.ceil(attempt.retry_after)} s" if attempt.retry_after else "later"
        return f"Try {provider} again {wait}, or add a key of another provider."
    if attempt.error_class == "out_of_credit":
        return {
            "user": f"Add credit to your {provider} account, or add a key of another provider.",
            "team": f"Ask the team's administrator to add credit to its {provider} account.",
            "operator": f"Contact the app's support: the app's {provider} account has no credit left.",
        }[attempt.key_source]
    if attempt.error_class in REFUSALS:
        return f"Choose another {provider} model in the LLM settings, or change the request."
    if attempt.error_class in ("forbidden", "not_found"):
        return f"Choose another {provider} model in the LLM settings."
    return "Try again later, or add a key of another provider."
