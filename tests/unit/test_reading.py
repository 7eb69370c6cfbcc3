"""Reading values: rows of a newer database work, and rows of an older one are refused."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime, time
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

from supa_llm import DatabaseError, values
from supa_llm.database.call import Call
from supa_llm.database.transport import parsed
from supa_llm.values.prices import Price
from supa_llm.values.reading import Row
from supa_llm.values.requests import RecordedRequest
from supa_llm.values.routes import Route
from supa_llm.values.usage import UsageEvent, UsageHint, UsagePage
from tests.shapes import row_classes

NEW = {"added_by_a_newer_database": {"anything": [1]}}
SAMPLES: Mapping[Any, Any] = {
    bool: True,
    date: "2027-01-02",
    datetime: "2027-01-02T03:04:05+00:00",
    Decimal: 0.1,
    int: 3,
    str: "text",
    time: "03:04:05",
    UUID: "00000000-0000-7000-8000-000000000001",
}


SHAPES = row_classes()
# A hint keeps unknown fields as facts.
WITH_FIXED_FIELDS = [shape for shape in SHAPES if shape is not UsageHint]


def sample(hint: Any, more: Mapping[str, Any]) -> Any:
    """JSON of this type, with the unknown fields ``more`` in each row."""
    inner = [it for it in get_args(hint) if it is not NoneType]
    if get_origin(hint) in (Union, UnionType):
        return sample(inner[0], more)
    if get_origin(hint) is tuple:
        return [sample(inner[0], more)]
    if get_origin(hint) is Literal:
        return inner[0]
    if get_origin(hint) is Mapping:
        return {"name": 1}
    if isinstance(hint, type) and issubclass(hint, Row):
        return row_of(hint, more)
    return SAMPLES.get(hint, "text")


def row_of(shape: type[Row], more: Mapping[str, Any] = {}) -> dict[str, Any]:
    hints = get_type_hints(shape)
    columns: Any = fields(shape)  # type: ignore[arg-type]
    row = {it.metadata.get("column", it.name): sample(hints[it.name], more) for it in columns}
    return {**row, **more}


def test_every_class_that_reads_json_is_a_row() -> None:
    readers = {
        name
        for module in pkgutil.iter_modules(values.__path__)
        for name, it in vars(importlib.import_module(f"supa_llm.values.{module.name}")).items()
        if isinstance(it, type) and hasattr(it, "from_json")
    }
    assert readers == {it.__name__ for it in SHAPES} | {"Row", "UsagePage"}


@pytest.mark.parametrize("shape", WITH_FIXED_FIELDS, ids=lambda it: it.__name__)
def test_an_unknown_field_is_ignored(shape: type[Row]) -> None:
    assert shape.from_json(row_of(shape, NEW)) == shape.from_json(row_of(shape))


def test_an_unknown_field_of_a_hint_is_one_of_its_facts() -> None:
    assert UsageHint.from_json({"kind": "failing", "message": "It fails.", **NEW}).facts == NEW


def test_unknown_fields_of_nested_rows_are_ignored() -> None:
    route = row_of(Route, NEW)
    assert NEW.keys() <= route["candidates"][0].keys() & route["skipped"][0].keys()
    assert NEW.keys() <= row_of(RecordedRequest, NEW)["attempts"][0].keys()


def test_unknown_fields_of_a_page_of_events_are_ignored() -> None:
    row = row_of(UsageEvent, NEW)
    assert UsagePage.from_json([{**row, "cursor": "next"}]).events == (
        UsageEvent.from_json(row_of(UsageEvent)),
    )


@pytest.mark.parametrize("shape", WITH_FIXED_FIELDS, ids=lambda it: it.__name__)
def test_a_missing_field_is_a_database_error(shape: type[Row]) -> None:
    row = row_of(shape)
    columns: Any = fields(shape)  # type: ignore[arg-type]
    for it in columns:
        if it.default is MISSING and it.default_factory is MISSING:
            column = it.metadata.get("column", it.name)
            older = {name: value for name, value in row.items() if name != column}
            with pytest.raises(DatabaseError, match="db push") as caught:
                parsed(Call("list_llm_things", {}, shape.from_json), older)
            assert caught.value.code == "unexpected_answer"


def test_values_have_their_declared_types() -> None:
    price = Price.from_json({**row_of(Price), "valid_until": "infinity", "daily_from": None})
    assert price.valid_from == datetime.fromisoformat(SAMPLES[datetime])
    assert (price.valid_until, price.daily_from, price.daily_until) == (None, None, time(3, 4, 5))
    event = UsageEvent.from_json(row_of(UsageEvent))
    assert (event.cost, event.user_id) == (Decimal("0.1"), UUID(SAMPLES[UUID]))
