"""The facts for all checks, gathered once from the ledger, hub, catalogue and logs. Names only."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final

from keyturn.access_log.readers import LogRead
from keyturn.rotation.state.break_glass import BrokenGlass

IN_FORCE: Final = ("promote", "recover", "revert")
"""The ledger actions that put a version in force."""


class Part(StrEnum):
    """A part of the facts that is read separately, and may be unreadable."""

    LEDGER = "the ledger"
    COPIES = "the copies"
    STORES = "what is in the stores and in the hub"
    ACCESSES = "the access logs"
    POLICIES = "the hub's policies"
    KEYS = "Keyturn's own keys"
    GLASS = "what was done without a second person"


@dataclass(frozen=True)
class Period:
    """The time from ``since`` up to but without ``until``, both in UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class LedgerMark:
    sequence: int
    at: datetime
    action: str
    outcome: str
    secret: str = ""
    version: int = 0
    place: str = ""
    note: str = ""
    actor: str = ""


@dataclass(frozen=True)
class LedgerExtract:
    """The ledger's entries of the period, up to ``checkpoint``, a signed note over ``size`` entries.

    ``entries`` is the number of entries in the period. ``first`` and ``last`` are the outermost of those that concern
    these secrets, or no secret. ``later`` counts entries after the checkpoint, which checks ignore. ``began_at`` is the
    time of the ledger's first entry. ``counts`` has the period's entries by action and outcome. ``unnamed`` counts
    entries whose actor the hub did not name. ``incomplete`` counts entries without action, time, actor, host or
    outcome. ``marks`` are the period's entries that checks read one by one. ``before`` has each secret's last promotion
    before the period. ``pushes`` has the last push of the period by secret and copy. ``problems`` reports where the
    ledger was changed.
    """

    name: str = ""
    checkpoint: str = ""
    size: int = 0
    later: int = 0
    entries: int = 0
    first: int = 0
    last: int = 0
    began_at: datetime | None = None
    signed_at: datetime | None = None
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unnamed: int = 0
    incomplete: int = 0
    marks: tuple[LedgerMark, ...] = ()
    before: Mapping[str, LedgerMark] = field(default_factory=dict)
    pushes: Mapping[tuple[str, str], LedgerMark] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @cached_property
    def in_force(self) -> Mapping[str, tuple[LedgerMark, ...]]:
        """The entries of the period that put a version in force, by secret."""
        marks: dict[str, list[LedgerMark]] = defaultdict(list)
        for mark in self.marks:
            if mark.action in IN_FORCE and mark.outcome == "done":
                marks[mark.secret].append(mark)
        return {secret: tuple(own) for secret, own in marks.items()}

    def having(self, action: str, outcome: str = "done") -> tuple[LedgerMark, ...]:
        return tuple(mark for mark in self.marks if (mark.action, mark.outcome) == (action, outcome))

    def count(self, action: str, outcome: str = "done") -> int:
        return self.counts.get((action, outcome), 0)


@dataclass(frozen=True)
class KeyPeriod:
    """The kind of a key in the terms of SP 800-57, and its cryptoperiod."""

    kind: str
    limit: timedelta


@dataclass(frozen=True)
class SecretFact:
    """A declared secret as stored in the hub; ``error`` is the reason where it could not be read.

    ``limit`` is the maximum age, and ``late`` why the secret is late. ``retiring_since`` is when the grace period of a
    live old credential ended. ``login`` is the last login test of CURRENT. ``person`` marks a person's own password.
    ``dead_within`` is the objective of a revocation.
    """

    path: str
    owner: str
    classification: str
    strategy: str
    by_hand: bool = False
    person: bool = False
    limit: timedelta | None = None
    interval: timedelta | None = None
    version: int = 0
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    late: str = ""
    missing: str = ""
    ended_by: str = ""
    retiring_since: datetime | None = None
    login: str = ""
    login_at: datetime | None = None
    login_alarm: str = ""
    dead_within: timedelta | None = None
    stores: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    key: KeyPeriod | None = None
    certificate: Mapping[str, str] | None = None
    error: str = ""


@dataclass(frozen=True)
class CopyFact:
    """A copy; ``wrong`` is its problem, and ``unknown`` why it could not be read."""

    secret: str
    store: str
    kind: str
    name: str
    state: str
    wrong: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class Unmanaged:
    place: str
    name: str
    what: str


@dataclass(frozen=True)
class ReaderFact:
    """The accesses of one principal to one secret. ``own`` marks a login of Keyturn.

    ``expected`` means that the catalogue names the principal as a reader of the secret.
    """

    secret: str
    system: str
    principal: str
    reads: int
    refused: int
    first: datetime
    last: datetime
    own: bool = False
    expected: bool = False


@dataclass(frozen=True)
class AccessExtract:
    """The accesses in the period; ``hours`` counts reads by hour (0 to 23, UTC) and classification.

    ``able`` are the identities that may read each secret, by the catalogue and, where readable, by the hub's policies.
    """

    logs: tuple[LogRead, ...] = ()
    readers: tuple[ReaderFact, ...] = ()
    hours: Mapping[tuple[int, str], int] = field(default_factory=dict)
    able: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyFact:
    name: str
    what: str
    state: str
    since: datetime | None
    due_at: datetime | None
    blocked: str
    late: bool


@dataclass(frozen=True)
class ExceptionFact:
    """An exception: until ``until``, these secrets do not count against these checks."""

    name: str
    checks: tuple[str, ...]
    secrets: tuple[str, ...]
    owner: str
    until: datetime
    reason: str


@dataclass(frozen=True)
class FreezeFact:
    name: str
    begins: datetime
    ends: datetime
    reason: str
    secrets: int


@dataclass(frozen=True)
class Facts:
    """All facts at one time; ``unseen`` has the reason for each unreadable part.

    ``looked_at`` is when the state was read, and ``looked_by`` the reader. An empty ``owner`` means all owners.
    ``catalogue`` is the digest of its files.
    """

    period: Period
    looked_at: datetime
    looked_by: str
    owner: str = ""
    catalogue_id: str = ""
    catalogue: str = ""
    ledger: LedgerExtract = field(default_factory=LedgerExtract)
    secrets: tuple[SecretFact, ...] = ()
    copies: tuple[CopyFact, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    accesses: AccessExtract = field(default_factory=AccessExtract)
    keys: tuple[KeyFact, ...] = ()
    exceptions: tuple[ExceptionFact, ...] = ()
    freezes: tuple[FreezeFact, ...] = ()
    glass: tuple[BrokenGlass, ...] = ()
    """The actions that were done without the second person that they require."""
    second_person: tuple[str, ...] = ()
    """The actions that the operator's file allows only with a second person."""
    unseen: Mapping[Part, str] = field(default_factory=dict)

    def out_of_sight(self, *parts: Part) -> str:
        """Return why any of these parts could not be read; empty where all could."""
        return "; ".join(f"{part}: {self.unseen[part]}" for part in parts if part in self.unseen)

    def excepted(self, check: str, secret: str) -> ExceptionFact | None:
        """Return the exception in force that covers a secret in a check."""
        return next(
            (
                exception
                for exception in self.exceptions
                if check in exception.checks and secret in exception.secrets and exception.until > self.looked_at
            ),
            None,
        )

    @property
    def by_path(self) -> Mapping[str, SecretFact]:
        return {secret.path: secret for secret in self.secrets}
