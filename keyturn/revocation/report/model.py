"""What an incident report says, whichever way it is rendered: names, moments and counts, never a value.

The names of the fields are the keys of the JSON, described in docs/incident-report.md.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

SCHEMA: Final = "keyturn.incident-report/1"
"""The number is raised when a key goes or changes its meaning; new keys may come at any time."""


@dataclass(frozen=True)
class LedgerFacts:
    """Where the incident stands in the ledger: the numbers of its entries, and the checkpoint that covers them."""

    sequences: tuple[int, ...] = ()
    checkpoint: str = ""


@dataclass(frozen=True)
class About:
    """The incident as it was opened, and when it was closed."""

    id: str
    reason: str
    mode: str
    selector: str
    actor: str
    triggered_at: datetime
    opened_at: datetime
    closed_at: datetime | None
    leases: tuple[str, ...]
    given_up: str = ""
    """By whom and why a person has closed it with things left; empty for every other one."""
    remark: str = ""
    """What the process that opened it said of itself, and of who asked: nobody vouches for it."""
    left_out: tuple[str, ...] = ()
    """What was broken in the catalogue when it was opened, and was left out."""


@dataclass(frozen=True)
class TimeToRevoke:
    """For how many secrets it is over, and how long the slowest of these took, in seconds from the trigger."""

    secrets: int
    refused: int
    refused_seconds: float | None
    clear: int
    clear_seconds: float | None


@dataclass(frozen=True)
class Version:
    """A version that others may know; 0 is a candidate that was never in force. The fingerprint has 12 digits."""

    version: int
    fingerprint: str


@dataclass(frozen=True)
class PlaceReport:
    """One copy, or the hub: when it had the new value, and when the old versions were removed there.

    ``state`` is clear (proven), remains, failed, removed (not proven yet) or waiting; ``said`` explains it.
    ``fingerprint`` is that of the newest old value there, as 12 digits.
    """

    place: str
    fingerprint: str
    replaced_at: datetime | None
    replaced_seconds: float | None
    removed_at: datetime | None
    removed_seconds: float | None
    state: str
    said: str


@dataclass(frozen=True)
class SecretReport:
    """One secret: what was ended, when, and what became of every copy. ``replacement`` is None without one."""

    path: str
    strategy: str
    owner: str
    classification: str
    versions: tuple[Version, ...]
    replacement: Version | None
    cut_at: datetime | None
    cut_seconds: float | None
    refused_at: datetime | None
    refused_seconds: float | None
    clear_at: datetime | None
    clear_seconds: float | None
    sessions_ended: int
    outlives: tuple[str, ...]
    remains: tuple[str, ...]
    left: tuple[str, ...]
    steps_done: tuple[str, ...]
    steps_missing: tuple[str, ...]
    places: tuple[PlaceReport, ...]


@dataclass(frozen=True)
class Moment:
    """One action and its outcome; ``seconds`` are from the trigger. ``secret`` is empty for the incident's own."""

    at: datetime
    seconds: float
    secret: str
    step: str
    place: str
    result: str
    said: str
    kind: str = ""


@dataclass(frozen=True)
class Counted:
    """Something that was seen, and how often."""

    name: str
    count: int


@dataclass(frozen=True)
class ReaderReport:
    """One principal and one secret; ``refused`` counts attempts that got nothing. ``own`` is a login of Keyturn."""

    path: str
    system: str
    principal: str
    reads: int
    refused: int
    first: datetime
    last: datetime
    sources: tuple[Counted, ...]
    logins: tuple[Counted, ...]
    versions: tuple[int, ...]
    own: bool


@dataclass(frozen=True)
class RelatedReport:
    """Another secret that one of the principals has read."""

    system: str
    principal: str
    path: str
    reads: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class LogReport:
    """One log that was asked: what it covers, what of it could not be read, or why it told nothing."""

    name: str
    lines: int
    first: datetime | None
    last: datetime | None
    gaps: tuple[str, ...]
    failed: str


@dataclass(frozen=True)
class ReadersReport:
    """Who read the secrets in the look-back period. Without logs it tells nothing."""

    since: datetime
    until: datetime
    logs: tuple[LogReport, ...]
    principals: tuple[ReaderReport, ...]
    unread: tuple[str, ...]
    related: tuple[RelatedReport, ...]
    own_related: int


@dataclass(frozen=True)
class LedgerReport:
    """How to check that what is told here is what was recorded."""

    sequences: tuple[int, ...]
    checkpoint: str
    verify: str


@dataclass(frozen=True)
class CheckReport:
    """One thing that was checked, and the answer; ``secret`` is empty where it is of the incident as a whole."""

    secret: str
    subject: str
    place: str
    answer: str
    said: str
    remedy: str


@dataclass(frozen=True)
class IncidentReport:
    """All of it, what matters first."""

    schema: str
    state: str
    headline: str
    summary: tuple[str, ...]
    left: tuple[str, ...]
    incident: About
    time_to_revoke: TimeToRevoke
    secrets: tuple[SecretReport, ...]
    outlives: tuple[str, ...]
    remains: tuple[str, ...]
    readers: ReadersReport
    verdict: str
    checks: tuple[CheckReport, ...]
    proof: tuple[str, ...]
    timeline: tuple[Moment, ...]
    ledger: LedgerReport
    written_at: datetime
