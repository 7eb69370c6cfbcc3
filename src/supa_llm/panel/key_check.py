"""Does a key work? Asked of the provider by a runtime, with three answers; never by a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from supa_llm.engine.drivers import async_guarded
from supa_llm.engine.failures import mask
from supa_llm.values.key_checks import KeyCheck
from supa_llm.values.receipts import ErrorClass
from supa_llm.values.secrets import Secret
from supa_llm.wire import WIRES
from supa_llm.wire.base import FaultError
from supa_llm.wire.waits import believable, retry_after

Result = Literal["works", "rejected", "unknown"]

#: Seconds that a provider has for its answer.
_PATIENCE = 10.0
#: Bytes of an error body that are read.
_ERROR_BODY = 65_536

#: Why it could not be told, by class of error.
_UNTOLD: Mapping[ErrorClass, str] = {
    "forbidden": "The provider knows the key, but does not let it list models.",
    "rate_limited": "The provider asks to wait, or its account has no credit left.",
    "bad_request": "The provider does not understand the question.",
    "not_found": "The provider has nothing at the address that is asked for this.",
    "server_error": "The provider has a fault of its own just now.",
    "timeout": "The provider did not answer in time.",
    "connection": "The provider could not be reached.",
    "invalid_response": "The answer is none that a provider gives.",
}


@dataclass(frozen=True, slots=True)
class KeyCheckResult:
    """What a provider said of a key.

    Attributes:
        reason: ``ok``, or the class of the error.
        message: a sentence for people.
        said: what the provider itself said of it, or empty; never holds the key.
        retry_after: seconds that the provider asked to wait, where it did.
    """

    result: Result
    reason: str
    message: str
    said: str = ""
    retry_after: float | None = None


async def check_key(test: KeyCheck, key: Secret, http: httpx.AsyncClient) -> KeyCheckResult:
    """Ask the provider of ``test`` for something that costs nothing and takes a key that works.

    The key goes to the provider's own address and no redirect is followed with it. Nothing is raised: what
    goes wrong is an answer too.

        result = await check_key(test, test.key, http)
    """
    try:
        status, headers, body = await async_guarded(_get(test, key, http), _PATIENCE)
    except FaultError as fault:
        return _untold(fault, key)
    if 200 <= status < 300:
        return KeyCheckResult("works", "ok", "The provider takes the key.")
    if 300 <= status < 400:
        return _untold(FaultError("invalid_response", "it redirects, and no key follows a redirect"), key)
    try:
        refusal = WIRES[test.wire_format].fault(status, _json_or_text(body))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        refusal = FaultError("invalid_response", "")
    if refusal.error_class == "auth":
        return KeyCheckResult("rejected", "auth", "The provider rejects the key.", mask(refusal.message, key))
    return _untold(refusal, key, retry_after(headers) or believable(refusal.retry_after))


async def _get(test: KeyCheck, key: Secret, http: httpx.AsyncClient) -> tuple[int, Mapping[str, str], bytes]:
    wire = WIRES[test.wire_format]
    value = f"{test.key_scheme} {key.reveal()}" if test.key_scheme else key.reveal()
    # Built apart from the client, which might add headers or cookies to it.
    request = httpx.Request(
        "GET",
        test.base_url.rstrip("/") + (test.key_check_path or wire.models_path),
        headers={**wire.models_headers, "accept": "application/json", test.key_header: value},
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


def _untold(fault: FaultError, key: Secret, wait: float | None = None) -> KeyCheckResult:
    reason = fault.error_class
    said = mask(fault.message, key)
    # A key that no header can carry was never sent.
    if reason == "auth":
        return KeyCheckResult("rejected", "auth", "The key cannot be sent.", said)
    return KeyCheckResult("unknown", reason, _UNTOLD[reason], said, wait)


def _json_or_text(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
