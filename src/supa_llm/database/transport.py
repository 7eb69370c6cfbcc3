"""Sends RPCs through PostgREST: one class for threads, one for asyncio, the rest shared.

Nothing here changes the app's own client. Each request carries its user's token in its own headers, so one
object serves any number of users concurrently.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import postgrest

from supa_llm.database.retries import Retries, is_not_yet_valid
from supa_llm.errors import (
    BY_CODE,
    BY_STATUS,
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidInputError,
    NotSignedInError,
    SupaLLMError,
)
from supa_llm.values.credentials import URL_HINT
from supa_llm.values.secrets import Secret

if TYPE_CHECKING:
    from supa_llm.database.call import Call

T = TypeVar("T")

_SIGN_IN = "Sign in again or pass a new access token."
# Transient failures that a retry may solve: PostgREST without its database, a proxy without PostgREST, and
# the SQLSTATE classes of connection failures, deadlocks, exhausted resources and shutdown.
_NOT_NOW = {"PGRST000", "PGRST001", "PGRST002", "PGRST003", "502", "503", "504", "520", "57014"}
_NOT_NOW_CLASSES = {"08", "40", "53", "57P"}
# What other servers respond: a page, a redirect, or an unknown path. PostgREST's errors have its own codes,
# and those of the gateway in front of it have a message.
_NOT_THE_API = {"200", "301", "302", "303", "307", "308", "404", "405", "406", "410", "501"}
#: Enough for a call that returns a key: one records, one returns the key, and one is spare in case another
#: process replaces the key in between.
_TRIES = 3

# ValueError and TypeError: the arguments are not JSON. RuntimeError: the HTTP client or its event loop is
# closed.
_EXPECTED = (
    postgrest.APIError,
    httpx.HTTPError,
    httpx.InvalidURL,
    SupaLLMError,
    ValueError,
    TypeError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Project:
    """How to reach the Supabase project.

    Attributes:
        rest_url: base URL of its data API, such as ``https://<ref>.supabase.co/rest/v1``.
        api_key: its publishable (or anon) key, or an administrator's secret key.
        runtime_secret: secret of this process if it is a runtime of the operator; else None.
    """

    rest_url: str
    api_key: str = field(repr=False)
    runtime_secret: Secret | None = None

    def headers(self, token: Secret | None) -> dict[str, str]:
        """Headers of a request for one user or, without a token, for the holder of the API key."""
        headers = {"apikey": self.api_key}
        if token is not None:
            headers["Authorization"] = f"Bearer {header_value(token)}"
        elif self.api_key.startswith("eyJ"):  # the key of an older project is itself a token
            headers["Authorization"] = f"Bearer {self.api_key}"
        if self.runtime_secret is not None:
            headers["x-llm-runtime"] = self.runtime_secret.reveal()
        return headers


class Database:
    """Sends each call as one HTTP request; safe to share between threads."""

    def __init__(self, project: Project, http: httpx.Client) -> None:
        self._project = project
        self._client = postgrest.SyncPostgrestClient(project.rest_url, http_client=http)

    def run(self, call: Call[T], token: Secret | None = None) -> T:
        """Run ``call`` as the user of ``token``; without one, as the runtime or as an administrator.

        Raises:
            SupaLLMError: the database refused the call or could not be reached.
        """
        for _ in range(_TRIES):
            data = self._send(call, token)
            following = call.following(data)
            if following is None:
                return parsed(call, data)
            call = following
        raise _still_changing(call)

    def _send(self, call: Call[Any], token: Secret | None) -> Any:
        retries = Retries(call)
        while True:
            failure: SupaLLMError
            try:
                request = self._client.rpc(call.name, dict(call.args))
                request.request.headers.update(self._project.headers(token))
                return request.execute().data
            except _EXPECTED as error:
                failure, pause = _failure(self._project, call, token, error), retries.pause(error)
            # Raised outside the except block, so that its context is not the httpx exception, which holds the
            # request headers.
            if pause is None:
                raise failure
            time.sleep(pause)


class AsyncDatabase:
    """Sends each call as one HTTP request; safe to share between tasks of one event loop."""

    def __init__(self, project: Project, http: httpx.AsyncClient) -> None:
        self._project = project
        self._client = postgrest.AsyncPostgrestClient(project.rest_url, http_client=http)

    async def run(self, call: Call[T], token: Secret | None = None) -> T:
        """Run ``call`` as the user of ``token``; without one, as the runtime or as an administrator.

        Raises:
            SupaLLMError: the database refused the call or could not be reached.
        """
        for _ in range(_TRIES):
            data = await self._send(call, token)
            following = call.following(data)
            if following is None:
                return parsed(call, data)
            call = following
        raise _still_changing(call)

    async def _send(self, call: Call[Any], token: Secret | None) -> Any:
        retries = Retries(call)
        while True:
            failure: SupaLLMError
            try:
                request = self._client.rpc(call.name, dict(call.args))
                request.request.headers.update(self._project.headers(token))
                return (await request.execute()).data
            except _EXPECTED as error:
                failure, pause = _failure(self._project, call, token, error), retries.pause(error)
            if pause is None:
                raise failure
            await asyncio.sleep(pause)


def parsed(call: Call[T], data: Any) -> T:
    """The response to ``call`` as a value."""
    if isinstance(data, str) and data.lstrip().startswith("<"):  # a web page
        raise _not_a_project(call)
    try:
        return call.parse(data)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        pass
    raise DatabaseError(
        f"The database returned an unexpected response to {call.name}.",
        code="unexpected_answer",
        hint="Add and push this version's migrations: supa-llm upgrade, then supabase db push.",
    )


def header_value(token: Secret) -> str:
    """The token for a header, checked here because an HTTP library would print an invalid one in full."""
    value = token.reveal()
    if is_header_value(value):
        return value
    raise NotSignedInError("The access token is malformed.", hint=_SIGN_IN)


def is_header_value(text: str) -> bool:
    """Whether a string can be sent in a header."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def failure_of(call: Call[Any], error: Exception) -> SupaLLMError:
    """The error to raise instead of ``error``. It repeats only the database's own messages."""
    match error:
        case SupaLLMError():
            return error
        case postgrest.APIError():
            return _from_api(call, error)
        case RuntimeError():
            return ConfigurationError(
                f"Cannot send {call.name}: the client is closed or belongs to another event loop.",
                code="closed",
            )
        case httpx.HTTPError() | httpx.InvalidURL():
            return DatabaseUnavailableError(
                f"The Supabase project did not respond to {call.name} ({type(error).__name__}).",
                hint="Check that the project's URL (SUPABASE_URL) is correct and the project is running, "
                "then try again.",
            )
        case _:
            return InvalidInputError(
                f"The arguments of {call.name} are not valid JSON.",
                hint="Use strings, finite numbers, booleans, None, lists and mappings.",
            )


