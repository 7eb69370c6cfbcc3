"""The parameters of a body that bound what a request costs.

They are settled once, before anything is reserved or sent: the estimate and the wire formats both read the
settled body, so the provider gets the limits that quotas reserve for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from supa_llm.errors import InvalidInputError
from supa_llm.wire.base import Json, Kind

#: Both times each other are still an integer of the database.
_MOST_TOKENS, _MOST_ANSWERS = 10_000_000, 200
#: Parameters that make some providers use other models, or generate more answers than they return.
_REFUSED = ("best_of", "fallbacks", "models")
#: The same for responses, with the names that other endpoints give to their limits, and stored prompts.
_REFUSED_IN_RESPONSES = ("n", "max_tokens", "max_completion_tokens", "prediction", "prompt")
#: Parameters of responses that need a stored one, with what to do instead.
_STORED = {
    "previous_response_id": "Send the earlier items in 'input'.",
    "conversation": "Send the earlier items in 'input'.",
    "background": "Stream the response, or raise the timeout.",
}


def settled(kind: Kind, body: Mapping[str, Any]) -> Json:
    """The body with its limits as integers, the token limit of a chat under its newer name.

    Raises:
        InvalidInputError: a parameter that bounds the cost has an invalid value; the message names it.

    Example:
        >>> settled("chat", {"messages": [], "max_tokens": 100.0})
        {'messages': [], 'max_completion_tokens': 100}
    """
    for name in (*_REFUSED, *(_REFUSED_IN_RESPONSES if kind == "responses" else ())):
        if body.get(name) is not None:
            raise InvalidInputError(f"{name!r} is not supported, because quotas cannot count it.")
    result = {name: _RULES[name](name, value) if name in _RULES else value for name, value in body.items()}
    if "max_tokens" in result:
        # OpenAI's reasoning models refuse the older name; every catalog row maps the newer one.
        older, newer = result.pop("max_tokens"), result.get("max_completion_tokens")
        if None not in (older, newer) and older != newer:
            raise InvalidInputError("'max_tokens' and 'max_completion_tokens' differ. Pass only one of them.")
        result["max_completion_tokens"] = older if newer is None else newer
    return result


def require_stateless(body: Mapping[str, Any]) -> None:
    """Refuse a request that needs an earlier response, or that leaves one to be fetched later.

    Raises:
        InvalidInputError: code ``responses_not_stored``.
    """
    items = body["input"] if isinstance(body["input"], list) else ()
    reference = any(
        item.get("type", "message" if "role" in item else "item_reference") == "item_reference"
        for item in items
    )
    needed = next((name for name in _STORED if body.get(name)), "item_reference" if reference else None)
    if needed:
        raise InvalidInputError(
            f"{needed!r} is not supported, because supa-llm does not store responses.",
            code="responses_not_stored",
            hint=_STORED.get(needed, "Send the item itself."),
        )


def _integer(most: int) -> Callable[[str, Any], int | None]:
    def read(name: str, value: Any) -> int | None:
        if value is None:
            return None
        # JSON does not distinguish 100.0 from 100, but some providers do.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 1 <= value <= most:
            raise InvalidInputError(f"{name!r} must be an integer from 1 to {most}.")
        return value

    return read


def _boolean(name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"{name!r} must be true or false.")
    return value


def _tier(name: str, value: Any) -> str | None:
    if value is None:
        return None
    tier = value.lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", tier):
        raise InvalidInputError(f"{name!r} must be the name of a tier, such as 'flex' or 'priority'.")
    return tier


_RULES: Mapping[str, Callable[[str, Any], Any]] = {
    "max_completion_tokens": _integer(_MOST_TOKENS),
    "max_output_tokens": _integer(_MOST_TOKENS),
    "max_tokens": _integer(_MOST_TOKENS),
    "n": _integer(_MOST_ANSWERS),
    "service_tier": _tier,
    "stream": _boolean,
}
