"""Keys and the audit log through the client, on a real project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supa_llm import ForbiddenError, InvalidInputError, NotFoundError, SupaLLM
from tests.support import Stack, User, key_for


@pytest.fixture
def llm(user: User) -> Iterator[SupaLLM]:
    with SupaLLM(user.client()) as llm:
        yield llm


def test_a_key_is_stored_listed_by_its_hint_revealed_and_removed(llm: SupaLLM) -> None:
    key = key_for("openai")
    stored = llm.set_key("openai", key)
    assert (stored.provider, stored.status) == ("openai", "untested")
    assert key not in repr(llm.list_keys())
    (known,) = llm.list_keys()
    assert known.hint == stored.hint
    assert llm.reveal_key("openai") == key
    llm.remove_key("openai")
    assert llm.list_keys() == []
    with pytest.raises(NotFoundError):
        llm.remove_key("openai")
    actions = [entry.action for entry in llm.get_audit_log()]
    assert actions[:3] == ["key_revoked", "key_revealed", "key_set"]
    assert [entry.action for entry in llm.get_audit_log(limit=1)] == actions[:1]
    assert [entry.action for entry in llm.get_audit_log(before=llm.get_audit_log(limit=1)[0].id)] == actions[
        1:
    ]


@pytest.mark.parametrize(
    "key", ["", "no-key", "sk-" + "a" * 9000, "sk-test-\x00" + "0" * 32, "sk-test-\ud800" + "0" * 32]
)
def test_a_malformed_key_is_refused_and_not_repeated(llm: SupaLLM, key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        llm.set_key("openai", key)
    assert caught.value.hint
    assert not key or key not in str(caught.value)


def test_a_client_without_a_runtime_gets_no_keys_from_a_new_installation(stack: Stack, user: User) -> None:
    stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "runtime"})
    try:
        with SupaLLM(user.client()) as llm:
            llm.set_key("groq", key_for("groq"))
            with pytest.raises(ForbiddenError) as caught:
                llm.chat("Hello")
        assert caught.value.code == "runtime_required"
        assert "runtime" in caught.value.hint
        assert "keys_readable_by" in caught.value.hint
    finally:
        stack.admin("set_llm_operator_settings", p_changes={"keys_readable_by": "owner"})
