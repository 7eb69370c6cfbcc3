"""Every error that supa-llm raises, and what the database's coded errors become.

    SupaLLMError                    catch this one to catch them all
    ├── ConfigurationError          the app wired something up wrongly: a missing extra, a wrong client
    │   └── LocalError              the local stack could not do what was asked
    ├── NotSignedInError            no user: nobody signed in, or the access token has expired
    ├── ForbiddenError              the user or the runtime may not do this
    ├── InvalidInputError           an argument is wrong; the message names it and what is allowed
    ├── ConflictError               somebody else changed the settings first
    ├── NotFoundError               what was named does not exist
    ├── NoCandidateError            the route is empty; the hint says what this user can do
    │   └── QuotaExceededError      a quota does not leave enough; the message has the figures
    ├── ProviderError               providers were tried and none answered
    │   ├── BadRequestError         the provider refused the request itself; another would too
    │   ├── TotalTimeoutError       the request's total time ran out
    │   └── StreamInterruptedError  the answer broke off after its first byte
    └── DatabaseError               the Supabase project answered in an unexpected way
        └── DatabaseUnavailableError  it did not answer at all

Each has a stable ``code`` (listed in docs/errors.md), a message for people and a ``hint`` that says what
to do next. No message, hint, repr or chained exception holds a provider key, an access token or a
runtime secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supa_llm.values.receipts import Receipt
    from supa_llm.values.routes import Skipped


class SupaLLMError(Exception):
    """Base of all errors of supa-llm.

    Attributes:
        code: stable, for programs, such as ``key_malformed``.
        hint: what to do next, for people; empty where there is nothing to add.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class ConfigurationError(SupaLLMError):
    """The app wired something up wrongly."""

    code = "configuration"


class LocalError(ConfigurationError):
    """The local stack could not do what was asked."""

    code = "local"


class NotSignedInError(SupaLLMError):
    """There is no signed-in user, or the access token has expired."""

    code = "not_signed_in"


class ForbiddenError(SupaLLMError):
    """The user or the runtime may not do this."""

    code = "forbidden"


class InvalidInputError(SupaLLMError):
    """An argument is wrong; the message names it and what is allowed."""

    code = "invalid_argument"


class ConflictError(SupaLLMError):
    """The settings changed since they were read: read them again, then decide."""

    code = "settings_changed"


class NotFoundError(SupaLLMError):
    """What was named does not exist."""

    code = "not_found"


class NoCandidateError(SupaLLMError):
    """No provider can serve this request.

    Attributes:
        skipped: each provider that was considered, with the reason why it cannot serve, where known.
        retry_after: seconds until a key has cooled down or a quota resets, where waiting helps.
    """

    code = "no_candidate"

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


class QuotaExceededError(NoCandidateError):
    """A quota does not leave enough for this request: the message says what was used, and until when."""

    code = "quota_exceeded"


class ProviderError(SupaLLMError):
    """Providers were tried and none answered.

    Attributes:
        receipt: what was tried, attempt by attempt.
        status: HTTP status of the last provider that answered, if one did.
        retry_after: seconds after which trying again may help, where a provider said so.
    """

    code = "all_candidates_failed"

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


class BadRequestError(ProviderError):
    """The provider refused the request itself, so it was not sent elsewhere.

    Attributes:
        body: the provider's error object in the OpenAI format, with anything that looks like a key masked.
    """

    code = "bad_request"
    body: Mapping[str, Any] | None = None


class TotalTimeoutError(ProviderError):
    """The request's total time ran out before a provider answered."""

    code = "total_timeout"


class StreamInterruptedError(ProviderError):
    """The answer broke off after its first byte, when falling back would corrupt it."""

    code = "stream_interrupted"


class DatabaseError(SupaLLMError):
    """The Supabase project answered in an unexpected way."""

    code = "database_error"


class DatabaseUnavailableError(DatabaseError):
    """The Supabase project could not be reached."""

    code = "database_unavailable"


#: HTTP status of a coded database error (SQLSTATE ``PTxyz`` → HTTP xyz) → class.
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
