"""An incident in names alone: what was asked for, how far each secret is, and what keeps it open."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject, IncidentVerdict, checks_from_data, decide

RETRY_EVERY: Final = timedelta(minutes=5)
"""How often what is left of an open incident is retried."""
RETRIED: Final = f"every {RETRY_EVERY.total_seconds() / 60:.0f} minutes"
"""The same for people."""


class Mode(StrEnum):
    """What becomes of the secrets."""

    REPLACE = "replace"
    """The old credential ends, and a new one takes its place everywhere."""
    REVOKE_ONLY = "revoke-only"
    """The old credential ends, and nothing takes its place until a person rotates the secret."""


class Step(StrEnum):
    """What is done for each secret, in this order; what a mode does not need is left out."""

    CUT = "cut"
    """The target refuses the old credential, and its sessions are ended."""
    REPLACE = "replace"
    PUSH = "push"
    NOTIFY = "notify"
    HUB = "hub"
    """The hub's old versions are destroyed."""
    FORGET = "forget"
    """The stores' old versions are removed; without a replacement the copies themselves."""
    PROVE = "prove"
    """The target refuses what it accepted, and no store gives the old value."""


STEPS: Final[Mapping[Mode, tuple[Step, ...]]] = {
    Mode.REPLACE: tuple(Step),
    Mode.REVOKE_ONLY: (Step.CUT, Step.NOTIFY, Step.HUB, Step.FORGET, Step.PROVE),
}


class Result(StrEnum):
    """How one action ended."""

    DONE = "done"
    FAILED = "failed"
    """It is tried again, and keeps the incident open."""
    REMAINS = "remains"
    """It can't be done there, whoever tries; what the target refuses anyway keeps nothing open."""


@dataclass(frozen=True)
class Event:
    """One action and its outcome. ``place`` is a target, ``store:name``, a consumer, or empty for the hub.

    ``said`` is in words for people, ``kind`` the class of the error where it failed.
    """

    at: datetime
    step: Step
    result: Result
    place: str = ""
    said: str = ""
    kind: str = ""


@dataclass(frozen=True)
class LeakedVersion:
    """One version whose value others may know; ``version`` is the hub's, 0 for a candidate that was never in force.

    ``fingerprints`` has that of the whole secret under the empty name, and that of each copy under ``store:name``.
    ``credential`` is that of the fields which a rotation replaces; empty where a person replaces the value. ``beside``
    has those of copies that gave a version before beside it, under the same names.
    """

    version: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    credential: str = ""
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of each field that may let somebody in."""

    @property
    def digests(self) -> set[str]:
        """All of these fingerprints but the credential's."""
        return {*self.fingerprints.values(), *(digest for some in self.beside.values() for digest in some)}


@dataclass(frozen=True)
class Unseen:
    """What of a secret nobody could look at, and why; ``version`` is the hub's, 0 for the secret as a whole.

    ``accepted`` says that it may work though all that can be found was ended: then nothing proves that it does not.
    """

    version: int
    why: str
    destroyed: bool = False
    accepted: bool = False

    @property
    def words(self) -> str:
        """For people."""
        return f"version {self.version} ({self.why})" if self.version else self.why


