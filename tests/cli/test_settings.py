"""`supa-llm settings`, on a real project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.support import Stack


def test_a_setting_is_changed_and_reset(supa_llm: Cli) -> None:
    settings = json.loads(supa_llm("settings", "list", "--json").stdout)
    assert settings["audit_kept_months"] is None
    shown = [line.split() for line in supa_llm("settings", "list").stdout.splitlines()]
    assert ["lease_seconds", str(settings["lease_seconds"])] in shown
    try:
        limits = ("keys_readable_by=runtime", "reveal_sign_in_within=10 minutes")
        done = supa_llm("settings", "set", "audit_kept_months=24", *limits)
        assert "audit_kept_months null → 24" in done.stdout, done.stderr
        assert "reveal_sign_in_within null → 00:10:00" in done.stdout
    finally:
        limits = ("keys_readable_by=owner", "reveal_sign_in_within=null")
        reset = supa_llm("settings", "set", "audit_kept_months=null", *limits)
    assert reset.stdout.startswith("Changed: ")
    again = supa_llm("settings", "set", "audit_kept_months=null")
    assert again.stdout == "Nothing changed.\n"


def test_a_dry_run_changes_nothing(supa_llm: Cli) -> None:
    before = supa_llm("settings", "list").stdout
    done = supa_llm("settings", "set", "changes_per_day=7", "--dry-run")
    assert done.stdout == "Would change: changes_per_day 500 → 7.\n"
    assert supa_llm("settings", "list").stdout == before


def test_a_wrong_setting_is_refused_and_changes_nothing(supa_llm: Cli) -> None:
    before = supa_llm("settings", "list").stdout
    for change, code in (("leases=1", "unknown_setting"), ("lease_seconds=1", "invalid_setting")):
        done = supa_llm("settings", "set", "changes_per_day=7", change)
        assert (done.returncode, f"[{code}]" in done.stderr) == (1, True)
    assert supa_llm("settings", "set", "lease_seconds").returncode == 2
    assert supa_llm("settings", "list").stdout == before


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[None]:
    """The settings and Mistral's position are the same after the test."""
    before = stack.admin("get_llm_operator_settings")["lease_seconds"]
    yield
    stack.admin("set_llm_operator_settings", p_changes={"lease_seconds": before})
    stack.admin("set_llm_provider", p_provider={"id": "mistral", "position": 30})


@pytest.mark.usefixtures("unchanged")
def test_a_configuration_is_exported_and_imported(supa_llm: Cli, tmp_path: Path) -> None:
    file = tmp_path / "llm.json"
    assert supa_llm("settings", "export", str(file)).stdout == f"Wrote the configuration to {file}.\n"
    assert supa_llm("settings", "export").stdout == file.read_text()
    assert supa_llm("settings", "import", str(file)).stdout == "Nothing to change.\n"
    configuration = json.loads(file.read_text())
    before = configuration["settings"]["lease_seconds"]
    configuration["settings"]["lease_seconds"] = 123
    configuration["providers"].setdefault("mistral", {})["position"] = 33
    file.write_text(json.dumps(configuration))
    shown = supa_llm("settings", "import", str(file), "--dry-run").stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["setting", "lease_seconds", str(before), "→", "123"],
        ["provider", "mistral", "position", "30", "→", "33"],
    ]
    asked = supa_llm("settings", "import", str(file))
    assert (asked.returncode, "[confirmation_required]" in asked.stderr) == (1, True)
    found = json.loads(supa_llm("settings", "import", str(file), "--json").stdout)
    assert (found[0]["kind"], found[0]["before"], found[0]["after"]) == ("setting", before, 123)
    assert supa_llm("settings", "import", str(file), "--yes").stdout.endswith("Applied 2 changes.\n")
    assert supa_llm("settings", "import", str(file), "--yes").stdout == "Nothing to change.\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not JSON: sk-secret", "invalid_configuration"),
        ("[]", "invalid_configuration"),
        ('{"format": 2}', "configuration_too_new"),
        ('{"format": 1, "settings": {"lease": 1}}', "unknown_setting"),
    ],
)
def test_an_invalid_file_is_refused(supa_llm: Cli, tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "llm.json"
    file.write_text(text)
    done = supa_llm("settings", "import", str(file), "--yes")
    assert done.returncode == 1
    assert done.stderr.endswith(f"[{code}]\n")
    assert "sk-secret" not in done.stderr
    missing = supa_llm("settings", "import", str(tmp_path / "none.json"))
    assert (missing.returncode, "Cannot read" in missing.stderr) == (1, True)
