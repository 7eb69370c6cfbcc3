"""The audit log: changes by users and administrators, and who received a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from supa_llm.values.reading import Row


@dataclass(frozen=True, slots=True)
class AuditEntry(Row):
    """One entry of the audit log of a user or the operator. It never contains a secret."""

    id: UUID
    at: datetime
    action: str
    actor: str
    provider: str | None
    key_id: UUID | None
    runtime_id: UUID | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditProblem(Row):
    """What a verification of an audit log found: an entry or a seal that is not as it was sealed.

    Attributes:
        user_id: whose log it is; the operator's log has the ID 0.
        kind: ``changed``, ``removed`` or ``inserted`` (an entry), or ``seal_changed`` or ``seal_removed``.
        entry: the entry; None for a seal.
        seal: the number of the seal; None for an entry.
        at: the time that the entry's ID contains, or when the seal was made.
    """

    user_id: UUID
    kind: str
    entry: UUID | None
    seal: int | None
    at: datetime

    def __str__(self) -> str:
        what = f"Entry {self.entry}" if self.entry else f"Seal {self.seal}"
        verb = self.kind.removeprefix("seal_")
        return f"{what} was {verb}{' later than it claims' if verb == 'inserted' else ''}."


@dataclass(frozen=True, slots=True)
class AuditVerification(Row):
    """The result of a verification of audit logs.

    Attributes:
        logs: how many logs were verified.
        verified: entries that are as they were sealed.
        unsealed: entries that are not sealed yet.
        dropped: sealed entries that retention has dropped, or that went with a user's data.
        sealed_until: when the last seal of the log was made; None for several logs, or without a seal.
        seals: the number of the last seal; None for several logs.
        head: the hash of the last seal, which stands for the whole log until then; None as sealed_until.
        first_problem: the first entry or seal that is not as it was sealed; None if there is none.
        next: ID of the entry with which the next page continues; None after the last page.
        next_user_id: the log with which the next page of several logs continues.
    """

    logs: int
    verified: int
    unsealed: int
    dropped: int
    sealed_until: datetime | None
    seals: int | None
    head: str | None
    first_problem: AuditProblem | None
    next: UUID | None
    next_user_id: UUID | None

    def __add__(self, later: AuditVerification) -> AuditVerification:
        """This page and the one after it."""
        return replace(
            later,
            logs=self.logs + later.logs,
            verified=self.verified + later.verified,
            unsealed=self.unsealed + later.unsealed,
            dropped=self.dropped + later.dropped,
            first_problem=self.first_problem or later.first_problem,
        )
