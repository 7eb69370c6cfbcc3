"""Starts, recognizes and stops the services: detached processes that outlive the command that started them.

The system reuses pids, so a pid file also holds the time at which the process started. A process that started
at another time is never signaled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supa_llm.local.files import RunUser, write_private

_LINUX = sys.platform.startswith("linux")

# Children of this process stay zombies until they are reaped.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Process:
    """A process, identified by its pid and the time at which it started."""

    pid: int
    started: str


def start(
    argv: Sequence[str],
    *,
    pid_file: Path,
    log: Path,
    cwd: Path,
    env: Mapping[str, str],
    user: RunUser | None,
) -> Process:
    """Start a detached process that appends its output to `log`, and record it in `pid_file`.

    Raises:
        OSError: the process could not be started.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=0o077,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    process = Process(child.pid, _started(child.pid) or "gone")
    write_private(pid_file, json.dumps({"pid": process.pid, "started": process.started}))
    return process


def read(pid_file: Path) -> Process | None:
    """The process that a pid file names, if it is alive."""
    try:
        data = json.loads(pid_file.read_text())
        process = Process(int(data["pid"]), str(data["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if alive(process) else None


def alive(process: Process) -> bool:
    """Return whether this process runs, and not another one with the same pid."""
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        del _children[process.pid]
        return False
    return _started(process.pid) == process.started


def stop(processes: Sequence[Process], *, gentle: signal.Signals, seconds: float) -> None:
    """Ask the processes to end, and kill the remaining ones after `seconds`. Returns when none is alive."""
    _signal(processes, gentle)
    if not _wait_gone(processes, seconds):
        _signal(processes, signal.SIGKILL)
        _wait_gone(processes, 10)


def strays(cwd: Path) -> list[Process]:
    """Processes whose working directory is `cwd`, with or without a pid file.

    Each service has its own working directory, so this finds the leftovers of a killed start, even
    if someone deleted the directory. Empty on systems without /proc.
    """
    if not _LINUX:
        return []
    places = (str(cwd), f"{cwd} (deleted)")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd") in places and (started := _started(int(entry.name))):
                found.append(Process(int(entry.name), started))
    return found


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        if alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _wait_gone(processes: Sequence[Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _started(pid: int) -> str | None:
    """When a process started, as a token unique across reboots. None if the process is gone or a zombie."""
    if not _LINUX:
        listed = subprocess.run(  # noqa: S603
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        return None if not listed or listed.startswith("Z") else listed.split(maxsplit=1)[1]
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # Only the command name may contain spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
