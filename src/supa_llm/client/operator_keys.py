"""The operator's own provider keys, read from the environment or a mapping when the client is created."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping

from supa_llm.values.secrets import Secret

#: SDKs of providers read the names without this prefix, and would send requests with the operator's keys.
_PREFIX = "SUPA_LLM_"
_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]{0,31})_API_KEY")
#: Names that precede ``<ID>_API_KEY`` for a provider.
_OTHER_NAMES = {"google": ("GEMINI_API_KEY",)}


class OperatorKeys:
    """Provider ID → key. The repr shows the providers, never a key.

    Args:
        keys: provider ID → key. None reads the environment: ``OPENAI_API_KEY`` for the provider ``openai``,
            ``MY_HOST_API_KEY`` for ``my-host`` (or ``my_host``), and ``GEMINI_API_KEY`` or else
            ``GOOGLE_API_KEY`` for ``google``, each first with the prefix ``SUPA_LLM_``. An empty mapping
            offers no key.

    Blank values are ignored. So are values that an HTTP header cannot carry, with a warning that names the
    variable.
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        named = (
            _environment() if keys is None else ((provider, provider, key) for provider, key in keys.items())
        )
        self._keys: dict[str, Secret] = {}
        for provider, name, value in named:
            key = value.strip()
            if key and provider not in self._keys and _usable(name, key):
                self._keys[provider] = Secret(key)

    @property
    def providers(self) -> tuple[str, ...]:
        """IDs of the providers for which the operator has a key, sorted."""
        return tuple(sorted(self._keys))

    def get(self, provider: str) -> Secret | None:
        return self._keys.get(provider)

    def __repr__(self) -> str:
        return f"OperatorKeys({', '.join(self.providers)})"


def _environment() -> Iterator[tuple[str, str, str]]:
    """Provider ID, variable and value; the preferred variable of a provider first."""
    for prefix in (_PREFIX, ""):
        variables = {
            name.removeprefix(prefix): value
            for name, value in os.environ.items()
            if name.startswith(_PREFIX) is bool(prefix)
        }
        for provider, names in _OTHER_NAMES.items():
            for name in names:
                yield provider, prefix + name, variables.get(name, "")
        for name, value in variables.items():
            if match := _VARIABLE.fullmatch(name):
                for provider in {match[1].lower(), match[1].lower().replace("_", "-")}:
                    yield provider, prefix + name, value


def _usable(name: str, key: str) -> bool:
    if key.isascii() and key.isprintable() and " " not in key:
        return True
    warnings.warn(
        f"The operator key {name} is ignored because it contains a character that no API key has.",
        RuntimeWarning,
        stacklevel=4,
    )
    return False