@dataclass(frozen=True)
class SecretProgress:
    """One secret in an incident.

    ``token`` names the cut in the secret's record, ``sequence`` is its number at the target. ``version`` and
    ``fingerprint`` are those of the replacement, 0 and empty without one. ``cut_at`` is when the target was told, and
    ``cut_version`` the hub's newest version then; ``refused_at`` is when the target was seen to refuse, ``clear_at``
    when every copy was seen to be gone or replaced. ``sessions`` is how many were ended. ``outlives`` tells what was
    given out on the credential and works on, ``remains`` what a service can't remove, ``left`` what is yet to be done.
    ``checks`` are what the proof checked last, and its answers; an older version of Keyturn has left none.
    ``unseen`` is what could not be looked at when it was cut. ``placed`` says that all was ended by its place at the
    target, and ``leftover`` names what was there after it, such as a key whose new value nobody knows; ``placeless``
    says why nothing could be found there, and is empty where it could.
    """

    path: str
    strategy: str
    owner: str = ""
    classification: str = ""
    token: str = ""
    sequence: int = 0
    old: tuple[LeakedVersion, ...] = ()
    done: tuple[Step, ...] = ()
    version: int = 0
    fingerprint: str = ""
    cut_at: datetime | None = None
    cut_version: int = 0
    refused_at: datetime | None = None
    clear_at: datetime | None = None
    sessions: int = 0
    outlives: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    placed: bool = False
    leftover: tuple[str, ...] = ()
    placeless: str = ""
    checks: tuple[Check, ...] = ()

    def has_done(self, step: Step) -> bool:
        """Whether a step is done. A proof without its checks, by an older version of Keyturn, is made again."""
        return step in self.done and (step is not Step.PROVE or bool(self.checks))

    def having(self, **changes: Any) -> "SecretProgress":
        """This progress with these changes."""
        return replace(self, **changes)

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return dict(_plain(asdict(self)))

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "SecretProgress":
        """The reverse of :meth:`to_data`."""
        read = dict(data)
        for name in ("cut_at", "refused_at", "clear_at"):
            read[name] = _moment(read.get(name))
        read["old"] = tuple(LeakedVersion(**entry) for entry in read.get("old", ()))
        read["done"] = tuple(map(Step, read.get("done", ())))
        read["events"] = tuple(_event(entry) for entry in read.get("events", ()))
        read["unseen"] = tuple(Unseen(**entry) for entry in read.get("unseen", ()))
        read["checks"] = checks_from_data(read.get("checks", ()))
        for name in ("outlives", "remains", "left", "leftover"):
            read[name] = tuple(read.get(name, ()))
        return SecretProgress(**read)


def steps_missing(mode: Mode, progress: SecretProgress) -> tuple[Step, ...]:
    """What is to be done still for a secret, in order."""
    return tuple(step for step in STEPS[mode] if not progress.has_done(step))


class News(StrEnum):
    """What people are told of an incident."""

    OPENED = "opened"
    STAYS_OPEN = "still open"
    CLOSED = "closed"
    REOPENED = "open again"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Message:
    """One piece of news that people are to hear; it waits in the incident's outbox until it is sent.

    ``number`` counts the incident's messages. Whoever sends it claims it first, so that no second one does; a claim
    that is older than what sending may take is that of a process which has died.
    """

    number: int
    news: News
    at: datetime
    claimed_at: datetime | None = None
    claimed_by: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Incident:
    """One revocation, as opened. ``selector`` tells in words what was chosen.

    ``actor`` is who asked, in the hub's words, and ``remark`` what their process said of itself.

    ``triggered_at`` is when the person or system asked, ``opened_at`` when it stood in the hub. ``leases`` are those
    that were chosen by their prefix; ``events`` tells what became of them, and of copies that nothing declares now.
    ``left`` is what keeps it open and belongs to no single secret. ``closed_at`` is None while it is open. ``given_up``
    is the reason why a person has closed it with things left, and ``given_up_by`` who that was. ``looked_at`` is when
    all of it was looked at once more since it was closed. ``unread`` says why its entry can't be read: then nothing
    else but its name is true.
    """

    id: str
    reason: str
    mode: Mode
    selector: str
    actor: str
    triggered_at: datetime
    opened_at: datetime
    paths: tuple[str, ...]
    leases: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    left: tuple[str, ...] = ()
    reminded_at: datetime | None = None
    closed_at: datetime | None = None
    given_up: str = ""
    given_up_by: str = ""
    looked_at: tuple[datetime, ...] = ()
    unread: str = ""
    tries: int = 0
    """How often in a row finish-incidents has tried what is left, and has come no further."""
    tried_at: datetime | None = None
    outbox: tuple[Message, ...] = ()
    """What people are told of it: everything that is not sent yet, and the last of what is."""
    remark: str = ""
    checks: tuple[Check, ...] = ()
    """What was checked of the incident as a whole, such as leases and the ledger."""
    left_out: tuple[str, ...] = ()
    """What was broken in the catalogue when it was opened, and was left out."""
    missed: tuple[str, ...] = ()
    """Secrets that were meant, and whose entries did not load."""
    version: int = field(default=0, compare=False)
    """That of the hub's entry."""

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return dict(_plain({name: value for name, value in asdict(self).items() if name != "version"}))

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int) -> "Incident":
        """The reverse of :meth:`to_data`."""
        read = dict(data)
        for name in ("triggered_at", "opened_at", "reminded_at", "closed_at", "tried_at"):
            read[name] = _moment(read.get(name))
        for name in ("paths", "leases", "left", "left_out", "missed"):
            read[name] = tuple(read.get(name, ()))
        read["looked_at"] = tuple(map(datetime.fromisoformat, read.get("looked_at", ())))
        read["events"] = tuple(_event(entry) for entry in read.get("events", ()))
        read["checks"] = checks_from_data(read.get("checks", ()))
        read["outbox"] = tuple(_message(entry) for entry in read.get("outbox", ()))
        return Incident(**{**read, "mode": Mode(read["mode"]), "version": version})


