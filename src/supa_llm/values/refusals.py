"""Requests that were refused before they reached a provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class Refusal(Row):
    """How many requests were refused with one error code, as the clients reported it.

    Attributes:
        code: the error's code, such as ``no_usable_key``.
        refusals: the number of requests.
        users: the number of users who sent them.
        last_at: when a client reported one last.
    """

    code: str
    refusals: int
    users: int
    last_at: datetime
