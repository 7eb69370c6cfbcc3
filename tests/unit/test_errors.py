"""The HTTP status with which a server reports each error."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from supa_llm import errors
from supa_llm.errors import NoCandidateError, ProviderError, SupaLLMError
from supa_llm.values.receipts import Attempt, ErrorClass, Receipt

STATUS = {
    "SupaLLMError": 500,
    "ConfigurationError": 500,
    "LocalError": 500,
    "NotSignedInError": 401,
    "ForbiddenError": 403,
    "InvalidInputError": 400,
    "ConflictError": 409,
    "NotFoundError": 404,
    "NoCandidateError": 401,
    "QuotaExceededError": 429,
    "ProviderError": 502,
    "BadRequestError": 400,
    "TotalTimeoutError": 504,
    "StreamInterruptedError": 502,
    "DatabaseError": 502,
    "DatabaseUnavailableError": 503,
}


def classes(kind: type[SupaLLMError] = SupaLLMError) -> Iterator[type[SupaLLMError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from classes(below)


def receipt(*failures: ErrorClass) -> Receipt:
    attempts = (
        Attempt(number, "groq", "m", "user", None, None, "failed", 1, False, error_class=failure)
        for number, failure in enumerate(failures, 1)
    )
    return Receipt(UUID(int=1), None, tuple(attempts))


def test_each_class_has_its_status() -> None:
    assert {
        kind.__name__: kind.http_status for kind in classes() if kind.__module__ == errors.__name__
    } == STATUS


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unsupported_request", 400),
        ("keys_rate_limited", 429),
        ("too_many_key_checks", 429),
        ("too_many_reveals", 429),
    ],
)
def test_some_codes_have_their_own_status(code: str, status: int) -> None:
    assert NoCandidateError("No.", code=code).http_status == status


def test_a_temporarily_empty_route_is_429() -> None:
    assert NoCandidateError("No.").http_status == 401
    assert NoCandidateError("No.", retry_after=0).http_status == 429


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ((), 502),
        (("auth", "auth"), 401),
        (("timeout",), 504),
        (("auth", "timeout"), 502),
        (("server_error",), 502),
    ],
)
def test_attempts_that_failed_in_the_same_way_give_their_status(
    failures: tuple[ErrorClass, ...], status: int
) -> None:
    assert ProviderError("No.", receipt=receipt(*failures)).http_status == status


def test_a_bad_request_keeps_the_providers_status() -> None:
    assert errors.BadRequestError("No.", receipt=receipt("bad_request"), status=422).http_status == 422
    assert errors.BadRequestError("No.", receipt=receipt("bad_request")).http_status == 400


def test_a_total_timeout_is_504_however_its_attempts_failed() -> None:
    assert errors.TotalTimeoutError("No.", receipt=receipt("auth")).http_status == 504
