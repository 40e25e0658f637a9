"""All that checks go by, gathered once: what the ledger, the hub, the catalogue and the logs told, in names only."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final

from keyturn.access_log.readers import LogRead

IN_FORCE: Final = ("promote", "recover", "revert")
"""The actions of the ledger that put a version in force."""


class Part(StrEnum):
    """What is looked at by itself, and may be out of sight by itself."""

    LEDGER = "the ledger"
    COPIES = "the copies"
    STORES = "what lies in the stores and in the hub"
    ACCESSES = "the access logs"
    POLICIES = "the hub's policies"
    KEYS = "Keyturn's own keys"
    GLASS = "what was done without a second person"


@dataclass(frozen=True)
class Period:
    """From ``since`` on up to, and without, ``until``, both in UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class LedgerMark:
    """An entry of the ledger, as far as checks go by it."""

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
    """What the ledger's entries up to ``checkpoint`` (a signed note over ``size`` of them) tell of the period.

    ``entries`` of the period were written, ``first`` and ``last`` are the outer ones that are about these secrets, or
    about none; ``later`` came after the checkpoint, and count for nothing. ``began_at`` is the time of its first entry.
    ``counts`` are entries of the period by action and outcome, ``unnamed`` those whose actor the hub has not named,
    ``incomplete`` those that lack what, when, by whom, from where or how it ended. ``marks`` are those of the period
    that checks look at one by one, and ``before`` the last promotion of each secret before it. ``pushes`` are the last
    one of the period to each copy, by secret and copy. ``problems`` say where it was changed.
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
        """By secret, what put a version of it in force in the period."""
        marks: dict[str, list[LedgerMark]] = defaultdict(list)
        for mark in self.marks:
            if mark.action in IN_FORCE and mark.outcome == "done":
                marks[mark.secret].append(mark)
        return {secret: tuple(own) for secret, own in marks.items()}

    def having(self, action: str, outcome: str = "done") -> tuple[LedgerMark, ...]:
        """The marks of one action that ended so."""
        return tuple(mark for mark in self.marks if (mark.action, mark.outcome) == (action, outcome))

    def count(self, action: str, outcome: str = "done") -> int:
        """How many entries of the period tell of it."""
        return self.counts.get((action, outcome), 0)


@dataclass(frozen=True)
class KeyPeriod:
    """What kind of key a secret is, in the words of SP 800-57, and how long one may be used for."""

    kind: str
    limit: timedelta


@dataclass(frozen=True)
class SecretFact:
    """One declared secret as the hub has it. ``error`` says why nothing could be told, and is mostly empty.

    ``limit`` is the age beyond which it is late, ``late`` says why it is. ``retiring_since`` is when the grace of an
    old credential was over that still lives. ``login`` is what came of the last try whether CURRENT logs in.
    ``person`` says that it is somebody's own password.
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
    stores: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    key: KeyPeriod | None = None
    certificate: Mapping[str, str] | None = None
    error: str = ""


@dataclass(frozen=True)
class CopyFact:
    """One copy: ``wrong`` says what is the matter with it, ``unknown`` why nothing could be told."""

    secret: str
    store: str
    kind: str
    name: str
    state: str
    wrong: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class Unmanaged:
    """A secret that nobody manages, or a copy that nothing declares, and where it lies."""

    place: str
    name: str
    what: str


@dataclass(frozen=True)
class ReaderFact:
    """What one principal did with one secret. ``own`` is a login of Keyturn.

    ``expected`` says that the catalogue names it as one that uses the secret.
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
    """Who read what in the period. ``hours`` counts reads by the hour (0 to 23, UTC) and the secret's classification.

    ``able`` is who may read each secret: by the catalogue, and by the hub's policies where these could be read.
    """

    logs: tuple[LogRead, ...] = ()
    readers: tuple[ReaderFact, ...] = ()
    hours: Mapping[tuple[int, str], int] = field(default_factory=dict)
    able: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyFact:
    """One of Keyturn's own keys."""

    name: str
    what: str
    state: str
    since: datetime | None
    due_at: datetime | None
    blocked: str
    late: bool


@dataclass(frozen=True)
class ExceptionFact:
    """What somebody answers for until ``until``: these secrets do not count against these checks."""

    name: str
    checks: tuple[str, ...]
    secrets: tuple[str, ...]
    owner: str
    until: datetime
    reason: str


@dataclass(frozen=True)
class FreezeFact:
    """A time in which rotations are held back."""

    name: str
    begins: datetime
    ends: datetime
    reason: str
    secrets: int


@dataclass(frozen=True)
class GlassFact:
    """One time that something was done without the second person whom it needs."""

    name: str
    at: str
    action: str
    words: str
    reason: str
    actor: str
    reviewed_by: str
    verdict: str
    review_by: str = ""
    """By when it has to be looked at; empty where nobody says."""


@dataclass(frozen=True)
class Facts:
    """Everything, at one moment. ``unseen`` says of each part that could not be looked at why.

    ``looked_at`` is when the state was looked at, by whom ``looked_by``. ``owner`` is whose secrets alone these are;
    empty for all. ``catalogue`` is the digest of the files that declare them.
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
    glass: tuple[GlassFact, ...] = ()
    second_person: tuple[str, ...] = ()
    """What the operator's file lets nobody do alone."""
    unseen: Mapping[Part, str] = field(default_factory=dict)

    def out_of_sight(self, *parts: Part) -> str:
        """Why any of these could not be looked at; empty where all could."""
        return "; ".join(f"{part}: {self.unseen[part]}" for part in parts if part in self.unseen)

    def excepted(self, check: str, secret: str) -> ExceptionFact | None:
        """The exception in force that covers a secret in a check."""
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
        """The secrets by their paths."""
        return {secret.path: secret for secret in self.secrets}
