"""The Python blocks of the README and the guides run, in order, as a reader would run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import Admin, SupaLLM
from tests.support import ROOT, Emulator, Stack, User, key_for, unique

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: tests/providers/libraries runs it, where all libraries are installed.
_LIBRARIES = ROOT / "docs" / "libraries.md"
#: Address of the provider emulator in the guides.
_EMULATOR = "http://127.0.0.1:8000"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RPC = re.compile(r"`(\w*llm_\w+)[`(]")


def blocks(guide: Path) -> Iterator[tuple[int, str]]:
    """The Python blocks of a guide, each with the number of the line before it."""
    text = guide.read_text()
    for found in _BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found[1]


@pytest.fixture
def unchanged(stack: Stack, db: psycopg.Connection[Any]) -> Iterator[None]:
    """A project as new as the reader's. Restores what a guide changes in it."""
    settings = stack.admin("get_llm_operator_settings")
    settings.pop("updated_at")
    before = db.execute("select id, to_jsonb(p) - 'created_at' - 'updated_at' from public.llm_providers as p")
    providers = dict(before.fetchall())
    stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    yield
    stack.admin("set_llm_operator_settings", p_changes=settings)
    db.execute("delete from public.llm_providers where id <> all(%s)", [list(providers)])
    for provider in providers.values():
        stack.admin("set_llm_provider", p_provider=provider)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "guide",
    [
        pytest.param(guide, id=guide.name)
        for guide in GUIDES
        if guide != _LIBRARIES and next(blocks(guide), None)
    ],
)
def test_its_python_runs(
    guide: Path,
    stack: Stack,
    user: User,
    providers: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPABASE_URL", stack.api_url)
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", stack.publishable_key)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", stack.secret_key)
    runtime = stack.admin("register_llm_runtime", p_name=unique("reader"))
    monkeypatch.setenv("SUPA_LLM_RUNTIME_SECRET", runtime["secret"])
    with SupaLLM(user.client()) as llm, Admin(stack.api_url, stack.secret_key) as admin:
        # What a guide assumes: a signed-in user, the user's input, and the administrator.
        names = {
            **user.credentials,
            "access_token": user.access_token,
            "openai_key": key_for("openai"),
            "llm": llm,
            "admin": admin,
        }
        for line, block in blocks(guide):
            source = "\n" * line + block.replace(_EMULATOR, providers.url)
            exec(compile(source, guide, "exec"), names)
        if names["llm"] is not llm:
            names["llm"].close()


def test_the_rpcs_it_names_exist(db: psycopg.Connection[Any]) -> None:
    rows = db.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()
    functions = {name for (name,) in rows}
    named = {name for guide in GUIDES for name in _RPC.findall(guide.read_text())} - {"llm_private"}
    assert named
    assert named <= functions


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES])
def test_links_are_not_broken(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target
