"""Code blocks of the guides.

An HTML comment right before a block, which readers do not see, says what is special about it:

    <!-- not run: REASON -->        the block is not executed
    <!-- exits with 1: REASON -->   its last command fails
    <!-- stays running: URL -->     a server, in a terminal of its own; URL responds when it is ready
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "panel" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_NOTE = re.compile(r"<!-- (not run|exits with \d+|stays running): ([^\n]+?) -->")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A code block. `line` is the number of its first line of code; `title` the name of the file it is."""

    page: Path
    line: int
    language: str
    title: str | None
    source: str
    kind: str | None
    note: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.kind != "not run"


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the output that the page shows, if any."""

    line: str
    output: str


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """All code blocks of a page, in order."""
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    found = []
    for before, token in pairwise([tokens[0], *tokens]):
        if token.type not in ("fence", "code_block"):
            continue
        assert token.map is not None
        note = _NOTE.fullmatch(before.content.strip()) if before.type == "html_block" else None
        title = _TITLE.search(token.info)
        found.append(
            Block(
                page,
                token.map[0] + (2 if token.type == "fence" else 1),
                token.info.split(" ")[0] if token.type == "fence" else "indented",
                title[1] if title else None,
                token.content,
                note[1] if note else None,
                note[2] if note else "",
            )
        )
    return tuple(found)


def all_blocks() -> Iterator[Block]:
    for page in PAGES:
        yield from blocks(page)


def commands(block: Block) -> list[Command]:
    """The commands of a block: each line after `$ ` in a console, with its output, or each line of a script.

    A command goes on in the next line after a backslash, in quotes, and until the end of a here-document.
    """
    found: list[Command] = []
    lines = iter(block.source.splitlines())
    is_console = block.language == "console"
    output: list[str] = []
    for line in lines:
        if is_console and not line.startswith("$ "):
            output.append(line)
            continue
        if not line.strip() or line.startswith("#"):
            continue
        if found:
            found[-1] = Command(found[-1].line, "\n".join(output))
        output = []
        command = line.removeprefix("$ ") if is_console else line
        while _goes_on(command):
            following = next(lines, None)
            assert following is not None, f"{block.place}: a command without an end: {line}"
            command += "\n" + following
        found.append(Command(command, ""))
    if found:
        found[-1] = Command(found[-1].line, "\n".join(output))
    return found


def _goes_on(command: str) -> bool:
    if heredoc := re.search(r"<<-? ?['\"]?(\w+)['\"]?", command):
        return not re.search(rf"^{heredoc[1]}$", command, re.MULTILINE)
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quote is open
        return True
    return command.endswith("\\")
