"""When a call is sent once more. No I/O, so threads and asyncio share it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import postgrest

from supa_llm.database.call import Call

#: Seconds between the tries of a token that is not valid yet: 1.75 in all.
_CLOCK_PAUSES = (0.25, 0.5, 1.0)
# What remains of a connection that the other side closed while it was idle.
_DISCONNECTED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
# PostgREST's messages before and since version 13, without spaces.
_NOT_YET = {"jwtissuedatfuture", "jwtnotyetvalid"}


class Retries:
    """The retries that are left for one request of ``call``."""

    def __init__(self, call: Call[Any]) -> None:
        self._pauses: Iterator[float] = iter(_CLOCK_PAUSES)
        self._may_reconnect = call.repeatable

    def pause(self, error: Exception) -> float | None:
        """Seconds until the request is sent again after ``error``; None if it is not."""
        if is_not_yet_valid(error):
            return next(self._pauses, None)
        if isinstance(error, _DISCONNECTED) and self._may_reconnect:
            self._may_reconnect = False
            return 0.0
        return None


def is_not_yet_valid(error: Exception) -> bool:
    """Whether PostgREST refused a token because its own clock is behind that of Supabase Auth."""
    return isinstance(error, postgrest.APIError) and (
        str(error.code).startswith("PGRST30") and (error.message or "").replace(" ", "").lower() in _NOT_YET
    )