def _failure(project: Project, call: Call[Any], token: Secret | None, error: Exception) -> SupaLLMError:
    failure = failure_of(call, error)
    as_administrator = token is None and project.runtime_secret is None
    if as_administrator and isinstance(failure, NotSignedInError):
        return _not_an_administrator(call)
    return failure


def _still_changing(call: Call[Any]) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"The user's keys kept changing while {call.name} ran.", hint="Try again in a moment."
    )


def _not_an_administrator(call: Call[Any]) -> ForbiddenError:
    return ForbiddenError(
        f"Only administrators can call {call.name}, and this API key is not an administrator's.",
        code="secret_key_required",
        hint="Use the project's secret key (sb_secret_…) or, in an older project, its service_role key.",
    )


def _from_api(call: Call[Any], error: postgrest.APIError) -> SupaLLMError:
    code, message = str(error.code or ""), error.message or ""  # older versions of postgrest give a number
    if code.startswith("PT") and code[2:].isdigit():
        coded = str(error.details) if error.details else None
        kind = BY_CODE.get(coded or "") or BY_STATUS.get(int(code[2:]), DatabaseError)
        return kind(message, code=coded, hint=error.hint or "")
    if is_not_yet_valid(error):
        return DatabaseUnavailableError(
            "The Supabase project does not accept the access token yet: the clocks of its services differ.",
            hint="Try again in a moment.",
        )
    if code in {"PGRST300", "PGRST301", "PGRST302", "PGRST303", "401"}:
        return NotSignedInError("The access token is invalid or has expired.", hint=_SIGN_IN)
    if code == "PGRST202":
        return ConfigurationError(
            f"The database has no function {call.name}.",
            code="migrations_missing",
            hint="Add and push the missing migrations: supa-llm upgrade (at first: supa-llm init), then"
            " supabase db push. If they are there, reload PostgREST's schema cache:"
            " notify pgrst, 'reload schema'.",
        )
    if code == "42501":  # the role of the token, such as anon, may not call a function for signed-in users
        return NotSignedInError(
            f"Only signed-in users can call {call.name}, and this token is not a user's.", hint=_SIGN_IN
        )
    if message == "Invalid API key":  # from the gateway in front of PostgREST, which sends no code
        return ConfigurationError(
            "The Supabase project refused the API key.",
            code="api_key_refused",
            hint="Copy the key again from the project's API settings.",
        )
    if code in _NOT_NOW or (len(code) == 5 and {code[:2], code[:3]} & _NOT_NOW_CLASSES):
        return DatabaseUnavailableError(
            f"The Supabase project is temporarily unable to serve {call.name} ({code}).",
            hint="Try again in a moment.",
        )
    if code in _NOT_THE_API or not (code or message):
        return _not_a_project(call)
    # Its message may quote an argument, which may be a key.
    return DatabaseError(
        f"The database failed to run {call.name} (error {code or 'unknown'}).",
        hint="See the project's database log for details."
        if len(code) > 3
        else "Check the project's URL (SUPABASE_URL), then see the project's logs for details.",
    )


def _not_a_project(call: Call[Any]) -> DatabaseError:
    return DatabaseError(
        f"The response to {call.name} is not that of a Supabase project.",
        code="project_url_invalid",
        hint=f"{URL_HINT} If it is correct, check the proxies on the way to the project.",
    )
