"""Exports usage events as CSV, JSON Lines or Parquet, with bounded memory and an atomic write."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import tempfile
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import UUID

from supa_llm.errors import ConfigurationError, InvalidInputError
from supa_llm.values.usage import UsageEvent

_FIRST = ("user_id", "request_id", "attempt", "recorder", "requested_at", "task")
_FIELDS = tuple(field.name for field in fields(UsageEvent))
#: The columns of an export, in order: whose request it is, then the attempt.
COLUMNS = (*_FIRST, *(name for name in _FIELDS if name not in _FIRST))

# Number of events in memory at a time, and in one row group of Parquet.
_AT_ONCE = 10_000
# A spreadsheet runs a cell that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_events(
    events: Iterable[UsageEvent],
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write events to a ``.csv``, ``.jsonl`` or ``.parquet`` file; returns the number of events.

    The file appears, or replaces an older one, only when it is complete. In CSV, an apostrophe precedes text
    that a spreadsheet would run as a formula.

        export_events(llm.list_usage_events(), "usage.csv")

    Args:
        progress: called periodically with the number of events written so far.

    Raises:
        InvalidInputError: the path has another extension.
        ConfigurationError: Parquet without pyarrow (code ``missing_extra``), or a file that cannot be
            written (code ``export_unwritable``).
    """
    written = 0
    with _export(Path(path)) as writer:
        remaining = iter(events)
        while batch := list(islice(remaining, _AT_ONCE)):
            writer.write(batch)
            written += len(batch)
            if progress is not None:
                progress(written)
    return written


async def async_export_events(
    events: AsyncIterable[UsageEvent],
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """:func:`export_events` for an asynchronous iterator. A thread writes the file.

    await async_export_events(llm.list_usage_events(), "usage.csv")
    """
    written = 0
    batch: list[UsageEvent] = []

    async def write(writer: _Writer) -> None:
        nonlocal written
        await asyncio.to_thread(writer.write, batch)
        written += len(batch)
        batch.clear()
        if progress is not None:
            progress(written)

    with _export(Path(path)) as writer:
        async for event in events:
            batch.append(event)
            if len(batch) == _AT_ONCE:
                await write(writer)
        if batch:
            await write(writer)
    return written


@contextmanager
def _export(path: Path) -> Iterator[_Writer]:
    """The writer for the extension of ``path``; the file appears only when it is complete."""
    make = _WRITERS.get(path.suffix.lower())
    if make is None:
        raise InvalidInputError(
            f"Unknown export format: {path.suffix or 'no file extension'}.",
            hint=f"Use one of these extensions: {', '.join(_WRITERS)}.",
        )
    with _whole_or_not(path) as file, closing(make(file)) as writer:
        yield writer


class _Writer(Protocol):
    def write(self, events: list[UsageEvent]) -> None: ...

    def close(self) -> None:
        """Write the end of the file."""


class _Csv:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._append([COLUMNS])

    def write(self, events: list[UsageEvent]) -> None:
        self._append([_cell(getattr(event, name)) for name in COLUMNS] for event in events)

    def close(self) -> None: ...

    def _append(self, rows: Iterable[Iterable[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


class _JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, events: list[UsageEvent]) -> None:
        for event in events:
            line = {name: _json(getattr(event, name)) for name in COLUMNS}
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None: ...


class _Parquet:
    def __init__(self, file: IO[bytes]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ConfigurationError(
                "Exporting Parquet requires pyarrow, which is not installed.",
                code="missing_extra",
                hint="Run: pip install 'supa-llm[parquet]'",
            ) from None
        kinds = {
            **dict.fromkeys(("requested_at", "recorded_at"), pyarrow.timestamp("us", tz="UTC")),
            # Rates have 12 decimal places and are per million tokens.
            **dict.fromkeys(("cost", "cache_savings", "list_cost"), pyarrow.decimal128(38, 18)),
            **dict.fromkeys(("attempt", "latency_ms"), pyarrow.int32()),
            "streamed": pyarrow.bool_(),
            "price_id": pyarrow.int64(),
        }
        self._schema = pyarrow.schema(
            [
                (name, kinds.get(name) or (pyarrow.int32() if _is_count(name) else pyarrow.string()))
                for name in COLUMNS
            ]
        )
        self._arrow = pyarrow
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)

    def write(self, events: list[UsageEvent]) -> None:
        columns = {name: [_arrow(getattr(event, name)) for event in events] for name in COLUMNS}
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_WRITERS: Mapping[str, Callable[[IO[bytes]], _Writer]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}


@contextmanager
def _whole_or_not(path: Path) -> Iterator[IO[bytes]]:
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _as_others_are(draft)
        os.replace(draft, path)
    except BaseException as error:
        Path(draft).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def _as_others_are(draft: str) -> None:
    """Give the file the usual permissions, because a temporary file is private."""
    mask = os.umask(0)
    os.umask(mask)
    Path(draft).chmod(0o666 & ~mask)


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot write {path}: {error.strerror or error}.",
        code="export_unwritable",
        hint="Choose a file in an existing folder that you can write to.",
    )


def _is_count(name: str) -> bool:
    return name.endswith("_tokens") and name != "other_tokens"


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat()
        case Mapping():
            return json.dumps(value)
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case _:
            return value


def _json(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value


def _arrow(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case Mapping():
            return json.dumps(value)
        case _:
            return value
