"""Files of the repository that must agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

CODE = re.compile(r"^```.*?^```|`[^`\n]+`|^ {4,}.+$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^ *|`|&& )make +([\w./-]+)", re.MULTILINE)
GUIDES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "panel" / "README.md"]


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) := (\S+)$", makefile, re.MULTILINE))
    targets = re.findall(r"^([\w$().-]+)(?: [\w$().-]+)*:(?!=)", makefile, re.MULTILINE)
    return {re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], target) for target in targets}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_command_in_the_guides_exists(guide: Path) -> None:
    named = {name for code in CODE.findall(guide.read_text()) for name in COMMAND.findall(code)}
    assert named <= make_targets()


def test_make_help_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    listed = re.findall(r"@echo 'make ([\w-]+)", makefile)
    assert set(phony[1].split()) - set(listed) == {"help", "clean"}


def test_libraries_are_tested_with_the_oldest_openai_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extra,) = project["project"]["optional-dependencies"]["openai"]
    oldest = extra.replace(">=", "==")
    assert oldest in project["dependency-groups"]["libraries"]
    assert f"\n{oldest}.0 " in (ROOT / "requirements-libraries.lock").read_text()
