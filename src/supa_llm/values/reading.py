"""How a row from the database becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from supa_llm.values.secrets import Secret

Reader = Callable[[Any], Any]


class Row:
    """Base of the dataclasses that the database returns. Each field is read by its annotation.

    A newer database may add fields, so a field without a name here is ignored. A missing field raises
    KeyError, unless the class gives it a default. ``field(metadata={"column": …})`` names a field that is
    called something else in the database.
    """

    __slots__ = ()

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The value of one JSON object."""
        values = {}
        kind: Any = cls  # mypy does not see that a class is hashable
        for name, column, read, has_default in _columns(kind):
            if has_default and row.get(column) is None:
                continue
            value = row[column]
            values[name] = value if read is None else read(value)
        return cls(**values)

    @classmethod
    def list_from_json(cls, rows: Sequence[Mapping[str, Any]]) -> list[Self]:
        """The values of a JSON array of objects."""
        return [cls.from_json(row) for row in rows]


@cache
def _columns(cls: Any) -> tuple[tuple[str, str, Reader | None, bool], ...]:
    """Name, column, reader and whether there is a default, for each field of a class."""
    hints = get_type_hints(cls)
    return tuple(
        (it.name, it.metadata.get("column", it.name), _reader(hints[it.name]), _has_default(it))
        for it in fields(cls)
    )


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _reader(hint: Any) -> Reader | None:
    """What converts a JSON value to the annotated type; None if JSON has that type."""
    if get_origin(hint) in (Union, UnionType):
        return _optional(hint)
    if get_origin(hint) is tuple:
        return _tuple_of(_reader(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Row):
        return hint.from_json
    return _READERS.get(hint)


def _optional(hint: Any) -> Reader | None:
    (inner,) = (it for it in get_args(hint) if it is not NoneType)
    read = _reader(inner)
    return read and (lambda value: None if value is None or value in _OPEN else read(value))


def _tuple_of(read: Reader | None) -> Reader:
    return tuple if read is None else lambda values: tuple(map(read, values))


def _amount(value: float) -> Decimal:
    """A number without the binary noise of a float."""
    return Decimal(str(value))


# How PostgreSQL writes the end of a range that has none.
_OPEN = ("infinity", "-infinity")

_READERS: Mapping[Any, Reader] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    Decimal: _amount,
    Secret: Secret,
    UUID: UUID,
}