@dataclass(frozen=True)
class IncidentStatus:
    """An incident with the progress of each of its secrets: what reports are made of."""

    incident: Incident
    secrets: tuple[SecretProgress, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Everything that is to be done still, each with its secret."""
        return (*self.incident.left, *(f"{secret.path}: {words}" for secret in self.secrets for words in secret.left))

    @property
    def open(self) -> bool:
        """Whether it is not over."""
        return self.incident.closed_at is None

    @property
    def checks(self) -> tuple[tuple[str, Check], ...]:
        """Every check with its secret, which is empty for those of the incident as a whole."""
        named = [("", check) for check in self.incident.checks]
        for secret in self.secrets:
            named += [(secret.path, check) for check in secret.checks or NOT_CHECKED_THEN]
        return tuple(named)

    @property
    def verdict(self) -> IncidentVerdict:
        """Whether it is open, closed and proven, or closed without proof."""
        checks = (check for _, check in self.checks)
        return decide(checks, unfinished=self.open, given_up=bool(self.incident.given_up))

    @property
    def unproven(self) -> tuple[str, ...]:
        """Why a closed incident is not proven, each with its secret; empty while it is open, where ``left`` says it."""
        if self.verdict is not IncidentVerdict.CLOSED:
            return ()
        named = (f"{path}: {check.words}" if path else check.words for path, check in self.checks if not check.proves)
        return tuple(named) or ("an older version of Keyturn closed it, and kept no checks",)

    @property
    def conclusion(self) -> str:
        """The verdict in one line, with how many things are left or not proven."""
        number = len(self.unproven or self.left)
        what = "" if self.verdict is IncidentVerdict.PROVEN else f" ({number} thing{'' if number == 1 else 's'})"
        return f"{self.verdict}{what}"


NOT_CHECKED_THEN: Final = tuple(
    Check(subject, "", CheckAnswer.NOT_CHECKED) for subject in (CheckSubject.KEPT_FIELDS, CheckSubject.ELSEWHERE)
)
"""Of a secret whose proof left no checks: an older version of Keyturn looked at less."""


def _event(data: Mapping[str, Any]) -> Event:
    read = {**data, "at": datetime.fromisoformat(data["at"])}
    return Event(**{**read, "step": Step(data["step"]), "result": Result(data["result"])})


def _message(data: Mapping[str, Any]) -> Message:
    moments = {name: _moment(data.get(name)) for name in ("claimed_at", "sent_at")}
    return Message(**{**data, **moments, "news": News(data["news"]), "at": datetime.fromisoformat(data["at"])})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    """Without what says nothing, and with moments as RFC 3339."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if item not in (None, (), [], {})}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
