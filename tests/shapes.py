"""The classes in supa_llm.values that are read from database rows."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from supa_llm import values
from supa_llm.values.reading import Row


def row_classes() -> list[type[Row]]:
    """Return every class in supa_llm.values that a row is read into."""
    for module in pkgutil.iter_modules(values.__path__):
        importlib.import_module(f"supa_llm.values.{module.name}")
    return sorted(_below(Row), key=lambda it: it.__name__)


def _below(kind: type[Row]) -> Iterator[type[Row]]:
    for it in kind.__subclasses__():
        # A dataclass with slots replaces the original class, which stays in the list of subclasses.
        if getattr(sys.modules[it.__module__], it.__name__) is it:
            yield it
            yield from _below(it)
