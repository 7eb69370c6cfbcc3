"""The claims of the demo, and the checks behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import postgrest

from supa_llm_cli.demo.show import Show


class Claims:
    """Checks each claim before printing it, and counts the claims that fail."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.made = 0
        self.broken = 0

    def check(self, claim: str, expected: Any, found: Any) -> None:
        """Print the claim, and the difference if the result is not the expected one.

        Two mappings show only the entries that differ.
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
    """Return the code of the database's refusal, or `allowed`."""
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
