"""What the demo claims, and whether it is so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import postgrest

from supa_llm_cli.demo.show import Show


class Claims:
    """Checks each claim before it is printed, and counts those that do not hold."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.made = 0
        self.broken = 0

    def check(self, claim: str, expected: Any, found: Any) -> None:
        """Print the claim, and what differs if what was found is not what was expected.

        Of two mappings only the entries that differ are shown.
        """
        self.made += 1
        if expected == found:
            self._show.claim(claim)
            return
        self.broken += 1
        if isinstance(expected, Mapping) and isinstance(found, Mapping):
            differing = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
            expected, found = ({name: of.get(name) for name in differing} for of in (expected, found))
        self._show.claim(claim, f"expected {_plain(expected)}, found {_plain(found)}")


def refusal(request: Any) -> str:
    """The code with which the database refuses a request; `allowed` if it does not."""
    try:
        request.execute()
    except postgrest.APIError as error:
        return error.code or "refused"
    return "allowed"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items()) or "nothing"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "nothing"
    return str(value)
