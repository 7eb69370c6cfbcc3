"""The audit log through the administrator's clients, on a real project."""

from __future__ import annotations

from uuid import UUID

from supa_llm import Admin, AsyncAdmin
from tests.support import Stack, User


def test_all_entries_are_listed_in_pages_and_followed(stack: Stack, user: User) -> None:
    with Admin(stack.api_url, stack.secret_key) as admin:
        for number in range(3):
            admin.set_user_group(UUID(user.id), f"group-{number}")
        entries = [*admin.list_audit_log(action="user_group_set")]
        assert [it.detail["new"]["group"] for it in entries[:3]] == ["group-2", "group-1", "group-0"]
        assert [*admin.list_audit_log(by="nobody")] == []
        followed = admin.follow_audit_log(2, action="user_group_set", interval=0.05)
        assert [next(followed).id, next(followed).id] == [entries[1].id, entries[0].id]
        admin.suspend_user(UUID(user.id))
        admin.set_user_group(UUID(user.id), "last")
        assert next(followed).detail["new"] == {"group": "last"}


async def test_asyncio_lists_and_follows_too(stack: Stack, user: User) -> None:
    async with AsyncAdmin(stack.api_url, stack.secret_key) as admin:
        await admin.set_user_group(UUID(user.id), "first")
        (entry, *_) = [it async for it in admin.list_audit_log(action="user_group_set")]
        assert entry.detail["new"] == {"group": "first"}
        followed = admin.follow_audit_log(1, action="user_group_set", interval=0.05)
        assert (await anext(followed)).id == entry.id
        await admin.set_user_group(UUID(user.id), "second")
        assert (await anext(followed)).detail["new"] == {"group": "second"}
