"""The providers' messages in errors."""

from __future__ import annotations

from supa_llm.engine.failures import mask_error
from supa_llm.values.secrets import Secret


def test_a_key_in_a_providers_message_is_masked() -> None:
    key = "made-up-key-0123456789"
    said = {"message": key, "code": [key, 7], "param": {"headers": [f"Bearer {key}"], key: None}}
    masked = mask_error(said, Secret(key))
    assert key not in repr(masked)
    assert masked["code"] == ["…", 7]
