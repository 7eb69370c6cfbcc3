"""The files of a stack: its state directory, and the directory in which its services run."""

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

    An ordinary user's stack lives in the state directory. When root starts a stack, the services run as a
    separate user, because PostgreSQL refuses to run as root. They run in /var/lib, because that user may
    not be able to enter the state directory.
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
        """The working directory of a service, with its configuration."""
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
        """The line of a service's log that most likely explains why it ended."""
        lines = [line.strip() for line in self.log_tail(name).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
        return (errors or lines or ["its log is empty"])[-1]

    def rotate_logs(self) -> None:
        """Rotate large logs. Keeps one older file of each."""
        for name in SERVICES:
            log = self.log(name)
            if log.exists() and log.stat().st_size > _LOG_LIMIT:
                log.replace(log.with_suffix(".log.1"))

    def service_environment(self) -> dict[str, str]:
        """The environment of a service, without the caller's variables, which may hold secrets."""
        return {"PATH": os.defpath, "HOME": str(self.run), "LANG": "C.UTF-8", "TZ": "UTC"}


def layout_for(directory: Path, stack_id: str) -> Layout:
    """The layout for the calling user. `stack_id` separates a new stack from an older one in the same place.

    Raises:
        LocalError: `local_no_service_user`.
    """
    if os.geteuid() != 0:
        return Layout(directory, directory, None)
    return Layout(directory, _ROOT_RUN / stack_id, _service_user())


def prepare_run(layout: Layout) -> None:
    """Create the services' directory. Other users can enter its parent but not list it.

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
    """Earlier stacks of root in this directory. Their services may run even if the directory was deleted."""
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
    # A container without useradd still has the user nobody.
    user = _account(_SERVICE_USER) or _account("nobody")
    if user is None:
        raise LocalError(
            "PostgreSQL cannot run as root, and this machine has no user for it.",
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
