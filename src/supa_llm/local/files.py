"""Files that other users of the machine cannot read, and a lock between commands."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from supa_llm.errors import LocalError


@dataclass(frozen=True)
class RunUser:
    """The unprivileged account that the services run as if the caller is root."""

    name: str
    uid: int
    gid: int


def private_directory(path: Path, user: RunUser | None = None) -> Path:
    """Create a directory that only its owner can enter.

    Raises:
        LocalError: `local_directory_unwritable`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        if user is not None:
            os.chown(path, user.uid, user.gid)
        probe = path / f".probe-{secrets.token_hex(4)}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_private(path: Path, text: str, user: RunUser | None = None) -> None:
    """Write a file that only its owner can read. The file appears only when it is complete."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if user is not None:
            os.fchown(descriptor, user.uid, user.gid)
        file.write(text)
    temporary.replace(path)


def remove_tree(path: Path) -> None:
    """Delete a directory and its contents, if it exists."""
    if path.exists():
        shutil.rmtree(path)


@contextlib.contextmanager
def locked(path: Path, *, seconds: float, progress: Callable[[str], None]) -> Iterator[int]:
    """Hold an exclusive lock. The system releases it when this process ends, even if it is killed.

    Yields the lock's file descriptor. A child process that inherits it also holds the lock, so the next
    command waits for the children of a killed one.

    Raises:
        LocalError: `local_busy` if another process holds the lock for `seconds`, or
            `local_directory_unwritable`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    try:
        deadline = time.monotonic() + seconds
        reported = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"Another supa-llm command has been using {path.parent} for over {seconds:.0f} s.",
                        code="local_busy",
                        hint="Wait for it to finish or stop it, then try again.",
                    ) from None
                if not reported:
                    progress("Waiting for another supa-llm command …")
                    reported = True
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> LocalError:
    return LocalError(
        f"Cannot write to {path}: {error.strerror}.",
        code="local_directory_unwritable",
        hint="Check your write access, or choose another directory with --directory or SUPA_LLM_HOME.",
    )
