"""The tutorial works from its first to its last step, in a terminal and in a browser."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.docs.browser import use_app
from tests.docs.conftest import Terminal
from tests.docs.reader import Reader
from tests.support import ROOT


def test_the_tutorial_works(new_terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with closing(Reader(new_terminal(tmp_path, {}), {}, monkeypatch, None)) as reader:
        for block in blocks(ROOT / "docs" / "tutorial.md"):
            if block.runs:
                reader.run(block)
            if block.kind == "stays running":
                use_app(reader.served_at(block).removesuffix("/project"))
    # Nothing of the reader's own was touched.
    assert (tmp_path / "todo-app" / "usage.csv").read_text().count("\n") == 3
