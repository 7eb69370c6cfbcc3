"""Finds free ports on the loopback interface, and the processes that use the others."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import time
from pathlib import Path

from supa_llm.errors import LocalError

# Below the system's range for outgoing connections, so that none of them takes a chosen port before its
# service listens on it.
_FREE_RANGE = range(20_000, 32_000)

# The system closes the sockets of a killed process some time after the process is gone.
_RELEASE_SECONDS = 2


def is_free(port: int) -> bool:
    """Return whether a service can listen on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def pick_free(count: int) -> list[int]:
    """Choose free ports."""
    chosen: list[int] = []
    for port in random.sample(_FREE_RANGE, len(_FREE_RANGE)):
        if is_free(port):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise LocalError(
        "No free port found.", code="local_port_in_use", hint="Stop some of the servers on this machine."
    )


def require_free(port: int, service: str) -> None:
    """Raise an error if another process uses the port.

    Raises:
        LocalError: `local_port_in_use`, with the name of the process if known.
    """
    deadline = time.monotonic() + _RELEASE_SECONDS
    while not is_free(port):
        holder = _holder(port)
        if holder is not None or time.monotonic() > deadline:
            raise LocalError(
                f"Port {port} for {service} is in use{f' by {holder}' if holder else ''}.",
                code="local_port_in_use",
                hint="Stop that process, or pick free ports: supa-llm local up --port 0",
            )
        time.sleep(0.02)


def _holder(port: int) -> str | None:
    """Name the process that listens on a port, if this user can see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in inodes for link in (entry / "fd").iterdir()):
                return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
    return None
