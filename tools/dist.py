"""Builds a release's packages into dist/: `make dist`.

The wheel, the source archive, the npm package of the settings panel, and an SBOM (CycloneDX, JSON) of each:
what an installation of the wheel with all extras brings along, and what the panel bundles. The version is the
one in pyproject.toml.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hatch_build import npm

ROOT = Path(__file__).resolve().parent.parent
_PANEL = ROOT / "panel"
_TOOLS = Path(sys.executable).parent
# A package in an import of a type declaration; relative imports begin with a dot.
_IMPORTED = re.compile(r"""(?:from |import\()["'](?!\.)((?:@[^/"']+/)?[^/"']+)""")


class Packages(NamedTuple):
    """What :func:`build` wrote."""

    wheel: Path
    source: Path
    npm: Path
    sboms: tuple[Path, Path]


def version() -> str:
    """The version of supa-llm and of its panel."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def build(folder: Path) -> Packages:
    """Build all packages into this folder, which must be empty or missing."""
    folder.mkdir(parents=True, exist_ok=True)
    # The wheel is built from the source archive, so the archive is complete.
    _run("uv", "build", "--quiet", "--no-config", "--out-dir", folder, ROOT)
    [wheel], [source] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        panel = _pack_panel(wheel, work / "panel", folder)
        sboms = (
            _python_sbom(wheel, work / "venv", folder / f"supa-llm-{version()}.cdx.json"),
            _panel_sbom(work / "supa-llm-settings", folder / f"supa-llm-settings-{version()}.cdx.json"),
        )
    return Packages(wheel, source, panel, sboms)


def _pack_panel(wheel: Path, stage: Path, folder: Path) -> Path:
    """Pack the npm package from the panel in the wheel, so that both have the same build."""
    shutil.unpack_archive(wheel, stage, "zip")
    package = stage / "package"
    shutil.copytree(stage / "supa_llm" / "panel" / "lib", package / "dist")
    for name in ("README.md", "LICENSE"):
        shutil.copy(_PANEL / name, package)
    (package / "package.json").write_text(json.dumps(_manifest(package / "dist"), indent=2) + "\n")
    npm("pack", "--silent", "--pack-destination", str(folder), cwd=package)
    [packed] = folder.glob("*.tgz")
    return packed


def _manifest(dist: Path) -> dict[str, Any]:
    """The published package.json. The bundle has its packages in it; only the types need some of them."""
    manifest: dict[str, Any] = json.loads((_PANEL / "package.json").read_text())
    typed = {
        name for types in dist.rglob("*.d.ts") for name in _IMPORTED.findall(types.read_text())
    } & manifest["dependencies"].keys()
    return {
        "name": manifest["name"],
        "version": version(),
        **{
            name: manifest[name]
            for name in ("description", "license", "type", "files", "exports", "sideEffects")
        },
        "dependencies": {name: manifest["dependencies"][name] for name in sorted(typed)},
    }


def _python_sbom(wheel: Path, venv: Path, path: Path) -> Path:
    _run("uv", "venv", "--quiet", "--no-config", "--python", sys.executable, venv)
    extras = "demo,openai,local,prices,parquet,panel"
    _run("uv", "pip", "install", "--quiet", "--no-config", "--python", venv, f"{wheel}[{extras}]")
    _run(
        "cyclonedx-py", "environment", "--output-reproducible", "--pyproject", ROOT / "pyproject.toml",
        "--output-file", path, venv / "bin" / "python",
    )  # fmt: skip
    return path


def _panel_sbom(stage: Path, path: Path) -> Path:
    """Write the SBOM of the panel's bundle, which holds the dependencies in its package.json."""
    # npm names the package after its folder.
    stage.mkdir()
    manifest, lock = (
        json.loads((_PANEL / name).read_text()) for name in ("package.json", "package-lock.json")
    )
    # npm's own --omit=dev also omits packages that something else needs.
    lock["packages"] = {name: entry for name, entry in lock["packages"].items() if not entry.get("dev")}
    for root in (manifest, lock["packages"][""]):
        root.pop("devDependencies")
        root["version"] = version()
    (stage / "package.json").write_text(json.dumps(manifest))
    (stage / "package-lock.json").write_text(json.dumps(lock))
    options = ("--sbom-format", "cyclonedx", "--package-lock-only")
    path.write_text(npm("sbom", *options, cwd=stage, capture=True))
    return path


def _run(tool: str, *arguments: str | Path) -> None:
    subprocess.run([_TOOLS / tool, *arguments], check=True)


if __name__ == "__main__":
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    build(ROOT / "dist")
    print(*sorted(path.relative_to(ROOT) for path in (ROOT / "dist").iterdir()), sep="\n")
