"""Exported seals of audit logs, and the comparison of a database's entries with them.

The hashes are computed here, so that the comparison needs nothing of the database but the entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from supa_llm.errors import InvalidInputError
from supa_llm.values.audit import AuditEntry, AuditProblem, AuditVerification
from supa_llm.values.reading import Row

_FORMAT = "supa-llm audit seals 1"
#: How much earlier than its transaction an entry may claim to be; the database allows the same.
_SLACK = timedelta(minutes=1)
_EPOCH = datetime.fromtimestamp(0, UTC)
_LAST_MILLISECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class AuditSeal(Row):
    """A seal: the hashes of a batch of entries of one log. ``ids`` is None once retention dropped them."""

    user_id: UUID
    seal: int
    sealed_at: str
    total: int
    first_id: UUID
    last_id: UUID
    ids: tuple[UUID, ...] | None
    digests: tuple[str, ...] | None
    content: str
    head: str

    def head_after(self, previous: AuditSeal | None) -> str:
        """The hash of this seal and the previous one's, as it must be."""
        parts = (
            self.user_id,
            self.seal,
            self.sealed_at,
            self.total,
            self.first_id,
            self.last_id,
            self.content,
        )
        text = " ".join(map(str, ("supa-llm audit seal 1", *parts, *([previous.head] if previous else []))))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditSealPage(Row):
    """A page of seals. Entries of transactions with greater numbers than ``xid`` came after ``at``."""

    at: str | None
    xid: int | None
    seals: tuple[AuditSeal, ...]


@dataclass(frozen=True, slots=True)
class AuditText(Row):
    """An entry as the text that is hashed, with the number of its transaction."""

    user_id: UUID
    id: UUID
    xid: int
    text: str


def header_line(page: AuditSealPage, user_id: UUID | None) -> str:
    """The first line of an export, from its first page."""
    scope = str(user_id) if user_id else None
    return _line({"format": _FORMAT, "at": page.at, "xid": page.xid, "user_id": scope})


def seal_line(seal: AuditSeal) -> str:
    return _line(asdict(seal))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=str) + "\n"


@dataclass
class ExportedSeals:
    """An export: when it was made, and the digest of each entry that was sealed then.

    Attributes:
        at: entries of transactions with greater numbers than ``xid`` were inserted after this time.
        xid: the number of a transaction.
        user_id: the only log in the export; None for all logs.
    """

    at: datetime
    xid: int
    user_id: UUID | None
    logs: int = 0
    _digests: dict[tuple[UUID, UUID], str] = field(default_factory=dict)
    _problem: AuditProblem | None = None
    _verified: int = 0
    _newer: int = 0

    @classmethod
    def read(cls, lines: Iterable[str], user_id: UUID | None = None) -> ExportedSeals:
        """Read the lines of an export, and check its hashes.

        Args:
            user_id: read only the seals of this log.

        Raises:
            InvalidInputError: a line is missing or damaged, or the database's seals were no chain when they
                were exported.
        """
        export: ExportedSeals | None = None
        previous: AuditSeal | None = None
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if export is None:
                    export = cls._begin(row, user_id)
                    continue
                seal = AuditSeal.from_json(row)
                if export.user_id not in (None, seal.user_id):
                    continue
                if previous is None or previous.user_id != seal.user_id:
                    previous = None
                    export.logs += 1
                _check(seal, previous)
            except (ValueError, KeyError, TypeError):
                raise _damaged(number) from None
            ids = zip(seal.ids or (), seal.digests or (), strict=True)
            export._digests.update({(seal.user_id, entry): digest for entry, digest in ids})
            previous = seal
        if export is None:
            raise _damaged(1)
        return export

    @classmethod
    def _begin(cls, row: Mapping[str, Any], user_id: UUID | None) -> ExportedSeals:
        if row["format"] != _FORMAT:
            raise ValueError
        scope = user_id or (UUID(row["user_id"]) if row["user_id"] else None)
        at = datetime.fromisoformat(row["at"]) if row["at"] else _EPOCH
        return cls(at, row["xid"] or 0, scope)

    def compare(self, entry: AuditText) -> None:
        """Compare an entry of the database with its digest in the export."""
        digest = self._digests.pop((entry.user_id, entry.id), None)
        if digest is None:
            late = made_at(entry.id) < self.at - _SLACK and entry.xid > self.xid
            self._newer += not late
            if late:
                self._note("inserted", entry.user_id, entry.id)
        elif digest == hashlib.sha256(entry.text.encode()).hexdigest():
            self._verified += 1
        else:
            self._note("changed", entry.user_id, entry.id)

    @property
    def missing(self) -> bool:
        """Whether entries of the export were not compared, because the database has them no more."""
        return bool(self._digests)

    def result(self, removals: Iterable[AuditEntry] = ()) -> AuditVerification:
        """The result, after all entries were compared.

        Args:
            removals: the operator's entries ``months_dropped`` and ``user_data_removed``, if entries are
                missing.
        """
        dropped_before, removed_until = _allowed(removals)
        dropped = 0
        for user_id, entry in self._digests:
            if made_at(entry) < dropped_before or entry < removed_until.get(str(user_id), UUID(int=0)):
                dropped += 1
            else:
                self._note("removed", user_id, entry)
        return AuditVerification(
            logs=self.logs,
            verified=self._verified,
            unsealed=self._newer,
            dropped=dropped,
            sealed_until=self.at,
            seals=None,
            head=None,
            first_problem=self._problem,
            next=None,
            next_user_id=None,
        )

    def _note(self, kind: str, user_id: UUID, entry: UUID) -> None:
        found = AuditProblem(user_id, kind, entry, None, made_at(entry))
        if self._problem is None or (user_id, entry) < (self._problem.user_id, self._problem.entry):
            self._problem = found


def made_at(entry: UUID) -> datetime:
    """The time in an entry's ID, which a forged one may have beyond the last year."""
    return _EPOCH + timedelta(milliseconds=min(entry.int >> 80, _LAST_MILLISECOND))


def _check(seal: AuditSeal, previous: AuditSeal | None) -> None:
    expected = previous.seal + 1 if previous else seal.seal if seal.ids is None else 1
    if seal.seal != expected:
        raise ValueError
    if seal.digests is not None:
        content = hashlib.sha256(b"".join(map(bytes.fromhex, seal.digests))).hexdigest()
        if content != seal.content or seal.ids is None or len(seal.ids) != len(seal.digests):
            raise ValueError
    if (previous or seal.seal == 1) and seal.head != seal.head_after(previous):
        raise ValueError


def _allowed(removals: Iterable[AuditEntry]) -> tuple[datetime, dict[str, UUID]]:
    """Until when retention has dropped entries, and until which entry each user's data was removed."""
    dropped_before = _EPOCH
    removed_until: dict[str, UUID] = {}
    for entry in removals:
        if entry.action == "user_data_removed":
            user = str(entry.detail.get("user_id"))
            removed_until[user] = max(entry.id, removed_until.get(user, entry.id))
        for month in _months(entry):
            following = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
            dropped_before = max(dropped_before, following)
    return dropped_before, removed_until


def _months(entry: AuditEntry) -> Iterator[datetime]:
    for month in entry.detail.get("audit") or () if entry.action == "months_dropped" else ():
        with suppress(ValueError):
            yield datetime.strptime(str(month), "%Y-%m").replace(tzinfo=UTC)


def _damaged(line: int) -> InvalidInputError:
    return InvalidInputError(
        f"Line {line} of the exported seals is damaged.",
        hint="Compare with another export. If its chain is broken too, the database's seals were changed.",
    )
