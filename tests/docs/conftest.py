"""The project and the machine of a reader who follows the guides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from supa_llm import Admin, SupaLLM
from supa_llm.local import LocalStack
from supa_llm.local.install import cache_directory, install
from supa_llm.local.layout import layout_for
from tests.docs import command_server
from tests.docs.shell import Shell, terminal
from tests.support import PROVIDERS, ROOT, Emulator, Stack, User, key_for, wait_until

#: The stack of the person who runs the tests may have the usual port. Servers get the signals of a terminal.
_SUPA_LLM = """\
#!/bin/bash
case "$1 $2" in
  "local up") exec {program} local up --port 0 "${{@:3}}" ;;
  panel*) exec {program} "$@" ;;
  *) exec {fast} "$@" ;;
esac
"""
#: `supabase` and `npx supabase`, linked to the project in DB_URL.
_SUPABASE = """\
#!/bin/bash
case "$(basename "$0") $1" in "npx supabase") shift ;; npx*) exit 127 ;; esac
if [ "$1 $2" = "db push" ]; then set -- "${{@/#--remote/--remote=$DB_URL?sslmode=disable}}" --yes; fi
exec {program} "$@"
"""

Terminal = Callable[..., Shell]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A project of its own, because guides change what applies to all users."""
    local = LocalStack(tmp_path_factory.mktemp("reader"), project=ROOT, port=0, throwaway=True)
    try:
        local.up()
        yield Stack.from_env(local.env())
    finally:
        local.destroy()


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the database owner, whose changes are rolled back."""
    with psycopg.connect(stack.db_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="session")
def ann(stack: Stack, _emulator: Emulator) -> User:
    """The user whom administrators look after. One of her requests fell back, and there is an alert."""
    with Admin(stack.api_url, stack.secret_key) as admin:
        for provider in admin.list_providers(disabled=True):
            path = PROVIDERS.get(provider.id, ("/v1",))[0]
            admin.set_provider(provider.id, base_url=_emulator.url + path)
            admin.set_price(provider.id, "*", {"input": 1, "output": 4})
        runtime = admin.register_runtime("ann's app")
        ann = stack.sign_up("ann@example.com")
        # Used up below, which raises an alert.
        admin.set_quota(1, "requests", "lifetime", shared=True, enforced=False)
    with SupaLLM(ann.client(), runtime_secret=runtime.secret.reveal(), operator_keys={}) as llm:
        for provider_id in ("groq", "mistral"):
            llm.set_key(provider_id, key_for(provider_id))
        llm.chat("Hello", model="groq/llama-3.1-8b-instant", task="speed")
        _emulator.fail(500, "/groq/*")
        llm.chat("Hello", task="code")
        llm.chat("Hello", model="mistral/mistral-small-latest")
    return ann


@pytest.fixture
def as_new(stack: Stack, ann: User, emulator: Emulator) -> Iterator[None]:
    """The project, whose providers are emulated. Removes what a guide changes for all users."""
    with Admin(stack.api_url, stack.secret_key) as admin:
        settings = dict(admin.get_operator_settings())
        providers = {it.id: it.base_url for it in admin.list_providers(disabled=True)}
        prices = {price.id for price in admin.list_prices()}
        with stack.connect() as db:  # something to sync
            db.execute("delete from llm_private.price_list where name = 'o4-mini'")
        yield
        for quota in admin.list_quotas():
            if quota.set_by == "operator":
                admin.remove_quota(quota.id)
        for runtime in admin.list_runtimes():
            if runtime.revoked_at is None:
                admin.revoke_runtime(runtime.id)
        for price in admin.list_prices():
            if price.id not in prices and price.source == "operator":
                admin.end_price(price.id)
        for provider in admin.list_providers(disabled=True):
            if provider.id not in providers:
                admin.remove_provider(provider.id)
            else:
                admin.set_provider(provider.id, base_url=providers[provider.id])
        admin.set_operator_settings(
            **{name: value for name, value in settings.items() if name != "updated_at"}
        )


@pytest.fixture(scope="session")
def _programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the programs that a reader has."""
    folder = tmp_path_factory.mktemp("programs")
    socket = folder / "socket"
    server = subprocess.Popen([sys.executable, command_server.__file__, socket])
    cache = cache_directory(layout_for(folder, "").user)
    supabase = _SUPABASE.format(program=install(cache, lambda _: None).supabase)
    programs = {
        "supa-llm": _SUPA_LLM.format(
            program=Path(sys.executable).with_name("supa-llm"), fast=folder / "fast"
        ),
        "fast": command_server.client(socket),
        "npx": supabase,
        "supabase": supabase,
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    wait_until(socket.exists, seconds=30)
    yield folder
    server.terminate()
    server.wait()


@pytest.fixture
def new_terminal(_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Opens a terminal in a folder, with these variables."""
    with ExitStack() as opened:

        def opens(folder: Path, variables: Mapping[str, str]) -> Shell:
            path = [str(_programs), str(Path(sys.executable).parent), os.environ["PATH"]]
            environment = {
                **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
                "PATH": os.pathsep.join(path),
                # Neither the settings nor the name of the person who runs the tests.
                "GIT_CONFIG_GLOBAL": os.devnull,
                **{f"GIT_{who}_{what}": "reader@example.com" for who in ("AUTHOR", "COMMITTER")
                   for what in ("NAME", "EMAIL")},
                **variables,
            }  # fmt: skip
            return opened.enter_context(terminal(folder, environment, tmp_path_factory.mktemp("terminal")))

        yield opens
