"""The code of every guide runs, in order, as a reader would run it.

Python, commands and SQL run against a local stack with emulated providers. What a page shows as a command's
output is compared with the real one: messages in full, tables by their columns, numbers and dates by their
place only.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import Admin, SupaLLM
from supa_llm.local.ports import pick_free
from tests.docs.blocks import PAGES, Block, Command, blocks, commands
from tests.docs.browser import use_app
from tests.docs.conftest import Terminal
from tests.docs.shell import Shell
from tests.support import PASSWORD, ROOT, Stack, User, key_for, unique

SHELL = ("sh", "console")
#: Pages that start a project of their own.
_OWN_STACK = ("docs/local.md", "docs/tutorial.md")
#: Pages for which all libraries must be installed; tests/providers/libraries runs them.
_LIBRARIES = ("docs/libraries.md",)
_RPC = re.compile(r"`(\w*llm_\w+)[`(]")
_PORTS = re.compile(r"(?<=[: ])(8000|8001|8080)\b")


class Reader:
    """Somebody who runs the blocks of a page."""

    def __init__(
        self,
        shell: Shell,
        names: dict[str, Any],
        folder: Path,
        db: psycopg.Connection[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._shell = shell
        self._monkeypatch = monkeypatch
        self._names = names
        self._folder = folder
        self._db = db
        self._ports = dict(zip(("8000", "8001", "8080"), map(str, pick_free(3)), strict=True))
        self._ids: dict[str, str] = {}

    def run(self, block: Block) -> None:
        source = self._here(block.source)
        if block.title is not None:
            file = Path(self._shell.run("pwd")[1].strip()) / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        elif block.language == "python":
            for name, value in self._shell.variables().items():
                self._monkeypatch.setenv(name, value)
            self._run_python(block, source)
        elif block.language in SHELL:
            self._run_commands(block)
        elif block.language == "sql":
            self._db.execute(source)

    def _here(self, text: str) -> str:
        """A page's text, with what differs on this machine."""
        text = text.replace("/var/lib/my-app", str(self._folder)).replace("/path/to/supa-llm", str(ROOT))
        return _PORTS.sub(lambda port: self._ports[port[1]], text)

    def _run_python(self, block: Block, source: str) -> None:
        # Notebooks take `await` outside of functions.
        code = compile(
            "\n" * (block.line - 1) + source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, self._names)
            return
        runner = self._names.setdefault("__runner__", asyncio.Runner())
        runner.run(eval(code, self._names))

    def _run_commands(self, block: Block) -> None:
        everything = commands(block)
        for command in everything:
            line = self._here(command.line)
            line = re.sub(r"\b\d{3,}\b", lambda number: self._ids.get(number[0], number[0]), line)
            if block.kind == "stays running":
                url = self._here(block.note)
                self._shell.start(line, url)
                if block.page.name == "tutorial.md":
                    use_app(url.removesuffix("/project"))
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
            is_shown = _has_columns if is_table else _is_like
            assert any(is_shown(it, line) for it in real), f"{block.place} shows {line!r}, not\n{output}"


def _has_columns(real: str, shown: str) -> bool:
    """Whether the head of a table has only columns of the shown one, in that order. Empty ones are hidden."""
    columns = iter(re.split(r"\s{2,}", shown.strip()))
    return all(column in columns for column in re.split(r"\s{2,}", real.strip()))


def _is_like(real: str, shown: str) -> bool:
    """Whether two lines have the same words. Numbers differ, and `…` stands for anything."""
    pattern = re.escape(_plain(shown)).replace("…", ".*")
    return re.fullmatch(pattern, _plain(real)) is not None


def _plain(line: str) -> str:
    return " ".join(re.sub(r"[\d.,]*\d[\d.,]*", "0", line).split())


def page_names() -> Iterator[Any]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        runs = any(it.runs and it.language in ("python", *SHELL, "sql") for it in blocks(page))
        if runs and name not in _LIBRARIES:
            yield pytest.param(page, id=name)


def _use_unpriced_model(ann: User, runtime: str) -> None:
    """Let Ann use a model that has no price."""
    with ann.stack.connect() as db:
        db.execute("delete from public.llm_prices where provider = 'mistral'")
    with SupaLLM(ann.client(), runtime_secret=runtime, operator_keys={}) as llm:
        for _ in range(2):
            llm.chat("Hello", model="mistral/mistral-small-latest")


@pytest.mark.usefixtures("as_new")
@pytest.mark.parametrize("page", list(page_names()))
def test_its_code_runs(
    page: Path,
    stack: Stack,
    user: User,
    ann: User,
    db: psycopg.Connection[Any],
    new_terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    runtime = stack.admin("register_llm_runtime", p_name=unique("reader"))["secret"]
    project = {
        "SUPABASE_URL": stack.api_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "SUPABASE_DB_URL": stack.db_url,
        "DB_URL": stack.db_url,
        "SUPA_LLM_RUNTIME_SECRET": runtime,
        "ACCESS_TOKEN": user.access_token,
    }
    if str(page.relative_to(ROOT)) in _OWN_STACK:
        project = {}
    elif page.parent.name == "howto":  # for a project with supa-llm, and a user with a key
        shutil.copytree(ROOT / "supabase" / "migrations", tmp_path / "supabase" / "migrations")
        user.rpc("set_llm_key", provider="openai", key=key_for("openai"))
        monkeypatch.setattr("builtins.input", lambda _: user.email)
        monkeypatch.setattr("getpass.getpass", lambda: PASSWORD)
        monkeypatch.syspath_prepend(tmp_path)
    else:
        (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    for name, value in project.items():
        monkeypatch.setenv(name, value)
    sb = user.client()
    with SupaLLM(sb, runtime_secret=runtime) as llm, Admin(stack.api_url, stack.secret_key) as admin:
        # What a guide assumes: a signed-in user, the user's input, and the administrator.
        names = {
            **user.credentials,
            "access_token": user.access_token,
            "openai_key": key_for("openai"),
            "sb": sb,
            "llm": llm,
            "admin": admin,
        }
        if page.name == "usage.md":
            _use_unpriced_model(ann, runtime)
        reader = Reader(new_terminal(tmp_path, project), names, tmp_path, db, monkeypatch)
        for block in blocks(page):
            if block.runs:
                reader.run(block)


def test_the_rpcs_it_names_exist(db: psycopg.Connection[Any]) -> None:
    rows = db.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()
    functions = {name for (name,) in rows}
    pages = [page for page in PAGES if page.name != "CONTRIBUTING.md"]  # which adds new ones
    named = {name for page in pages for name in _RPC.findall(page.read_text())} - {"llm_private"}
    assert named
    assert named <= functions
