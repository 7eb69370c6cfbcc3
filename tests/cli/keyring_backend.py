"""A keyring in a file, for the package `keyring`: PYTHON_KEYRING_BACKEND names its class."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class FileKeyring(KeyringBackend):
    """Keeps its passwords in the file in TEST_KEYRING."""

    priority = 5.0

    def get_password(self, service: str, username: str) -> str | None:
        return self._passwords().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write({**self._passwords(), f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        passwords = self._passwords()
        del passwords[f"{service} {username}"]
        self._write(passwords)

    def _file(self) -> Path:
        return Path(os.environ["TEST_KEYRING"])

    def _passwords(self) -> dict[str, str]:
        return dict(json.loads(self._file().read_text())) if self._file().exists() else {}

    def _write(self, passwords: dict[str, str]) -> None:
        self._file().write_text(json.dumps(passwords))


class LockedKeyring(FileKeyring):
    """Is locked."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked("locked")
