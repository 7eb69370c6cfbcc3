"""An empty project, in whose database the tests build others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tools.migration import empty_database


@pytest.fixture(scope="session")
def empty() -> Iterator[psycopg.Connection[Any]]:
    """The database of a project without migrations, which each test leaves empty."""
    with empty_database() as connection:
        yield connection
