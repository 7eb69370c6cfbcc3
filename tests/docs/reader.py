"""A reader of the guides, who runs each block of a page and looks at what it prints."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm.local.ports import pick_free
from tests.docs.blocks import Block, Command, commands
from tests.docs.shell import Shell
from tests.support import ROOT, Stack

SHELL = ("sh", "console")
#: Ports that pages use, which other programs may have.
_PORTS = re.compile(r"(?<=[: ])(8000|8001|8080)\b")
#: Projects that pages name.
_PROJECT = re.compile(r"https://[\w-]+\.supabase\.co")


class Reader:
    """Runs the blocks of a page.

    Args:
        shell: the reader's terminal.
        names: what the page's Python assumes.
        project: the project for SQL, and for the addresses of projects in the page.
    """

    def __init__(
        self, shell: Shell, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, project: Stack | None
    ) -> None:
        self._shell = shell
        self._names = names
        self._monkeypatch = monkeypatch
        self._project = project
        self._loop = asyncio.Runner()
        self._ports = dict(zip(("8000", "8001", "8080"), map(str, pick_free(3)), strict=True))
        self._ids: dict[str, str] = {}

    def run(self, block: Block) -> None:
        source = self._here(block.source)
        if block.title is not None:
            file = self._folder() / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        elif block.language == "python":
            for name, value in self._shell.variables().items():
                self._monkeypatch.setenv(name, value)
            self._run_python(block, source)
        elif block.language in SHELL:
            self._run_commands(block)
        elif block.language == "sql":
            assert self._project is not None
            with psycopg.connect(self._project.db_url) as db:
                db.execute(source)
                db.rollback()

    def served_at(self, block: Block) -> str:
        """Where the server of this block responds."""
        return self._here(block.note)

    def close(self) -> None:
        self._loop.close()

    def _folder(self) -> Path:
        return Path(self._shell.run("pwd")[1].strip())

    def _here(self, text: str) -> str:
        """A page's text, with what differs on this machine."""
        text = text.replace("/var/lib/my-app", str(self._folder())).replace("/path/to/supa-llm", str(ROOT))
        if self._project is not None:
            text = _PROJECT.sub(self._project.api_url, text)
        return _PORTS.sub(lambda port: self._ports[port[1]], text)

    def _run_python(self, block: Block, source: str) -> None:
        # Notebooks take `await` outside of functions.
        code = compile(
            "\n" * (block.line - 1) + source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, self._names)
            return
        self._loop.run(eval(code, self._names))

    def _run_commands(self, block: Block) -> None:
        everything = commands(block)
        for command in everything:
            line = self._here(command.line)
            line = re.sub(r"\b\d{3,}\b", lambda number: self._ids.get(number[0], number[0]), line)
            if block.kind == "stays running":
                self._shell.start(line, self.served_at(block))
                continue
            expected = int(block.kind.split()[-1]) if block.kind and command == everything[-1] else 0
            status, output = self._shell.run(line)
            assert status == expected, f"{block.place}: {command.line}\n{output}"
            self._compare(command, output, block)

    def _compare(self, command: Command, output: str, block: Block) -> None:
        shown = command.output.splitlines()
        real = output.splitlines()
        if not shown:
            return
        for name in ("Price", "Quota"):
            mine, theirs = (re.search(rf"{name} (\d+):", text) for text in (command.output, output))
            if mine and theirs:
                self._ids[mine[1]] = theirs[1]
        is_table = "  " in shown[0].strip()
        for line in shown[:1] if is_table else shown:
            is_shown = has_columns if is_table else is_like
            assert any(is_shown(it, line) for it in real), f"{block.place} shows {line!r}, not\n{output}"


def has_columns(real: str, shown: str) -> bool:
    """Whether the head of a table has only columns of the shown one, in that order. Empty ones are hidden."""
    columns = iter(re.split(r"\s{2,}", shown.strip()))
    return all(column in columns for column in re.split(r"\s{2,}", real.strip()))


def is_like(real: str, shown: str) -> bool:
    """Whether two lines have the same words. Numbers differ, and `…` stands for anything."""
    pattern = re.escape(_plain(shown)).replace("…", ".*")
    return re.fullmatch(pattern, _plain(real)) is not None


def _plain(line: str) -> str:
    return " ".join(re.sub(r"[\d.,]*\d[\d.,]*", "0", line).split())
