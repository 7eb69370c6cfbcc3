"""Test support: a Supabase project, its users and administrator, and an emulator of the providers."""

from __future__ import annotations

import base64
import hmac
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg

import supabase

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery staple"

#: Provider → its path on the emulator, and a well-formed key in which {} identifies the user.
PROVIDERS = {
    "openai": ("/v1", "sk-test-{}"),
    "groq": ("/groq/openai/v1", "gsk_test{}"),
    "mistral": ("/mistral/v1", "{}"),
    "anthropic": ("/anthropic", "sk-ant-test-{}"),
    "google": ("/gemini", "AIzaTest{}"),
}


def unique(name: str) -> str:
    """Return a name that no other test uses, for objects whose names may exist only once in a project."""
    return f"{name} {uuid.uuid4()}"


def key_for(provider: str, owner: int = 0) -> str:
    """Return a fake key in the provider's format, different for each owner."""
    return PROVIDERS[provider][1].format(f"{owner:032d}")


@dataclass(frozen=True)
class Stack:
    """A Supabase project with the migrations: the local stack, or the project named by the environment."""

    api_url: str
    db_url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str | None = None

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self.api_url, timeout=30)

    @classmethod
    def from_env(cls, env: dict[str, str] | os._Environ[str]) -> Stack:
        return cls(
            env["API_URL"], env["DB_URL"], env["PUBLISHABLE_KEY"], env["SECRET_KEY"], env.get("JWT_SECRET")
        )

    def client(self) -> supabase.Client:
        """Return a client of the app, without a signed-in user."""
        return supabase.create_client(self.api_url, self.publishable_key)

    async def async_client(self) -> supabase.AsyncClient:
        return await supabase.create_async_client(self.api_url, self.publishable_key)

    def connect(self) -> psycopg.Connection[Any]:
        """Connect as the database owner, in autocommit."""
        return psycopg.connect(self.db_url, autocommit=True)

    def rpc(
        self, name: str, token: str | None = None, runtime: str | None = None, **arguments: Any
    ) -> httpx.Response:
        """Call an RPC over HTTP as an administrator, or as a token's user, optionally through a runtime."""
        key = self.secret_key if token is None else self.publishable_key
        headers = {"apikey": key} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"x-llm-runtime": runtime} if runtime else {}
        return self._http.post(f"/rest/v1/rpc/{name}", json=arguments, headers=headers)

    def admin(self, name: str, **arguments: Any) -> Any:
        """Call an RPC as an administrator. Return its result; it must succeed."""
        response = self.rpc(name, **arguments)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def sign(self, **claims: Any) -> str:
        """Sign an access token with these claims, as the project does with its JWT secret."""
        assert self.jwt_secret is not None, "JWT_SECRET is not set"
        body = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'role': 'authenticated', **claims})}"
        return f"{body}.{_base64(hmac.digest(self.jwt_secret.encode(), body.encode(), 'sha256'))}"

    def sign_up(self, email: str | None = None) -> User:
        """Sign up a new user, with a unique email address by default."""
        email = email or f"user-{uuid.uuid4().hex}@example.com"
        response = self._http.post(
            "/auth/v1/signup",
            json={"email": email, "password": PASSWORD},
            headers={"apikey": self.publishable_key},
        )
        assert response.is_success, response.text
        session = response.json()
        return User(self, session["user"]["id"], email, session["access_token"])

    def crowd(self, size: int) -> list[User]:
        """Create many users: in SQL if the JWT secret is known, because signing up is slow by design."""
        if self.jwt_secret is None:
            return [self.sign_up() for _ in range(size)]
        names = [str(uuid.uuid4()) for _ in range(size)]
        users = [
            User(self, name, f"user-{name}@example.com", self.sign(sub=name, exp=_tomorrow()))
            for name in names
        ]
        with self.connect() as connection:
            connection.cursor().executemany(
                "insert into auth.users (id, aud, role, email)"
                " values (%s, 'authenticated', 'authenticated', %s)",
                [(user.id, user.email) for user in users],
            )
        return users


@dataclass(frozen=True)
class User:
    """A signed-up user. ``access_token`` belongs to their first session."""

    stack: Stack = field(repr=False)
    id: str
    email: str
    access_token: str = field(repr=False)

    @property
    def credentials(self) -> Any:
        """The argument of ``sb.auth.sign_in_with_password``."""
        return {"email": self.email, "password": PASSWORD}

    def client(self) -> supabase.Client:
        """Return a client of the app with this user signed in."""
        sb = self.stack.client()
        sb.auth.sign_in_with_password(self.credentials)
        return sb

    async def async_client(self) -> supabase.AsyncClient:
        sb = await self.stack.async_client()
        await sb.auth.sign_in_with_password(self.credentials)
        return sb

    def rpc(self, name: str, **arguments: Any) -> Any:
        """Call an RPC as this user, and again if it asks for that. Return its result; it must succeed."""
        for _ in range(20):
            response = self.stack.rpc(name, self.access_token, **arguments)
            assert response.is_success, response.text
            answer = response.json() if response.content else None
            if not asks_again(answer):
                return answer
            arguments = next_arguments(answer, arguments)
        raise AssertionError(f"{name} still asks to be called again")


@dataclass(frozen=True)
class Emulator:
    """The providers' wire formats, emulated by llmock."""

    url: str

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)

    def base_url(self, provider: str) -> str:
        return self.url + PROVIDERS[provider][0]

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Queue behaviors for later requests, like ``{"type": "fail", "status": 429, "match": {…}}``."""
        self._http.post("/_llmock/scenario", json={"behaviors": list(behaviors)}).raise_for_status()

    def fail(self, status: int, path: str = "*", times: int | None = 1, **fields: Any) -> None:
        """Make the next requests to ``path`` fail; ``/groq/*`` matches Groq's."""
        self.script({"type": "fail", "status": status, "times": times, "match": {"path": path}, **fields})

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests served since the last reset, oldest first."""
        served: list[dict[str, Any]] = self._http.get("/_llmock/requests").json()["requests"]
        return served

    def reset(self) -> None:
        self._http.post("/_llmock/reset").raise_for_status()


@contextmanager
def running_emulator(port: int) -> Iterator[Emulator]:
    """Run an emulator in a separate process."""
    program = str(Path(sys.executable).with_name("llmock"))
    process = subprocess.Popen(
        [program, "serve", "-p", str(port), "--log-level", "error"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    emulator = Emulator(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _answers(f"{emulator.url}/_llmock/requests"), seconds=30)
        yield emulator
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def asks_again(answer: Any) -> bool:
    """Whether the database wants another call, because it first commits the record of a key's release."""
    return isinstance(answer, dict) and answer.get("again") is True


def next_arguments(answer: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the call after a response that asks for another one."""
    return {"check_id": answer["check_id"]} if "check_id" in answer else arguments


def unsigned_token(**claims: Any) -> str:
    """Return a well-formed token without a valid signature."""
    parts = (
        json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims, {"no": "signature"})
    )
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"condition not met within {seconds} s"
        time.sleep(0.02)


def _tomorrow() -> int:
    return int(time.time()) + 86_400


def _part(claims: dict[str, Any]) -> str:
    return _base64(json.dumps(claims).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.TransportError:
        return False
