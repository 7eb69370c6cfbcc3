"""`supa-llm providers` and `supa-llm models`, on a real project."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.support import Emulator, User, key_for


@pytest.fixture
def acme(supa_llm: Cli) -> Iterator[str]:
    """A provider that nobody uses yet."""
    name = f"acme-{uuid.uuid4().hex[:16]}"
    done = supa_llm(
        "providers", "set", name, "--base-url", "https://api.acme.example/v1", "--default-model", "acme-1"
    )
    assert (done.returncode, done.stdout) == (0, f"Added the provider {name}.\n"), done.stderr
    yield name
    supa_llm("providers", "remove", name, "--yes")


def listed(supa_llm: Cli, provider: str) -> dict[str, object]:
    (found,) = [
        it for it in json.loads(supa_llm("providers", "list", "--json").stdout) if it["id"] == provider
    ]
    assert isinstance(found, dict)
    return found


def test_a_provider_is_added_changed_disabled_and_removed(supa_llm: Cli, acme: str) -> None:
    assert listed(supa_llm, acme)["base_url"] == "https://api.acme.example/v1"
    changed = supa_llm("providers", "set", acme, "--fields", '{"task_models": {"speed": "acme-0"}}')
    assert changed.stdout == f'Changed the provider {acme}: task_models {{}} → {{"speed": "acme-0"}}.\n'
    assert supa_llm("providers", "disable", acme).stdout == f"The provider {acme} is disabled.\n"
    (row,) = [line for line in supa_llm("providers", "list").stdout.splitlines() if acme in line]
    assert row.endswith("disabled")
    supa_llm("providers", "enable", acme)
    assert listed(supa_llm, acme)["enabled"] is True
    removed = supa_llm("providers", "remove", acme, "--yes")
    assert removed.stdout == f"Removed the provider {acme}.\n"
    again = supa_llm("providers", "remove", acme, "--yes")
    assert again.returncode == 1
    assert again.stderr.startswith(f"Error: Provider {acme} does not exist. Providers: openai, ")
    assert again.stderr.count("\n") == 1


def test_a_provider_that_does_not_exist_needs_more_than_one_field(supa_llm: Cli) -> None:
    done = supa_llm("providers", "set", "opnai", "--base-url", "https://api.openai.com/v1")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: The provider does not exist yet, and a new one needs default_model. Required: id, base_url "
    )
    assert done.stderr.endswith("[invalid_provider]\n")


def test_a_dry_run_changes_nothing(supa_llm: Cli, acme: str) -> None:
    before = listed(supa_llm, acme)
    done = supa_llm("providers", "set", acme, "--default-model", "acme-2", "--dry-run")
    assert done.stdout == f"Would change the provider {acme}: default_model acme-1 → acme-2.\n"
    assert supa_llm("providers", "set", "new-one", "--dry-run").stdout == "Would add the provider new-one.\n"
    assert supa_llm("providers", "remove", acme, "--dry-run").stdout.startswith("Would remove")
    assert listed(supa_llm, acme) == before
    same = supa_llm("providers", "set", acme, "--default-model", "acme-1")
    assert same.stdout == f"The provider {acme} is unchanged.\n"


def test_a_provider_with_keys_is_not_removed(supa_llm: Cli, user: User) -> None:
    user.rpc("set_llm_key", provider="groq", key=key_for("groq"))
    done = supa_llm("providers", "remove", "groq", "--yes")
    assert done.returncode == 1
    assert "stored" in done.stderr
    assert done.stderr.endswith("Disable it instead: it then serves no requests. [provider_in_use]\n")


def test_a_field_that_is_no_json_is_refused(supa_llm: Cli) -> None:
    done = supa_llm("providers", "set", "groq", "--fields", "[1]")
    assert done.returncode == 2
    assert "--fields must be a JSON object" in done.stderr


def test_a_check_shows_addresses_and_the_operators_keys(
    supa_llm: Cli, providers: Emulator, acme: str
) -> None:
    providers.fail(401, "/groq/*", type="fail")
    environment = {"OPENAI_API_KEY": key_for("openai"), "GROQ_API_KEY": key_for("groq")}
    done = supa_llm("providers", "check", "openai", "groq", "mistral", "--json", **environment)
    lines = {it["provider"]: (it["address"], it["key"]) for it in json.loads(done.stdout)}
    assert lines == {
        "openai": ("responds", "works"),
        "groq": ("responds", "rejected"),
        "mistral": ("responds", "not set"),
    }
    assert done.returncode == 1
    assert supa_llm("providers", "check", "openai", "mistral", **environment).returncode == 0
    supa_llm("providers", "set", acme, "--base-url", "http://127.0.0.1:9")
    silent = supa_llm("providers", "check", acme)
    assert silent.returncode == 1
    assert "no response" in silent.stdout
    assert "could not be reached" in silent.stdout


def test_models_are_listed_with_prices(supa_llm: Cli, acme: str) -> None:
    supa_llm("prices", "set", acme, "acme-1", "--input", "1.5", "--output", "2")
    done = supa_llm("models", acme)
    assert done.stdout.splitlines()[1].split() == [acme, "acme-1", "$1.5", "$2"]
    (known,) = json.loads(supa_llm("models", acme, "--json").stdout)
    assert known == {
        "provider": acme,
        "model": "acme-1",
        "input_price": 1.5,
        "output_price": 2.0,
        "context_tokens": None,
    }
    assert "gpt-5-mini" in supa_llm("models").stdout
