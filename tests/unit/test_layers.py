"""The layers: which package may import which, and that no import is circular."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import supa_llm

PACKAGE = Path(supa_llm.__file__).parent
#: Each layer and the layers that it may import, besides itself and errors.py.
LAYERS: dict[str, set[str]] = {
    "values": set(),
    "database": {"values"},
    "wire": {"values"},
    "engine": {"values", "wire"},
    "client": {"values", "database", "wire", "engine"},
    "panel": {"values", "database", "wire", "engine", "client"},
    "local": {"values"},
}


def modules() -> dict[str, set[str]]:
    """Module → modules of the package that it imports, in functions and for type checkers too."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        found[name] = {
            module
            for node in ast.walk(ast.parse(path.read_text()))
            for module in _imported(node)
            if module.startswith("supa_llm.")
        }
    return found


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(module)):
            return [_module(module, alias.name) for alias in node.names]
        case _:
            return []


def _module(package: str, name: str) -> str:
    """``from supa_llm.client import dropin`` imports a module; ``… import Name`` a name of one."""
    path = PACKAGE.parent / Path(*package.split(".")) / f"{name}.py"
    return f"{package}.{name}" if path.exists() else package


def test_a_layer_imports_only_the_layers_below() -> None:
    for module, imported in modules().items():
        layer = module.removeprefix("supa_llm.").partition(".")[0]
        if layer not in LAYERS:
            continue
        foreign = {it for it in imported if it != "supa_llm.errors" and it.split(".")[1] != layer}
        assert {it.split(".")[1] for it in foreign} <= LAYERS[layer], module


def test_every_package_is_a_layer() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LAYERS)


def test_no_import_is_circular() -> None:
    TopologicalSorter(modules()).prepare()
