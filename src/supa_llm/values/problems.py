"""Problems of an installation, and the version that is installed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from supa_llm.values.reading import Row

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem(Row):
    """Something to fix in a project's installation.

    Attributes:
        code: the kind of problem; stable, listed in docs/doctor.md.
        subject: the object, setting, provider or model that it is about.
        hint: what to do.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class InstalledVersion(Row):
    """The version of supa-llm in the database.

    Attributes:
        now: the database's time.
    """

    version: str
    now: datetime
