"""Reads rows from the database into values."""

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
    """Base of the dataclasses that the database returns. The annotation of a field determines how it is read.

    Unknown fields are ignored, because a newer database may add some. A missing field raises KeyError unless
    the class has a default for it. ``field(metadata={"column": …})`` sets a field's name in the database, if
    it differs.
    """

    __slots__ = ()

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read one JSON object."""
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
        """Read a JSON array of objects."""
        return [cls.from_json(row) for row in rows]


@cache
def _columns(cls: Any) -> tuple[tuple[str, str, Reader | None, bool], ...]:
    """Each field of a class: its name, column and reader, and whether it has a default."""
    hints = get_type_hints(cls)
    return tuple(
        (it.name, it.metadata.get("column", it.name), _reader(hints[it.name]), _has_default(it))
        for it in fields(cls)
    )


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _reader(hint: Any) -> Reader | None:
    """The function that converts a JSON value to the annotated type; None if it needs no conversion."""
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
    """Convert a float without its binary rounding error."""
    return Decimal(str(value))


# PostgreSQL's words for the ends of an unbounded range.
_OPEN = ("infinity", "-infinity")

_READERS: Mapping[Any, Reader] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    Decimal: _amount,
    Secret: Secret,
    UUID: UUID,
}
