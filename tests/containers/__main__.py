"""Run tests on a Supabase project in containers: `python -m tests.containers [pytest arguments]`.

This is a separate command rather than a pytest marker. The same variables as for any other stack select the
stack before pytest starts, and `make test` neither needs Docker nor reports tests that it did not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from supa_llm.errors import LocalError
from tests.containers.stack import ContainersError, running_containers
from tests.support import ROOT


def main(arguments: list[str]) -> int:
    """Start the containers, run pytest against them, and return its exit code."""
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            running_containers(ROOT, Path(directory)) as stack,
        ):
            command = [sys.executable, "-m", "pytest", *arguments]
            return subprocess.run(command, cwd=ROOT, env={**os.environ, **stack}, check=False).returncode
    except (ContainersError, LocalError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
