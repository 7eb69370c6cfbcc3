"""The projects and the provider emulator of a benchmark run, destroyed at its end."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self

from bench.project import Project
from bench.scale import Scale
from supa_llm.local import LocalStack
from supa_llm.local.ports import pick_free
from tests.support import PROVIDERS, ROOT, Emulator, running_emulator

_SMALL_USERS = 1_000


class Lab:
    """Starts what a benchmark needs on first use; leaving the block stops all of it.

    BENCH_USERS and BENCH_EVENTS set the size of the large project, to try a benchmark. BENCH_KEEP=directory
    keeps it there, stopped, so that the next run does not fill it again.
    """

    def __init__(self) -> None:
        self._exit = ExitStack()
        self.scale = Scale(
            int(os.environ.get("BENCH_USERS", 1_000_000)), int(os.environ.get("BENCH_EVENTS", 10_000_000))
        )
        self._keep = os.environ.get("BENCH_KEEP")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @cached_property
    def small(self) -> Project:
        """1,000 users with as much usage per user as in the large project."""
        return self._open_small("small")

    @cached_property
    def twin(self) -> Project:
        """A second small project, without quotas, for comparisons with the large one."""
        return self._open_small("twin")

    @cached_property
    def large(self) -> Project:
        directory = Path(self._keep) if self._keep else self._directory / "large"
        return self._open(directory, self.scale, keep=bool(self._keep))

    @cached_property
    def emulator(self) -> Emulator:
        """A provider emulator; the small project's catalog points to it."""
        emulator = self._exit.enter_context(running_emulator(pick_free(1)[0]))
        for provider in PROVIDERS:
            change = {"id": provider, "base_url": emulator.base_url(provider)}
            self.small.stack.admin("set_llm_provider", p_provider=change)
        return emulator

    @cached_property
    def _directory(self) -> Path:
        return Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="supa-llm-bench-")))

    def _open_small(self, name: str) -> Project:
        events = self.scale.events * _SMALL_USERS // self.scale.users
        return self._open(self._directory / name, Scale(_SMALL_USERS, events), keep=False)

    def _open(self, directory: Path, scale: Scale, *, keep: bool) -> Project:
        stack = LocalStack(directory, project=ROOT, port=0, throwaway=True)
        self._exit.callback(stack.down if keep else stack.destroy)
        return Project.open(stack, scale)
