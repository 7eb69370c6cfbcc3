"""Operator settings, which administrators change."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.database.support import Transaction, refused


def test_a_new_installation_gives_keys_only_to_runtimes(tx: Transaction) -> None:
    tx.sql("delete from llm_private.operator_settings")
    tx.sql("insert into llm_private.operator_settings default values")
    settings = tx.admin.rpc("get_llm_operator_settings")
    assert settings["keys_readable_by"] == "runtime"
    assert settings["reveal_enabled"] is True


def test_only_the_named_settings_change(tx: Transaction) -> None:
    before = tx.admin.rpc("get_llm_operator_settings")
    after = tx.admin.rpc("set_llm_operator_settings", p_changes={"lease_seconds": 60})
    assert after == tx.admin.rpc("get_llm_operator_settings")
    assert {name for name in before if before[name] != after[name]} <= {"lease_seconds", "updated_at"}
    after = tx.admin.rpc(
        "set_llm_operator_settings",
        p_changes={"keys_readable_by": "runtime", "reveal_sign_in_within": "10 minutes"},
    )
    assert (after["lease_seconds"], after["reveal_sign_in_within"]) == (60, "00:10:00")
    after = tx.admin.rpc("set_llm_operator_settings", p_changes={"reveal_sign_in_within": None})
    assert after["reveal_sign_in_within"] is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"lease_seconds": 1}, "invalid_setting"),
        ({"lease_seconds": 3601}, "invalid_setting"),
        ({"lease_seconds": None}, "invalid_setting"),
        ({"lease_seconds": "soon"}, "invalid_setting"),
        ({"keys_readable_by": "anybody"}, "invalid_setting"),
        ({"keys_readable_by": None}, "invalid_setting"),
        ({"reveal_enabled": "perhaps"}, "invalid_setting"),
        ({"require_second_factor": None}, "invalid_setting"),
        ({"reveal_sign_in_within": "-1 minute"}, "invalid_setting"),
        ({"reveal_sign_in_within": "a while"}, "invalid_setting"),
        ({"only_row": False}, "unknown_setting"),
        ({"updated_at": "2020-01-01"}, "unknown_setting"),
        ({"nonsense": 1}, "unknown_setting"),
    ],
)
def test_an_unknown_setting_or_an_invalid_value_is_refused(
    tx: Transaction, changes: dict[str, Any], code: str
) -> None:
    before = tx.admin.rpc("get_llm_operator_settings")
    with refused(code, 400):
        tx.admin.rpc("set_llm_operator_settings", p_changes=changes)
    assert tx.admin.rpc("get_llm_operator_settings") == before


@pytest.mark.parametrize(
    "limit",
    [{"reveal_enabled": False}, {"reveal_sign_in_within": "10 minutes"}, {"require_second_factor": True}],
)
def test_a_limit_of_reveals_that_would_protect_nothing_is_refused(
    tx: Transaction, limit: dict[str, Any]
) -> None:
    """Users without a runtime get their keys with a route, whether or not they can reveal them."""
    owner, runtime = {"keys_readable_by": "owner"}, {"keys_readable_by": "runtime"}

    def change(**changes: Any) -> Any:
        return tx.admin.rpc("set_llm_operator_settings", p_changes=changes)

    change(**owner)
    with refused("invalid_setting", 400) as error:
        change(**limit)
    assert "keys_readable_by" in error.value.message
    assert "keys_readable_by" in error.value.hint
    assert change(**runtime, **limit)["keys_readable_by"] == "runtime"
    with refused("invalid_setting", 400) as error:
        change(**owner)
    assert "keys_readable_by" in error.value.message
    with pytest.raises(psycopg.errors.CheckViolation), tx.connection.transaction():
        tx.sql("update llm_private.operator_settings set keys_readable_by = 'owner'")
    change(**owner, reveal_enabled=True, reveal_sign_in_within=None, require_second_factor=False)
