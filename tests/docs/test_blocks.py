"""Code blocks of the guides: commands exist, types fit, data is valid, and all others run or say why not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from supa_llm_cli.main import app

from supa_llm.local.extras import node_binary
from tests.docs.blocks import PAGES, Block, all_blocks, blocks, commands
from tests.support import ROOT

#: Every block that does not run, and why. Prefer to make one run to adding a line.
NOT_RUN = {
    "README.md": [".ci/run runs both commands"],
    "CONTRIBUTING.md": ["a part of a statement"],
    "docs/admin.md": ["needs the network", "the values are the reader's"],
    "docs/cli.md": ["asks for a password; tests/cli/test_ask.py runs both commands"],
    "docs/containers.md": ["needs Docker", "needs Docker"],
    "docs/database.md": [
        "deletes what the other pages need; the tutorial runs it",
        "the databases are described below",
    ],
    "docs/howto/django.md": ["installs packages, which the tests have"],
    "docs/howto/fastapi.md": ["installs packages, which the tests have"],
    "docs/howto/notebook.md": ["installs packages; a command of Jupyter"],
    "docs/libraries.md": ["installs packages; make test-libraries has them locked"],
    "docs/local.md": [
        "the tests of these pages start their project like this",
        "takes as long as a start; tests/local/test_lifecycle.py runs it",
    ],
    "docs/panel.md": ["needs a clone; .ci/run runs make quickstart, and the tutorial runs the panel"],
    "docs/policies.md": ["needs Docker"],
    "docs/prices.md": ["changes the installed packages"],
    "docs/tutorial.md": ["installs packages, which the tests have", "needs a Supabase account"],
    "docs/usage.md": [
        "needs gunicorn",
        "needs Celery",
        "needs a database that somebody changed by hand",
    ],
}
#: `text` is what a program prints. tests/docs/test_pages.py runs the first four.
LANGUAGES = {
    "python", "sh", "console", "sql", "text", "json", "css", "html", "js", "ts", "tsx", "vue", "svelte",
}  # fmt: skip

_SUPA_LLM = typer.main.get_command(app)
_PANEL = ROOT / "panel"
_INLINE = re.compile(r"`(supa-llm [^`]*)`")
_SCRIPT = re.compile(r"<script(?: [^>]*)?>\n(.*?)</script>", re.DOTALL)
_TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "allowJs": True,
        "jsx": "react-jsx",
        "target": "ES2022",
        "module": "ESNext",
        "moduleResolution": "bundler",
        "lib": ["ES2023", "DOM", "DOM.Iterable"],
        "types": [],
        "skipLibCheck": True,
        "paths": {"supa-llm-settings": ["../../dist/types/index.d.ts"]},
    }
}
#: What the guides leave to the reader's app and its tools.
_READERS_OWN = """\
declare module "@vitejs/plugin-vue" { export default function vue(options: object): object; }
declare module "svelte" { export function onMount(run: () => void): void; }
"""
_CLIENT = """\
import { createClient } from "@supabase/supabase-js";
export const supabase = createClient("http://127.0.0.1", "sb_publishable_x");
"""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_blocks_that_do_not_run_are_listed() -> None:
    notes = {
        name_of(page): reasons
        for page in PAGES
        if (reasons := [block.note for block in blocks(page) if not block.runs])
    }
    assert notes == NOT_RUN
    assert sum(map(len, notes.values())) <= 30


def test_blocks_have_a_language() -> None:
    assert [block.place for block in all_blocks() if block.language not in LANGUAGES] == []


@pytest.mark.parametrize(
    "block",
    [pytest.param(it, id=it.place) for it in all_blocks() if it.language == "python" and not it.runs],
)
def test_python_that_does_not_run_compiles(block: Block) -> None:
    compile(block.source, block.place, "exec")


@pytest.mark.parametrize(
    "block", [pytest.param(it, id=it.place) for it in all_blocks() if it.language == "json"]
)
def test_json_is_valid(block: Block) -> None:
    json.loads(block.source)


@pytest.mark.parametrize(
    "block", [pytest.param(it, id=it.place) for it in all_blocks() if it.language == "css"]
)
def test_css_names_what_the_panel_has(block: Block) -> None:
    source = "\n".join(file.read_text() for file in (_PANEL / "src").rglob("*.ts"))
    named = set(re.findall(r"--supa-llm-[\w-]+", block.source))
    assert named
    assert {name for name in named if name not in source} == set()
    parts = set(re.findall(r"::part\((\w+)\)", block.source))
    assert {part for part in parts if not re.search(rf'part="[^"]*\b{part}\b', source)} == set()


def written_commands() -> Iterator[Any]:
    """Each `supa-llm …` of the guides: in code blocks, and within text."""
    for page in PAGES:
        found = {
            part
            for block in blocks(page)
            if block.language in ("sh", "console")
            for command in commands(block)
            for part in re.split(r"[|;&]+|\$\(", command.line)
        }
        found |= set(_INLINE.findall(page.read_text()))
        for command in sorted(found):
            if re.match(r"\s*(?:\S*/)?supa-llm\s", command):
                yield pytest.param(command.strip(), id=f"{name_of(page)}: {command.strip()[:80]}")


@pytest.mark.parametrize("command", list(written_commands()))
def test_its_commands_exist(command: str) -> None:
    words = shlex.split(command.rstrip(')"'), comments=True)[1:]
    # In text, names in capitals and ellipses stand for the reader's. Parsing runs the options of completion.
    if {"COMMAND", "…", "--install-completion", "--show-completion"} & set(words):
        return
    parse(_SUPA_LLM, words)


def parse(command: Any, words: list[str]) -> None:
    """Parse a command line as `supa-llm` does, without running it. Text may name a group of commands."""
    words = [word for word in words if word != "--help"]
    if not words:
        return
    context = command.make_context("supa-llm", list(words))
    if left := [*getattr(context, "_protected_args", ()), *context.args]:
        _, found, rest = command.resolve_command(context, left)
        parse(found, rest)


def test_its_typescript_has_the_right_types() -> None:
    """TypeScript, also in JSX, Vue and Svelte, with `tsc --strict`. JavaScript must only parse."""
    folder = _PANEL / "node_modules" / ".docs"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "readers-own.d.ts").write_text(_READERS_OWN)
    (folder / "supabase.ts").write_text(_CLIENT)
    # tests/migration/test_supabase_cli.py compiles docs/rpc.md with the real types.
    (folder / "database.types.ts").write_text("export type Database = any;\n")
    shutil.copy(_PANEL / "src" / "types.ts", folder / "rows.ts")
    (folder / "tsconfig.json").write_text(json.dumps(_TSCONFIG))
    count = 0
    for block in all_blocks():
        for suffix, source in scripts(block):
            count += 1
            # Each is a module of its own.
            name = block.place.replace("/", "-").replace(":", "-")
            (folder / f"{name}{suffix}").write_text(f"{source}\nexport {{}};\n")
    assert count >= 8
    tsc = _PANEL / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [node_binary(), tsc, "--project", folder], capture_output=True, text=True, cwd=_PANEL
    )
    assert done.returncode == 0, done.stdout


def scripts(block: Block) -> Iterator[tuple[str, str]]:
    """The scripts of a block, each with the suffix of its file."""
    if block.title is None and block.language in ("ts", "tsx"):
        yield f".{block.language}", block.source
    elif block.language == "js":
        yield ".js", block.source
    elif block.language in ("vue", "svelte"):
        for source in _SCRIPT.findall(block.source):
            yield ".ts", source
    elif block.language == "html":
        for source in _SCRIPT.findall(block.source):
            yield ".js", source


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_links_are_not_broken(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
