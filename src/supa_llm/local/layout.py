"""Where a stack keeps what: its state directory, and the place where its services run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local.files import RunUser, private_directory, write_private

SERVICES = ("postgres", "rest", "auth")

_SERVICE_USER = "supa-llm"
_ROOT_RUN = Path("/var/lib/supa-llm")
_OWNER = "owner"
_LOG_LIMIT = 10 * 1024 * 1024


@dataclass(frozen=True)
class Layout:
    """Paths of one stack.

    For an ordinary user everything is in the state directory. PostgreSQL refuses to run as root, and nothing
    that takes requests should, so for root the services run as a user of their own, in a directory which that
    user can reach wherever the state directory is.
    """

    directory: Path
    run: Path
    user: RunUser | None

    @property
    def settings(self) -> Path:
        return self.directory / "stack.json"

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets.json"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def data(self) -> Path:
        return self.run / "data"

    def service(self, name: str) -> Path:
        """A service's own directory, in which it runs and keeps its configuration."""
        return self.run / name

    def pid_file(self, name: str) -> Path:
        return self.directory / "pids" / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines of a service's log."""
        try:
            with self.log(name).open(errors="replace") as file:
                return "".join(deque(file, lines)).rstrip()
        except OSError:
            return ""

    def log_reason(self, name: str) -> str:
        """The line of a service's log that most likely says why it ended."""
        lines = [line.strip() for line in self.log_tail(name).splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
        return (telling or lines or ["it left no message"])[-1]

    def rotate_logs(self) -> None:
        """Keep a log from growing without end: one older generation is kept."""
        for name in SERVICES:
            log = self.log(name)
            if log.exists() and log.stat().st_size > _LOG_LIMIT:
                log.replace(log.with_suffix(".log.1"))

    def service_environment(self) -> dict[str, str]:
        """What a service inherits: nothing of the caller's, which might leak or interfere."""
        return {"PATH": os.defpath, "HOME": str(self.run), "LANG": "C.UTF-8", "TZ": "UTC"}


def layout_for(directory: Path, stack_id: str) -> Layout:
    """The layout for the calling user. `stack_id` keeps a new stack in an old place from finding old data.

    Raises:
        LocalError: `local_no_service_user`.
    """
    if os.geteuid() != 0:
        return Layout(directory, directory, None)
    return Layout(directory, _ROOT_RUN / stack_id, _service_user())


def prepare_run(layout: Layout) -> None:
    """Make the services' directory. Others may pass through the one above it, and see nothing.

    Raises:
        LocalError: `local_directory_unwritable`.
    """
    if layout.user is not None:
        layout.run.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        layout.run.parent.chmod(0o711)
    private_directory(layout.run, layout.user)
    if layout.user is not None:
        write_private(layout.run / _OWNER, str(layout.directory))


def former_layouts(directory: Path) -> list[Layout]:
    """Stacks of root that were in this directory before somebody deleted it. Their services may still run."""
    found = []
    if os.geteuid() == 0 and _ROOT_RUN.is_dir():
        for run in _ROOT_RUN.iterdir():
            owner = run / _OWNER
            if owner.exists() and owner.read_text() == str(directory):
                found.append(Layout(directory, run, None))
    return found


def _service_user() -> RunUser:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None and not _account(_SERVICE_USER):
        subprocess.run(  # noqa: S603 - a fixed program, no shell
            [
                *(useradd, "--system", "--user-group", "--no-create-home"),
                *("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", _SERVICE_USER),
            ],
            capture_output=True,
            check=False,
        )
    # A container without user management still has nobody.
    user = _account(_SERVICE_USER) or _account("nobody")
    if user is None:
        raise LocalError(
            "PostgreSQL cannot run as root, and this machine has no other user for it.",
            code="local_no_service_user",
            hint=f"Run the command as an ordinary user, or create the system user {_SERVICE_USER}.",
        )
    return user


def _account(name: str) -> RunUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return RunUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
