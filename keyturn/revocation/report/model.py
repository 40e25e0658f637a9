"""The contents of an incident report in any format: names, times and counts, never a value.

Field names are the JSON keys of docs/incident-report.md.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

SCHEMA: Final = "keyturn.incident-report/1"
"""The number rises when a key is removed or changes its meaning; new keys may appear at any time."""


@dataclass(frozen=True)
class LedgerFacts:
    """The numbers of the incident's ledger entries, and the checkpoint that covers them."""

    sequences: tuple[int, ...] = ()
    checkpoint: str = ""


@dataclass(frozen=True)
class About:
    """The incident as opened, and when it was closed."""

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
    """The person who closed it with work left and the reason, else empty."""
    remark: str = ""
    """What the opening process reported about itself and the requester; unverified."""
    left_out: tuple[str, ...] = ()
    """The broken parts of the catalogue at its opening."""


@dataclass(frozen=True)
class TimeToRevoke:
    """The number of finished secrets, and the slowest in seconds from the trigger."""

    secrets: int
    refused: int
    refused_seconds: float | None
    clear: int
    clear_seconds: float | None


@dataclass(frozen=True)
class Version:
    """A leaked version, or 0 for a candidate; the fingerprint has 12 digits."""

    version: int
    fingerprint: str


@dataclass(frozen=True)
class PlaceReport:
    """The hub or one copy; ``state`` is clear (proven), remains, failed, removed (not proven yet) or waiting.

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
    """One secret: what ended, when, and the state of every copy."""

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
    """One action; ``seconds`` are from the trigger, and ``secret`` is empty for the incident's own."""

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
    """A name and its count."""

    name: str
    count: int


@dataclass(frozen=True)
class ReaderReport:
    """One principal and one secret; ``refused`` counts failed reads, ``own`` is a login of Keyturn."""

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
    """Another secret that one of the principals read."""

    system: str
    principal: str
    path: str
    reads: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class LogReport:
    """One log: its coverage, its unreadable parts, or why it failed."""

    name: str
    lines: int
    first: datetime | None
    last: datetime | None
    gaps: tuple[str, ...]
    failed: str


@dataclass(frozen=True)
class ReadersReport:
    """The readers of the secrets in the look-back period; without logs they are unknown."""

    since: datetime
    until: datetime
    logs: tuple[LogReport, ...]
    principals: tuple[ReaderReport, ...]
    unread: tuple[str, ...]
    related: tuple[RelatedReport, ...]
    own_related: int


@dataclass(frozen=True)
class LedgerReport:
    """How to verify the report against the ledger."""

    sequences: tuple[int, ...]
    checkpoint: str
    verify: str


@dataclass(frozen=True)
class CheckReport:
    """One check and its answer; ``secret`` is empty for the incident as a whole."""

    secret: str
    subject: str
    place: str
    answer: str
    said: str
    remedy: str


@dataclass(frozen=True)
class IncidentReport:
    """The report, with the most important parts first."""

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
