"""The engine against a provider emulator: each provider, for threads and for an event loop."""

from __future__ import annotations

import pytest

from supa_llm.values.routes import Candidate
from tests.support import Emulator
from tests.unit.engine_support import Both, candidate

#: Provider → wire format, header and scheme of its key, its parameter names.
CATALOG: dict[str, tuple[str, str, str, dict[str, str | None]]] = {
    "openai": ("openai", "authorization", "Bearer", {"max_completion_tokens": "max_completion_tokens"}),
    "groq": ("openai", "authorization", "Bearer", {"max_completion_tokens": "max_completion_tokens"}),
    "mistral": ("openai", "authorization", "Bearer", {"seed": "random_seed"}),
    "anthropic": ("anthropic", "x-api-key", "", {}),
    "google": ("google", "x-goog-api-key", "", {}),
}


class Providers:
    """Candidates that point to the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def __call__(self, provider: str) -> Candidate:
        wire_format, header, scheme, names = CATALOG[provider]
        return candidate(
            provider,
            wire_format=wire_format,
            base_url=self.emulator.base_url(provider),
            key_header=header,
            key_scheme=scheme,
            parameter_names=names,
            responses=provider == "openai",
        )


@pytest.fixture
def to(emulator: Emulator) -> Providers:
    """The candidate of a provider."""
    return Providers(emulator)


@pytest.fixture(params=["threads", "event loop"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param == "event loop")
