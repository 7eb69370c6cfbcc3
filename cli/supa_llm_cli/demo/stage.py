"""The setup of the demo: a Supabase project, its administrator's work, an emulator, and users."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

import supabase
from supa_llm import Admin, Receipt, SupaLLM, UserLLM
from supa_llm.client.operator_keys import OperatorKeys
from supa_llm.client.price_lists import price_list
from supa_llm.local import LocalStack
from supa_llm.local.ports import is_free
from supa_llm.local.project_files import packaged_project
from supa_llm_cli.demo.emulator import Emulator, emulator
from supa_llm_cli.demo.show import Show

#: Provider → prefix and further length of its keys. The made-up keys give no access anywhere.
_KEY_SHAPES = {
    "groq": ("gsk_", 20),
    "openai": ("sk-", 20),
    "mistral": ("", 32),
    "anthropic": ("sk-ant-", 20),
    "google": ("AIza", 20),
}


@dataclass
class Person:
    """A signed-in user: their Supabase client, their `UserLLM`, and their requests' receipts."""

    name: str
    id: str
    sb: supabase.Client = field(repr=False)
    llm: UserLLM = field(repr=False)
    receipts: list[Receipt] = field(default_factory=list)


class Project:
    """The Supabase project of an app, and the app's server, a registered runtime."""

    def __init__(self, env: dict[str, str], emulator: Emulator) -> None:
        self.env = env
        self._emulator = emulator
        self._admin = supabase.create_client(env["API_URL"], env["SECRET_KEY"])
        self._keys = OperatorKeys()  # from the environment
        self.real = tuple(provider for provider in _KEY_SHAPES if self._keys.get(provider))
        self.emulated = tuple(provider for provider in _KEY_SHAPES if provider not in self.real)
        self._urls: dict[str, str] = {
            row["id"]: row["base_url"] for row in self._admin_rpc("list_llm_providers")
        }
        self.admin = Admin(env["API_URL"], env["SECRET_KEY"])
        for provider, base_url in self._urls.items():
            if (prices := price_list(provider, base_url)) is not None:
                self.admin.sync_prices(provider, prices.entries, apply=True)
        for provider in self.emulated:
            self.emulate(provider)
        self.server = SupaLLM(
            self.client(),
            runtime_secret=env["SUPA_LLM_RUNTIME_SECRET"],
            operator_keys={provider: self.key(provider, "Operator") for provider in ("groq", "openai")},
        )

    def client(self) -> supabase.Client:
        """Create a client like a browser's: with the publishable key, and no user signed in."""
        return supabase.create_client(self.env["API_URL"], self.env["PUBLISHABLE_KEY"])

    def sign_in(self, name: str) -> Person:
        """Sign up a new user with Supabase Auth, and sign them in."""
        sb = self.client()
        email, password = f"{name.lower()}@example.com", secrets.token_urlsafe(16)
        sb.auth.sign_up({"email": email, "password": password})
        session = sb.auth.sign_in_with_password({"email": email, "password": password}).session
        assert session is not None  # noqa: S101 - a sign-in that fails raises
        return Person(name, session.user.id, sb, self.server.for_user(session.access_token))

    def key(self, provider: str, owner: str) -> str:
        """Return the real key if there is one, else a made-up key for this owner."""
        real = self._keys.get(provider)
        return real.reveal() if real else self.made_up_key(provider, owner)

    def made_up_key(self, provider: str, owner: str) -> str:
        start, length = _KEY_SHAPES[provider]
        return start + f"NotAKey{owner}".rjust(length, "0")

    def emulate(self, provider: str) -> None:
        """Point the catalog at the emulator, as an administrator can."""
        base_url = self._emulator.base_url(provider, self._urls[provider])
        self._admin_rpc("set_llm_provider", p_provider={"id": provider, "base_url": base_url})

    def stored_keys(self, *people: Person) -> tuple[int, int]:
        """Count the ciphertexts, and those that contain a readable key."""
        keys = [self.key(provider, person.name) for person in people for provider in _KEY_SHAPES]
        with psycopg.connect(self.env["DB_URL"]) as connection:
            rows = connection.execute("select ciphertext from llm_private.key_secrets").fetchall()
        return len(rows), sum(key.encode() in ciphertext for (ciphertext,) in rows for key in keys)

    def close(self) -> None:
        self.server.close()
        self.admin.close()

    def _admin_rpc(self, name: str, **arguments: Any) -> Any:
        return self._admin.rpc(name, arguments).execute().data


@contextlib.contextmanager
def stage(show: Show) -> Iterator[tuple[Project, Emulator]]:
    """Start everything in a temporary directory. Stop and delete it at the end, also after an error.

    Raises:
        LocalError: a service does not start.
    """
    with tempfile.TemporaryDirectory(prefix="supa-llm-demo-") as directory:
        stack = LocalStack(Path(directory) / "stack", project=packaged_project(), port=0, throwaway=True)
        started = time.monotonic()
        try:
            with contextlib.ExitStack() as running:
                with show.progress() as progress:
                    stack.up(progress)
                    progress("Starting the provider emulator …")
                    emulated = running.enter_context(emulator())
                    project = Project(stack.env(), emulated)
                running.callback(project.close)
                show.opening(
                    project.env["API_URL"], time.monotonic() - started, project.emulated, project.real
                )
                yield project, emulated
        finally:
            stack.destroy()


def still_answering(project: Project, emulator: Emulator) -> list[str]:
    """Name the services that still use their port."""
    urls = {"Supabase": project.env["API_URL"], "PostgreSQL": project.env["DB_URL"], "llmock": emulator.url}
    return [name for name, url in urls.items() if not is_free(urlsplit(url).port or 0)]
