"""What a provider's refusal means. Many say it only in words, or with a status for something else.

Three classes are refusals that another candidate might not make: ``context_too_long``, ``unsupported`` (a
parameter, a kind of content or a replayed thought that this model or server does not take, or a tool call
that it could not generate) and ``auth``. ``out_of_credit`` is about the account: waiting does not help.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from supa_llm.values.receipts import ErrorClass

#: Statuses with which providers refuse a request; some also use 200, or 500 for a long context.
_REFUSED = frozenset({200, 400, 413, 422})

_CREDIT_CODES = frozenset({
    "insufficient_quota", "billing_error", "insufficient_balance", "insufficient_credits", "arrearage",
    "billing_not_active", "billing_hard_limit_reached", "exceeded_current_quota_error",
})  # fmt: skip
_CODES: Mapping[str, ErrorClass] = {
    "context_length_exceeded": "context_too_long",
    "exceed_context_size_error": "context_too_long",
    "request_too_large": "context_too_long",
    "string_above_max_length": "context_too_long",
    "tokens_limit_reached": "context_too_long",
    "tool_use_failed": "unsupported",
    "json_validate_failed": "unsupported",
    "unsupported_parameter": "unsupported",
    "unsupported_value": "unsupported",
    "extra_forbidden": "unsupported",
    "invalid_api_key": "auth",
    "api_key_invalid": "auth",
    "authentication_error": "auth",
}
_CREDIT = re.compile(
    r"credit balance|(?:insufficient|not enough|no|out of|requires more|all available) (?:account )?"
    r"(?:balance|credits?\b|funds)|credits? (?:are|is|has been|have been) (?:depleted|exhausted)"
    r"|(?:monthly|team's) spend(?:ing)? (?:cap|limit)|billing to be enabled",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"context (?:length|window|size|limit)|maximum (?:prompt|model) length|prompt (?:is )?too long"
    r"|input is too long|token count .{0,40}exceeds|request (?:body )?too large|reduce the length of"
    r"|too many (?:input )?tokens: |inputs` tokens \+ `max_new_tokens|when context the overflows",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?:api key|x-api-key) (?:is )?(?:not valid|invalid|expired)"
    r"|(?:invalid|incorrect) (?:api key|x-api-key)",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"not support(?:ed)?\b|unsupported|only supported (?:by|in|on|with)|not enabled for|is unavailable now"
    r"|extra inputs are not permitted|unknown (?:variant|parameter|field)|unrecognized (?:request|key|field)"
    r"|not a (?:multimodal|chat) model|use /v1/responses|tool choice requires|failed to (?:call|parse) a? ?"
    r"(?:function|tool)|reasoning_content|thought_signature|`(?:redacted_)?thinking`"
    r"|max_tokens.{0,40}(?:too large|maximum allowed)",
    re.IGNORECASE,
)


def refusal(status: int, codes: Iterable[object], message: str) -> ErrorClass | None:
    """The class of an error that its codes or words give away; None if the status decides.

    Example:
        >>> refusal(400, ["invalid_request_error"], "prompt is too long: 210000 tokens > 200000 maximum")
        'context_too_long'
    """
    names = [code.lower() for code in codes if isinstance(code, str)]
    if status == 402 or not _CREDIT_CODES.isdisjoint(names):
        return "out_of_credit"
    if status < 500 and status != 404 and _CREDIT.search(message):
        return "out_of_credit"
    if status == 429:
        # Too large for the limit of a minute, so that waiting does not help.
        return "context_too_long" if re.search("request too large", message, re.IGNORECASE) else None
    if status not in _REFUSED:
        long = status >= 500 and ("exceed_context_size_error" in names or _LONG.search(message))
        return "context_too_long" if long else None
    if known := next((_CODES[name] for name in names if name in _CODES), None):
        return known
    if status == 413 or _LONG.search(message):
        return "context_too_long"
    if _KEY.search(message):
        return "auth"
    return "unsupported" if _UNSUPPORTED.search(message) else None
