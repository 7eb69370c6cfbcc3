"""Every error that supa-llm raises, and the classes of the database's coded errors.

    SupaLLMError                    base class of every error
    ├── ConfigurationError          the app is set up incorrectly: a missing extra, a wrong client
    │   └── LocalError              a command of the local stack failed
    ├── NotSignedInError            no user is signed in, or the access token has expired
    ├── ForbiddenError              the user or the runtime may not do this
    ├── InvalidInputError           an argument is invalid; the message names it and what is allowed
    ├── ConflictError               the settings changed since they were read
    ├── NotFoundError               the requested object does not exist
    ├── NoCandidateError            the route is empty; the hint names what the user can do
    │   └── QuotaExceededError      too little of a quota is left; the message has the figures
    ├── ProviderError               every provider that was tried failed
    │   ├── BadRequestError         the provider refused the request; another would too
    │   ├── TotalTimeoutError       the request reached its total timeout
    │   └── StreamInterruptedError  the answer broke off after its first byte
    └── DatabaseError               the Supabase project returned an unexpected response
        └── DatabaseUnavailableError  the Supabase project did not respond

Each has a stable ``code`` (listed in docs/errors.md), a message for people, a ``hint`` that says what to do
next, and the ``http_status`` with which a server reports it. No message, hint, repr or chained exception
holds a provider key, an access token or a runtime secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supa_llm.values.receipts import Receipt
    from supa_llm.values.routes import Skipped


# Codes whose HTTP status is not that of their class.
_STATUS_OF_CODE: Mapping[str, int] = {
    "context_too_long": 400,
    "keys_rate_limited": 429,
    "too_many_changes": 429,
    "too_many_events": 429,
    "too_many_key_checks": 429,
    "too_many_reveals": 429,
    "unsupported_request": 400,
}
# The HTTP status when every attempt failed in the same way; existing code expects the provider's own.
_STATUS_OF_ERROR_CLASS: Mapping[str | None, int] = {
    "auth": 401,
    "forbidden": 403,
    "not_found": 404,
    "rate_limited": 429,
    "out_of_credit": 429,  # as OpenAI
    "timeout": 504,
}


class SupaLLMError(Exception):
    """Base class of every supa-llm error.

    Attributes:
        code: stable identifier for programs, such as ``key_malformed``.
        hint: what to do next; empty if there is nothing to add.
        http_status: status with which a server reports the error.
    """

    code = "error"
    http_status = 500

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.hint = hint
        self.http_status = _STATUS_OF_CODE.get(self.code, self.http_status)

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class ConfigurationError(SupaLLMError):
    """The app is set up incorrectly."""

    code = "configuration"


class LocalError(ConfigurationError):
    """A command of the local stack failed."""

    code = "local"


class NotSignedInError(SupaLLMError):
    """No user is signed in, or the access token has expired."""

    code = "not_signed_in"
    http_status = 401


class ForbiddenError(SupaLLMError):
    """The user or the runtime may not do this."""

    code = "forbidden"
    http_status = 403


class InvalidInputError(SupaLLMError):
    """An argument is invalid; the message names it and what is allowed."""

    code = "invalid_argument"
    http_status = 400


class ConflictError(SupaLLMError):
    """The settings changed since they were read. Read them again and repeat the change."""

    code = "settings_changed"
    http_status = 409


class NotFoundError(SupaLLMError):
    """The requested object does not exist."""

    code = "not_found"
    http_status = 404


class NoCandidateError(SupaLLMError):
    """No provider can serve this request.

    Attributes:
        skipped: the providers that cannot serve the request, with the reasons, if known.
        retry_after: seconds until a key is no longer rate-limited or a quota resets; None if waiting does not
            help.
    """

    code = "no_candidate"
    http_status = 401  # what existing code gets from a provider without a valid key

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        skipped: tuple[Skipped, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.skipped = skipped
        self.retry_after = retry_after
        if retry_after is not None:
            self.http_status = 429


class QuotaExceededError(NoCandidateError):
    """Too little of a quota is left for this request; the message says how much, and when it resets."""

    code = "quota_exceeded"
    http_status = 429


class ProviderError(SupaLLMError):
    """Every provider that was tried failed.

    Attributes:
        receipt: the attempts.
        status: HTTP status of the last provider that responded; None if none did.
        retry_after: seconds after which a retry may succeed; None if no provider named a time.
    """

    code = "all_candidates_failed"
    http_status = 502

    def __init__(
        self,
        message: str,
        *,
        receipt: Receipt,
        code: str | None = None,
        hint: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.receipt = receipt
        self.status = status
        self.retry_after = retry_after
        self.http_status = self._http_status()

    def _http_status(self) -> int:
        failures = {attempt.error_class for attempt in self.receipt.attempts}
        only = failures.pop() if len(failures) == 1 else None
        return _STATUS_OF_ERROR_CLASS.get(only, self.http_status)


class BadRequestError(ProviderError):
    """The provider refused the request, so it was not sent to another one; or every provider refused it.

    Attributes:
        body: the provider's error object in the OpenAI format, with anything that resembles a key masked.
    """

    code = "bad_request"
    http_status = 400
    body: Mapping[str, Any] | None = None

    def _http_status(self) -> int:
        return self.status or self.http_status


class TotalTimeoutError(ProviderError):
    """The request reached its total timeout before a provider answered."""

    code = "total_timeout"
    http_status = 504

    def _http_status(self) -> int:
        return self.http_status


class StreamInterruptedError(ProviderError):
    """The answer broke off after its first byte, when a fallback would corrupt it."""

    code = "stream_interrupted"


class DatabaseError(SupaLLMError):
    """The Supabase project returned an unexpected response."""

    code = "database_error"
    http_status = 502


class DatabaseUnavailableError(DatabaseError):
    """The Supabase project did not respond."""

    code = "database_unavailable"
    http_status = 503


#: Class of a coded database error by its HTTP status (SQLSTATE ``PTxyz`` is HTTP xyz).
BY_STATUS: Mapping[int, type[SupaLLMError]] = {
    400: InvalidInputError,
    401: NotSignedInError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: NoCandidateError,
    429: NoCandidateError,
}

#: Codes with a class of their own.
BY_CODE: Mapping[str, type[SupaLLMError]] = {"quota_exceeded": QuotaExceededError}
