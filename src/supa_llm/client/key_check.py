"""Checks a key with its provider. A server does this, never a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import httpx

from supa_llm.engine.drivers import async_guarded
from supa_llm.engine.failures import mask
from supa_llm.values.key_checks import KeyCheck
from supa_llm.values.receipts import ErrorClass
from supa_llm.values.secrets import Secret
from supa_llm.wire import WIRES
from supa_llm.wire.base import FaultError, Wire, json_or_text
from supa_llm.wire.waits import believable, retry_after

Result = Literal["works", "rejected", "unknown"]

#: Seconds that a provider may take to respond.
_PATIENCE = 10.0
#: Bytes of an error body that are read.
_ERROR_BODY = 65_536

#: Why a check has no result, by error class.
_INCONCLUSIVE: Mapping[ErrorClass, str] = {
    "forbidden": "The provider accepts the key, but the key may not list models.",
    "rate_limited": "The provider is rate-limiting this key.",
    "out_of_credit": "The provider account of this key has no credit left.",
    "bad_request": "The provider refused the request.",
    "context_too_long": "The provider refused the request.",
    "unsupported": "The provider refused the request.",
    "not_found": "The provider has no such address.",
    "server_error": "The provider reported a server error.",
    "timeout": "The provider did not respond in time.",
    "connection": "The provider could not be reached.",
    "invalid_response": "Unexpected response from the provider.",
}


@dataclass(frozen=True, slots=True)
class KeyCheckResult:
    """The result of a key check.

    Attributes:
        reason: ``ok``, the error class, or ``unknown_wire_format``.
        message: a sentence for the user.
        detail: the provider's own error message, or empty; never contains the key.
        retry_after: seconds that the provider asked to wait; None if it did not.
    """

    result: Result
    reason: str
    message: str
    detail: str = ""
    retry_after: float | None = None


async def check_key(check: KeyCheck, key: Secret, http: httpx.AsyncClient) -> KeyCheckResult:
    """Send the provider a free request that requires a valid key.

    The key is sent only to the provider's own address, and no redirect is followed with it. It never raises:
    a failed check is a result too.

        result = await check_key(check, check.key, http)
    """
    wire = WIRES.get(check.wire_format)
    if wire is None:  # a newer database may have formats that this version lacks
        return KeyCheckResult(
            "unknown",
            "unknown_wire_format",
            f"This version of supa-llm does not support the wire format {check.wire_format!r}.",
        )
    try:
        status, headers, body = await async_guarded(_get(wire, check, key, http), _PATIENCE)
    except FaultError as fault:
        return _inconclusive(fault, key)
    if 200 <= status < 300:
        return KeyCheckResult("works", "ok", "The key works.")
    if 300 <= status < 400:
        return _inconclusive(
            FaultError("invalid_response", "it redirects, and keys are never sent to a redirect"), key
        )
    try:
        refusal = wire.fault(status, json_or_text(body))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        refusal = FaultError("invalid_response", "")
    if refusal.error_class == "auth":
        return KeyCheckResult(
            "rejected", "auth", "The provider rejected the key.", mask(refusal.message, key)
        )
    return _inconclusive(refusal, key, retry_after(headers) or believable(refusal.retry_after))


async def _get(
    wire: Wire, check: KeyCheck, key: Secret, http: httpx.AsyncClient
) -> tuple[int, Mapping[str, str], bytes]:
    value = f"{check.key_scheme} {key.reveal()}" if check.key_scheme else key.reveal()
    # Built without the client, which might add headers or cookies.
    request = httpx.Request(
        "GET",
        check.base_url.rstrip("/") + (check.key_check_path or wire.models_path),
        headers={**wire.models_headers, "accept": "application/json", check.key_header: value},
        extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _PATIENCE)},
    )
    response = await http.send(request, stream=True, auth=None, follow_redirects=False)
    body = b""
    try:
        if not response.is_success:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) >= _ERROR_BODY:
                    break
    finally:
        await response.aclose()
    names = {name.lower(): text for name, text in response.headers.items()}
    return response.status_code, names, body


def _inconclusive(fault: FaultError, key: Secret, wait: float | None = None) -> KeyCheckResult:
    reason = fault.error_class
    detail = mask(fault.message, key)
    # A key that no HTTP header can carry was never sent.
    if reason == "auth":
        return KeyCheckResult("rejected", "auth", "The key contains a character that cannot be sent.", detail)
    return KeyCheckResult("unknown", reason, _INCONCLUSIVE[reason], detail, wait)
