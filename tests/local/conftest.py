"""Running stacks for the tests of the local stack."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supa_llm.local import LocalStack
from tests.local.support import CODE, Run, cli_command, environment, run_cli, write_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that no test changes."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[LocalStack]:
    """A running stack for tests that do not change it."""
    shared = LocalStack(tmp_path_factory.mktemp("shared") / "state", project=project, port=0, throwaway=True)
    try:
        shared.up()
        yield shared
    finally:
        shared.destroy()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[LocalStack]:
    """The test's own stack and project, not started yet."""
    mine = LocalStack(tmp_path / "state", project=write_project(tmp_path / "project"), port=0, throwaway=True)
    try:
        yield mine
    finally:
        mine.destroy()


@pytest.fixture(scope="session")
def as_ordinary_user(stack: LocalStack) -> Run:
    """Run `supa-llm` as a user other than root, with the installed services.

    That is the user who runs the tests or, if that is root, `nobody`.
    """
    # A running stack shows that the services are installed, so the ordinary user does not install them.
    assert stack.status().running
    if os.geteuid() != 0:
        return run_cli
    nobody = pwd.getpwnam("nobody")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    changes = {
        "PYTHONPATH": os.pathsep.join([f"{CODE}/src", f"{CODE}/cli", *packages]),
        "XDG_CACHE_HOME": "/var/cache",
        "HOME": "/nonexistent",
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [interpreter, *cli_command(*arguments)[1:]],
            capture_output=True,
            text=True,
            env=environment(**changes, **more),
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            timeout=120,
            cwd="/",
            check=False,
        )

    version = f"python3.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin:/bin")):
        if candidate is not None:
            interpreter = candidate
            try:
                if run("local", "--help").returncode == 0:
                    return run
            except OSError:
                continue
    pytest.skip("no Python interpreter here can be run by a user other than root")
