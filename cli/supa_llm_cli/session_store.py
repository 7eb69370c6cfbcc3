"""Stores the signed-in user's session in the system's keyring, or in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from supa_llm.values.credentials import claims_of
from supa_llm_cli.private_files import unwritable, write_private

_SERVICE = "supa-llm"
_BUSY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session of Supabase Auth. The repr hides its tokens."""

    user_id: str
    email: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @property
    def expires_at(self) -> float:
        """Seconds since 1970 at which the access token ends; 0 if that is unknown."""
        ends = claims_of(self.access_token).get("exp")
        return float(ends) if isinstance(ends, int | float) else 0.0


class SessionStore:
    """The session of one project on this machine.

    Args:
        url: URL of the project. Each project has its own session.
    """

    def __init__(self, url: str) -> None:
        self._folder = _config_folder() / "sessions"
        self._name = quote(url, safe="")
        self._file = _File(self._folder / f"{self._name}.json")
        keyring = _keyring(url)
        self._places: list[_Place] = [keyring, self._file] if keyring else [self._file]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the session.

        Raises:
            LocalError: code ``local_busy``: another command has held it for a minute.
        """
        from supa_llm.local.files import locked

        self._prepare()
        with locked(self._folder / f"{self._name}.lock", seconds=_BUSY_SECONDS, progress=lambda _: None):
            yield

    def load(self) -> tuple[StoredSession, str] | None:
        """The session and the place where it is stored; None if there is none or it is unreadable."""
        for place in self._places:
            text = place.read()
            try:
                if text:
                    return StoredSession(**json.loads(text)), place.name
            except (ValueError, TypeError):
                continue
        return None

    def save(self, session: StoredSession) -> str:
        """Store the session, and return the place.

        Raises:
            ConfigurationError: code ``file_unwritable``.
        """
        self._prepare()
        text = json.dumps({name: getattr(session, name) for name in StoredSession.__slots__})
        for number, place in enumerate(self._places):
            if place.write(text):
                for other in self._places[number + 1 :]:
                    other.remove()  # of a time without the keyring
                return place.name
        raise AssertionError("a file reports that it is unwritable")

    def remove(self) -> None:
        """Remove the session from every place."""
        for place in self._places:
            place.remove()

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
        except OSError as error:
            raise unwritable(self._folder, error) from error


class _Place(ABC):
    name: str

    @abstractmethod
    def read(self) -> str | None: ...

    @abstractmethod
    def write(self, text: str) -> bool:
        """Store the text; returns False if this place does not take it."""

    @abstractmethod
    def remove(self) -> None: ...


class _File(_Place):
    def __init__(self, path: Path) -> None:
        self._path, self.name = path, str(path)

    def read(self) -> str | None:
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, text: str) -> bool:
        write_private(self._path, text)
        return True

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


class _Keyring(_Place):
    """A keyring that is locked or broken reads as empty, and takes nothing."""

    def __init__(self, backend: Any, error: type[Exception], user: str) -> None:
        self._backend, self._error, self._user = backend, error, user
        self.name = f"the keyring ({backend.name})"

    def read(self) -> str | None:
        try:
            text: str | None = self._backend.get_password(_SERVICE, self._user)
        except self._error:
            return None
        return text

    def write(self, text: str) -> bool:
        try:
            self._backend.set_password(_SERVICE, self._user, text)
        except self._error:
            return False
        return True

    def remove(self) -> None:
        try:
            if self.read() is not None:
                self._backend.delete_password(_SERVICE, self._user)
        except self._error:
            return


def _keyring(user: str) -> _Keyring | None:
    """The system's keyring, if the package is installed and has a backend that it recommends."""
    try:
        import keyring
        from keyring.core import recommended
        from keyring.errors import KeyringError
    except ImportError:
        return None
    backend = keyring.get_keyring()
    return _Keyring(backend, KeyringError, user) if recommended(backend) else None


def _config_folder() -> Path:
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(named) if os.path.isabs(named) else Path.home() / ".config") / "supa-llm"
