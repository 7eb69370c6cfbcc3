"""The operator's runtimes and their secrets."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from supa_llm.client.caller import AsyncCaller, Caller, documented_by
from supa_llm.database import runtimes
from supa_llm.values.runtimes import Runtime, RuntimeSecret

_DAY = timedelta(days=1)


class Runtimes(Caller):
    """The operator's runtimes and their secrets."""

    def list_runtimes(self) -> list[Runtime]:
        """All runtimes, also the revoked ones, without their secrets."""
        return self._run(runtimes.list_runtimes())

    def register_runtime(self, name: str) -> RuntimeSecret:
        """Register a process that runs requests for users. Only the result contains its secret.

            secret = admin.register_runtime("app server").secret.reveal()

        Raises:
            ConflictError: code ``runtime_exists``: a runtime of this name is registered.
        """
        return self._run(runtimes.register_runtime(name))

    def rotate_runtime(self, runtime_id: UUID, *, overlap: timedelta = _DAY) -> RuntimeSecret:
        """Give a runtime a new secret, which only the result contains.

            admin.rotate_runtime(runtime.id, overlap=timedelta(hours=1)).secret.reveal()

        Args:
            overlap: how long its processes may still use the previous secret; 0 to 30 days.

        Raises:
            NotFoundError: the runtime does not exist or was revoked.
        """
        return self._run(runtimes.rotate_runtime(runtime_id, overlap))

    def revoke_runtime(self, runtime_id: UUID) -> None:
        """Revoke a runtime. It may use the keys that it holds until their lease ends.

        Raises:
            NotFoundError: the runtime does not exist.
        """
        self._run(runtimes.revoke_runtime(runtime_id))


@documented_by(Runtimes)
class AsyncRuntimes(AsyncCaller):
    """The twin of :class:`Runtimes`."""

    async def list_runtimes(self) -> list[Runtime]:
        return await self._run(runtimes.list_runtimes())

    async def register_runtime(self, name: str) -> RuntimeSecret:
        return await self._run(runtimes.register_runtime(name))

    async def rotate_runtime(self, runtime_id: UUID, *, overlap: timedelta = _DAY) -> RuntimeSecret:
        return await self._run(runtimes.rotate_runtime(runtime_id, overlap))

    async def revoke_runtime(self, runtime_id: UUID) -> None:
        await self._run(runtimes.revoke_runtime(runtime_id))
