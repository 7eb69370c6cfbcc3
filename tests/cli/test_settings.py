"""`supa-llm settings`, on a real project."""

from __future__ import annotations

import json

from tests.cli.conftest import Cli


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
