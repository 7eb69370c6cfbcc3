"""The time of imports, each in a new interpreter."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from bench.lab import Lab
from bench.measure import Measured

_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def import_time(_: Lab, rounds: int = 9) -> Measured:
    """The package as an app's modules import it; the detail has the import of the client."""
    statements = ("import supa_llm", "import openai", "from supa_llm import SupaLLM")
    for statement in statements:
        _seconds(statement)  # the first import compiles
    times = [[_seconds(statement) for statement in statements] for _ in range(rounds)]
    package, baseline, client = ([1000 * row[side] for row in times] for side in range(3))
    return Measured(
        [a / b for a, b in zip(package, baseline, strict=True)],
        {
            "import_ms": round(median(package), 1),
            "against_import_ms": round(median(baseline), 1),
            "client_import_ms": round(median(client), 1),
        },
    )


def _seconds(statement: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)
