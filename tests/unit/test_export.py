"""Exports: every event once, complete files only, bounded memory, and no formulas."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from supa_llm import ConfigurationError, InvalidInputError, UsageEvent
from supa_llm.client import export
from supa_llm.client.export import COLUMNS, async_export_events, export_events

#: Fields without a value here are None.
FIELDS: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    "user_id": uuid.UUID(int=1),
    "request_id": uuid.UUID(int=2),
    "attempt": 1,
    "recorder": uuid.UUID(int=3),
    "requested_at": datetime(2026, 11, 1, 12, 30, 0, 125000, tzinfo=UTC),
    "task": "code",
    "provider": "openai",
    "model": "gpt-5",
    "key_source": "user",
    "outcome": "succeeded",
    "streamed": True,
    "latency_ms": 1200,
    "input_tokens": 1000,
    "cache_write_tokens": 0,
    "output_tokens": 20,
    "other_tokens": {"input_audio": 5},
    "cost": Decimal("0.000001234567890123"),
    "cost_status": "priced",
    "cache_savings": Decimal("-0.25"),
    "price_id": 7,
    "recorded_at": datetime(2026, 11, 1, 12, 30, 2, tzinfo=UTC),
}
EVENT = UsageEvent(**FIELDS)
UNPRICED = replace(EVENT, attempt=2, cost=None, cost_status="unpriced", other_tokens=None, price_id=None)


def test_csv_has_a_column_per_field_and_exact_costs(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    assert export_events([EVENT, UNPRICED], path) == 2
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert first["cost"] == "0.000001234567890123"
    assert (first["streamed"], first["cached_input_tokens"], first["cache_write_tokens"]) == ("true", "", "0")
    assert json.loads(first["other_tokens"]) == {"input_audio": 5}
    assert datetime.fromisoformat(first["requested_at"]) == EVENT.requested_at
    assert (second["cost"], second["cost_status"]) == ("", "unpriced"), "what has no price is not 0"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@"])
def test_csv_contains_no_formula(tmp_path: Path, begin: str) -> None:
    path = tmp_path / "usage.csv"
    export_events([replace(EVENT, model=f"{begin}HYPERLINK(1)", task=f"{begin}1")], path)
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["task"]) == (f"'{begin}HYPERLINK(1)", f"'{begin}1")
    assert row["cache_savings"] == "-0.25", "numbers stay numbers"


def test_json_has_a_line_per_event(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    export_events([EVENT, UNPRICED], path)
    first, second = map(json.loads, path.read_text().splitlines())
    assert tuple(first) == COLUMNS
    assert (first["cost"], first["streamed"], first["key_id"]) == (float(EVENT.cost or 0), True, None)
    assert second["cost"] is None


def test_parquet_has_types_and_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    export_events((EVENT for _ in range(25_000)), path)
    file = pyarrow.parquet.ParquetFile(path)
    assert (file.metadata.num_rows, file.num_row_groups) == (25_000, 3)
    row = file.read_row_group(2).slice(0, 1).to_pylist()[0]
    assert (row["cost"], row["requested_at"], row["attempt"]) == (EVENT.cost, EVENT.requested_at, 1)
    export_events([], path)
    assert pyarrow.parquet.read_table(path).column_names == list(COLUMNS)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_interrupted_export_leaves_only_the_older_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"usage.{ending}"
    path.write_text("older")

    def broken() -> Iterator[UsageEvent]:
        for _ in range(12_000):
            yield EVENT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_events(broken(), path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_number_of_events(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small batches, because tracing memory makes each event slow.
    monkeypatch.setattr(export, "_AT_ONCE", 500)

    def peak(count: int) -> int:
        tracemalloc.start()
        export_events((replace(EVENT, attempt=number) for number in range(count)), tmp_path / f"it.{ending}")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # imports
    assert peak(3_000) < 1.5 * peak(1_000)


def test_progress_is_reported(tmp_path: Path) -> None:
    reported: list[int] = []
    export_events((EVENT for _ in range(15_000)), tmp_path / "it.csv", progress=reported.append)
    assert reported == [10_000, 15_000]


def test_the_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        export_events([EVENT], tmp_path / "it.csv")
    finally:
        os.umask(before)
    assert (tmp_path / "it.csv").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["usage", "usage.xlsx", "usage.csv.gz"])
def test_an_unknown_extension_is_refused_before_reading(tmp_path: Path, name: str) -> None:
    events = iter([EVENT])
    with pytest.raises(InvalidInputError, match=r"\.parquet"):
        export_events(events, tmp_path / name)
    assert next(events) is EVENT


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        export_events([EVENT], tmp_path / "nowhere" / "usage.csv")
    assert error.value.code == "export_unwritable"
    assert "nowhere" in str(error.value)


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
async def test_the_asynchronous_export_writes_the_same_file(tmp_path: Path, ending: str) -> None:
    async def read() -> AsyncIterator[UsageEvent]:
        for one in made:
            yield one

    made = [EVENT] * 12_345
    reported: list[int] = []
    sync, twin = tmp_path / f"sync{ending}", tmp_path / f"twin{ending}"
    assert (
        export_events(made, sync)
        == await async_export_events(read(), twin, progress=reported.append)
        == 12_345
    )
    assert twin.read_bytes() == sync.read_bytes()
    assert reported == [10_000, 12_345]
