"""The users of the app, for administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import users
from supa_llm.values.routes import Route
from supa_llm.values.users import User, UserDataRemoval, UserDetails


class Users(Caller):
    """The users of the app."""

    def list_users(
        self,
        search: str | None = None,
        *,
        ids: Sequence[UUID] | None = None,
        group: str | None = None,
        suspended: bool = False,
        limit: int = 50,
        after: UUID | None = None,
    ) -> list[User]:
        """Users by ID, also those who never used supa-llm.

            (user,) = admin.list_users("ann@example.com")
            students = admin.list_users(group="students", limit=1000)

        Args:
            search: only users with this ID, or with this text in their email address.
            ids: only users with these IDs; at most 1000.
            group: only the members of this group.
            suspended: only suspended users.
            limit: most users to return; at most 1000.
            after: ID of the last user of the previous page.
        """
        return self._run(users.list_users(search, ids, group, suspended, limit, after))

    def get_user(self, user_id: UUID) -> UserDetails:
        """A user with their settings, the states of their keys, and their last errors; never a key.

        Raises:
            NotFoundError: Supabase Auth has no account with this ID.
        """
        return self._run(users.get_user(user_id))

    def explain_user_route(
        self,
        user_id: UUID,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        operator_providers: Sequence[str] = (),
    ) -> Route:
        """The route of a user's request through a runtime, as :meth:`UserLLM.explain_route` returns it.

            admin.explain_user_route(user_id, "code", operator_providers=["openai"]).advice

        Args:
            operator_providers: the providers for which the runtime has an operator's key.

        Raises:
            ForbiddenError: code ``account_suspended`` or ``account_banned``: the user gets no route.
        """
        return self._run(users.explain_user_route(user_id, task, model, needs, operator_providers))

    def suspend_user(self, user_id: UUID, reason: str | None = None) -> None:
        """Give a user no more routes (``account_suspended``). They can sign in and see their data.

            admin.suspend_user(user_id, "unpaid")

        A route that is on lease is served until the lease ends.

        Args:
            reason: a note for administrators; the user does not see it.

        Raises:
            NotFoundError: Supabase Auth has no account with this ID.
        """
        self._run(users.set_user_suspended(user_id, True, reason))

    def resume_user(self, user_id: UUID) -> None:
        """End a user's suspension.

        Raises:
            NotFoundError: Supabase Auth has no account with this ID.
        """
        self._run(users.set_user_suspended(user_id, False))

    def remove_user_data(self, user_id: UUID) -> Iterator[UserDataRemoval]:
        """Remove all of a user's data; yields what each batch removed. Also for deleted accounts.

            for batch in admin.remove_user_data(user_id):
                print(batch.removed)

        It removes keys, settings, quotas, prices, alerts, usage and the audit log. The account, a suspension
        and the operator's log stay. Reports of the project no longer count the user's usage.
        """
        batch = self._run(users.remove_user_data(user_id))
        yield batch
        while not batch.done:
            batch = self._run(users.remove_user_data(user_id))
            yield batch


@documented_by(Users)
class AsyncUsers(AsyncCaller):
    """The twin of :class:`Users`."""

    async def list_users(
        self,
        search: str | None = None,
        *,
        ids: Sequence[UUID] | None = None,
        group: str | None = None,
        suspended: bool = False,
        limit: int = 50,
        after: UUID | None = None,
    ) -> list[User]:
        return await self._run(users.list_users(search, ids, group, suspended, limit, after))

    async def get_user(self, user_id: UUID) -> UserDetails:
        return await self._run(users.get_user(user_id))

    async def explain_user_route(
        self,
        user_id: UUID,
        task: str | None = None,
        *,
        model: str | None = None,
        needs: Sequence[str] = (),
        operator_providers: Sequence[str] = (),
    ) -> Route:
        return await self._run(users.explain_user_route(user_id, task, model, needs, operator_providers))

    async def suspend_user(self, user_id: UUID, reason: str | None = None) -> None:
        await self._run(users.set_user_suspended(user_id, True, reason))

    async def resume_user(self, user_id: UUID) -> None:
        await self._run(users.set_user_suspended(user_id, False))

    async def remove_user_data(self, user_id: UUID) -> AsyncIterator[UserDataRemoval]:
        batch = await self._run(users.remove_user_data(user_id))
        yield batch
        while not batch.done:
            batch = await self._run(users.remove_user_data(user_id))
            yield batch
