"""The settings of a stack, and the status of its services."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local import processes
from supa_llm.local.files import write_private
from supa_llm.local.layout import SERVICES, Layout
from supa_llm.local.postgres import DefaultPrivileges


@dataclass(frozen=True)
class Settings:
    """Settings that persist between starts."""

    id: str
    api_port: int
    db_port: int
    rest_port: int
    default_privileges: DefaultPrivileges
    throwaway: bool
    seeded: bool = False

    def ports(self) -> dict[str, int]:
        """The port of each service."""
        return {"postgres": self.db_port, "rest": self.rest_port, "auth": self.api_port}


@dataclass(frozen=True)
class ServiceStatus:
    """One service: `postgres`, `rest` (PostgREST) or `auth` (Supabase Auth and the front)."""

    name: str
    running: bool
    pid: int | None
    port: int


@dataclass(frozen=True)
class StackStatus:
    """The services of a stack and whether they run."""

    services: tuple[ServiceStatus, ...]

    @property
    def running(self) -> bool:
        """Whether all services run."""
        return bool(self.services) and all(service.running for service in self.services)


def load(directory: Path) -> Settings | None:
    """Read the settings. None if no stack exists.

    Raises:
        LocalError: `local_state_broken`.
    """
    path = directory / "stack.json"
    try:
        return Settings(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise LocalError(
            f"Cannot read the stack's settings in {path}.",
            code="local_state_broken",
            hint="If another user created the stack, run the command as that user. "
            "Otherwise delete its directory, which deletes the stack's data.",
        ) from error


def save(directory: Path, settings: Settings) -> Settings:
    """Write the settings, and return them."""
    write_private(directory / "stack.json", json.dumps(asdict(settings), indent=2))
    return settings


def status(layout: Layout, settings: Settings) -> StackStatus:
    """Return which services run."""
    found = {name: processes.read(layout.pid_file(name)) for name in SERVICES}
    return StackStatus(
        tuple(
            ServiceStatus(name, process is not None, process.pid if process else None, settings.ports()[name])
            for name, process in found.items()
        )
    )
