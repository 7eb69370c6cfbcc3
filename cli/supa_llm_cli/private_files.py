"""Files that only their owner can read, for secrets and for users' data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from supa_llm.errors import ConfigurationError


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600, replacing an older one at once.

    Raises:
        ConfigurationError: code ``file_unwritable``: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with create_private(draft) as file:
        file.write(text)
    try:
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise unwritable(path, error) from error


@contextmanager
def create_private(path: Path) -> Iterator[IO[str]]:
    """Create a file with mode 0600 and open it for writing. It is removed if writing fails.

    Raises:
        ConfigurationError: code ``file_unwritable``: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def set_variable(path: Path, name: str, value: str) -> None:
    """Set a variable in a file of environment variables; its other lines stay.

    Raises:
        ConfigurationError: code ``file_unwritable``: the file cannot be read or written.
    """
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise unwritable(path, error) from error
    kept = [line for line in lines if not _assignment(name).match(line)]
    write_private(path, "\n".join([*kept, f"{name}={value}"]) + "\n")


def has_variable(path: Path, name: str) -> bool:
    """Return whether a file of environment variables gives a variable a value."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return any((match := _assignment(name).match(line)) and match["value"] for line in lines)


def _assignment(name: str) -> re.Pattern[str]:
    return re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=\s*(?P<value>\S*)")


def require_writable(path: Path) -> None:
    """Raise unless a file can be written there, so that no secret is made that cannot be kept.

    Raises:
        ConfigurationError: code ``file_unwritable``.
    """
    folder = path.absolute().parent
    if path.is_dir() or not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.R_OK)):
        raise unwritable(path, OSError("it is a folder, or permission is missing"))


def unwritable(path: Path, error: Exception) -> ConfigurationError:
    """Return the error for a file that cannot be written."""
    return ConfigurationError(
        f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.",
        code="file_unwritable",
        hint="Choose a file in an existing folder that you can write to.",
    )
