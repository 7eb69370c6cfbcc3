"""The code of every guide runs, in order, as a reader would run it.

Python, commands and SQL run against a local stack with emulated providers. What a page shows as a command's
output is compared with the real one: messages in full, tables by their columns, numbers and dates by their
place only.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import Admin, SupaLLM
from tests.docs.blocks import PAGES, blocks
from tests.docs.conftest import Terminal
from tests.docs.reader import SHELL, Reader
from tests.support import PASSWORD, ROOT, Stack, User, key_for, unique

#: tests/providers/libraries runs the first, where all libraries are installed; test_tutorial.py the second.
_ELSEWHERE = ("docs/libraries.md", "docs/tutorial.md")
_RPC = re.compile(r"`(\w*llm_\w+)[`(]")


def page_names() -> Iterator[Any]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        runs = any(it.runs and it.language in ("python", *SHELL, "sql") for it in blocks(page))
        if runs and name not in _ELSEWHERE:
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
    if page.name == "local.md":  # starts a project of its own
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
        with closing(Reader(new_terminal(tmp_path, project), names, monkeypatch, stack)) as reader:
            for block in blocks(page):
                if block.runs:
                    reader.run(block)


def test_the_rpcs_it_names_exist(db: psycopg.Connection[Any]) -> None:
    rows = db.execute("select proname from pg_proc where pronamespace = 'public'::regnamespace").fetchall()
    functions = {name for (name,) in rows}
    pages = [page for page in PAGES if page.name != "CONTRIBUTING.md"]  # which adds new ones
    named = {name for page in pages for name in _RPC.findall(page.read_text())}
    named -= {"llm_private", "llm_definer"}
    assert named
    assert named <= functions
