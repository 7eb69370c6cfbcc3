"""The rule for each argument of the public methods, by the argument's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from supa_llm.errors import InvalidInputError, SupaLLMError

Rule = tuple[str, Callable[[Any], bool]]


def check(refusal: type[SupaLLMError] = InvalidInputError, /, **arguments: Any) -> None:
    """Raise ``refusal`` if an argument breaks the rule of its name. The message omits the value."""
    for name, value in arguments.items():
        wanted, allows = _RULES[name]
        if not allows(value):
            raise refusal(f"{name!r} must be {wanted}.")


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _number(low: float, high: float = math.inf, *, above: bool = False, whole: bool = False) -> Any:
    def allows(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            return False
        return (low < value if above else low <= value) and value <= high

    return allows


def _list_of(*types: type, least: int = 0) -> Callable[[Any], bool]:
    def allows(value: Any) -> bool:
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return is_list and len(value) >= least and all(isinstance(item, types) for item in value)

    return allows


def _optional(rule: Rule) -> Rule:
    wanted, allows = rule
    return f"{wanted}, or None", lambda value: value is None or allows(value)


def _is_amount(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    # Comparing a NaN raises an error if it is a Decimal.
    return not (isinstance(value, Decimal) and value.is_nan()) and 0 <= value < math.inf


def _is_prompt(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else _list_of(Mapping, least=1)(value)


def _is_texts(value: Any) -> bool:
    return bool(value) and (isinstance(value, str) or (_list_of(str)(value) and all(value)))


def _is_tools(value: Any) -> bool:
    return _list_of(Mapping)(value) and all("type" in tool for tool in value)


def _is_keys(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(it, str) for pair in value.items() for it in pair)


def _is_uuid(value: Any) -> bool:
    if isinstance(value, UUID):
        return True
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


def _is_moment(value: Any) -> bool:
    return isinstance(value, date) and not (isinstance(value, datetime) and value.tzinfo is None)


_TEXT: Rule = ("a string", _is(str))
_COUNT: Rule = ("an integer of at least 1", _number(1, whole=True))
_SECONDS: Rule = ("a number of seconds greater than 0", _number(0, above=True))
_FROM_ZERO: Rule = ("a number of seconds of at least 0", _number(0))
_MOMENT: Rule = _optional(("a datetime.date or a datetime.datetime with a time zone", _is_moment))

_RULES: Mapping[str, Rule] = {
    "after": _optional(("a uuid.UUID", _is(UUID))),
    "attempt_timeout": _SECONDS,
    "bucket": _optional(("'hour', 'day' or 'month'", lambda value: value in ("hour", "day", "month"))),
    "by": ("a list of strings", _list_of(str)),
    "before": _optional(("a uuid.UUID", _is(UUID))),
    "configuration": ("a mapping", _is(Mapping)),
    "email": _optional(_TEXT),
    "database_timeout": _SECONDS,
    "dimensions": _optional(_COUNT),
    "entries": ("a list of price list entries", _list_of(Mapping)),
    "fallbacks": _optional(("a list of strings such as 'provider' or 'provider/model'", _list_of(str))),
    "flush_timeout": _FROM_ZERO,
    "group": _optional(_TEXT),
    "idle_timeout": _SECONDS,
    "ids": _optional(("a list of uuid.UUID", _list_of(UUID))),
    "interval": _SECONDS,
    "key": _TEXT,
    "key_source": _optional(_TEXT),
    "limit of a quota": ("a number of at least 0", _is_amount),
    "limit": ("an integer", _number(-math.inf, whole=True)),  # the database checks the range
    "max_event_bytes": _COUNT,
    "max_response_bytes": _COUNT,
    "max_retries": ("an integer from 0 to 10", _number(0, 10, whole=True)),
    "max_retry_wait": _FROM_ZERO,
    "max_tokens": _optional(_COUNT),
    "model": _optional(_TEXT),
    "name": _TEXT,
    "needs": ("a list of strings", _list_of(str)),
    "operator_keys": _optional(("a mapping of provider IDs to keys", _is_keys)),
    "order": _optional(_TEXT),
    "overlap": ("a datetime.timedelta", _is(timedelta)),  # the database checks the range
    "reason": _optional(_TEXT),
    "recorded_by": _optional(_TEXT),
    "role": _TEXT,
    "price_id": ("the integer ID of a price", _number(-math.inf, whole=True)),
    "prompt": ("a string that is not blank, or a list of messages in the OpenAI format", _is_prompt),
    "provider": _TEXT,
    "quota_id": ("the integer ID of a quota", _number(-math.inf, whole=True)),
    "rates": ("a mapping of units to rates, such as {'input': 1.25}", _is(Mapping)),
    "runtime_secret": _optional(_TEXT),
    "search": _optional(_TEXT),
    "service_tier": _optional(_TEXT),
    "settings_ttl": _FROM_ZERO,
    "short_wait": _FROM_ZERO,
    "since": _MOMENT,
    "task": _optional(_TEXT),
    "team": _optional(("the ID of a team, or 'none'", _is(UUID, str))),
    "team_id": ("the UUID of a team", _is_uuid),
    "temperature": _optional(("a number from 0 to 2", _number(0, 2))),
    "texts": ("a string or a list of strings that are not empty", _is_texts),
    "time_zone": _optional(_TEXT),
    "timeout": _SECONDS,
    "tools": _optional(("a list of objects such as {'type': 'function', 'function': {…}}", _is_tools)),
    "until": _MOMENT,
    "valid_from": _MOMENT,
    "valid_hours": ("an integer", _number(-math.inf, whole=True)),  # the database checks the range
    "valid_until": _MOMENT,
    "user_id": _optional(("a uuid.UUID", _is(UUID))),
}
