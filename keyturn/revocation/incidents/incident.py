"""An incident without any value: the request, each secret's progress, and what keeps it open."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject, IncidentVerdict, checks_from_data, decide

RETRY_EVERY: Final = timedelta(minutes=5)
"""How often an open incident is retried."""
RETRIED: Final = f"every {RETRY_EVERY.total_seconds() / 60:.0f} minutes"
"""The same in words."""


class Mode(StrEnum):
    """What happens to the secrets."""

    REPLACE = "replace"
    """The old credential is ended and replaced everywhere."""
    REVOKE_ONLY = "revoke-only"
    """The old credential is ended, and not replaced until a person rotates it."""


class Step(StrEnum):
    """The actions for each secret, in order; :data:`STEPS` has each mode's."""

    CUT = "cut"
    """The target refuses the old credential, and its sessions are ended."""
    REPLACE = "replace"
    PUSH = "push"
    NOTIFY = "notify"
    HUB = "hub"
    """The hub's old versions are destroyed."""
    FORGET = "forget"
    """The stores' old versions are removed; without a replacement, the copies too."""
    PROVE = "prove"
    """The target refuses the old credential, and no store gives the old value."""


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
    """No one can do it there; it does not keep the incident open."""


@dataclass(frozen=True)
class Event:
    """One action and its outcome; ``place`` is a target, ``store:name``, a consumer, or empty for the hub."""

    at: datetime
    step: Step
    result: Result
    place: str = ""
    said: str = ""
    kind: str = ""


@dataclass(frozen=True)
class LeakedVersion:
    """A leaked version, or 0 for a candidate that was never in force.

    ``fingerprints`` has the whole secret under the empty name, and each copy under ``store:name``. ``beside`` has more
    of them: under other keys, and of copies with an earlier version. ``credential`` covers the fields that a rotation
    replaces; it is empty for manual secrets.
    """

    version: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    credential: str = ""
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of each field that may grant access."""

    @property
    def digests(self) -> set[str]:
        """All of these fingerprints except the credential's."""
        return {*self.fingerprints.values(), *(digest for some in self.beside.values() for digest in some)}


@dataclass(frozen=True)
class Unseen:
    """An unreadable part of a secret, and why; ``version`` 0 is the whole secret.

    ``accepted`` means that it may still work after the cut.
    """

    version: int
    why: str
    destroyed: bool = False
    accepted: bool = False

    @property
    def words(self) -> str:
        """Text for people."""
        return f"version {self.version} ({self.why})" if self.version else self.why


@dataclass(frozen=True)
class SecretProgress:
    """The progress of one secret in an incident.

    ``token`` and ``sequence`` are the cut's; ``version`` and ``fingerprint`` the replacement's. ``cut_version`` was the
    hub's newest then. ``refused_at`` is when the target was seen to refuse, ``clear_at`` when every copy was gone or
    replaced. ``outlives`` was issued with the credential and still works. ``remains`` can't be removed by a service,
    and ``left`` is still to do. Older versions of Keyturn stored no ``checks``. ``placed`` means that all was ended by
    place, ``leftover`` remained there, and ``placeless`` is why nothing can be found there.
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
        """Whether a step is done; a proof without checks, by an older Keyturn, is repeated."""
        return step in self.done and (step is not Step.PROVE or bool(self.checks))

    def having(self, **changes: Any) -> "SecretProgress":
        """This progress with these changes."""
        return replace(self, **changes)

    def to_data(self) -> dict[str, Any]:
        """JSON-ready data."""
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
    """A secret's steps that are still to do, in order."""
    return tuple(step for step in STEPS[mode] if not progress.has_done(step))


class News(StrEnum):
    """The kinds of notifications about an incident."""

    OPENED = "opened"
    STAYS_OPEN = "still open"
    CLOSED = "closed"
    REOPENED = "open again"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Message:
    """A notification of people, in the incident's outbox until it is sent.

    A process claims it before sending; an expired claim is a dead process's.
    """

    number: int
    news: News
    at: datetime
    claimed_at: datetime | None = None
    claimed_by: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Incident:
    """One revocation, as opened.

    ``actor`` is the hub's name for the requester, ``remark`` an unverified note by their process. ``leases`` were
    chosen by prefix; ``events`` and ``left`` belong to no secret. ``given_up`` is a person's reason to close it with
    work left. ``looked_at`` has the later checks. If its entry can't be read, ``unread`` is the reason, and only ``id``
    is valid.
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
    """Retries by finish-incidents in a row without progress."""
    tried_at: datetime | None = None
    outbox: tuple[Message, ...] = ()
    """All unsent messages, and the last sent ones."""
    remark: str = ""
    checks: tuple[Check, ...] = ()
    """The checks of the incident itself, such as leases and the ledger."""
    left_out: tuple[str, ...] = ()
    """The broken parts of the catalogue at its opening."""
    missed: tuple[str, ...] = ()
    """Selected secrets whose entries did not load."""
    version: int = field(default=0, compare=False)
    """The version of the hub's entry."""

    def to_data(self) -> dict[str, Any]:
        """JSON-ready data."""
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
    """An incident with the progress of each secret, for reports."""

    incident: Incident
    secrets: tuple[SecretProgress, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Everything that is still to do, each with its secret."""
        return (*self.incident.left, *(f"{secret.path}: {words}" for secret in self.secrets for words in secret.left))

    @property
    def open(self) -> bool:
        """Whether it is not closed."""
        return self.incident.closed_at is None

    @property
    def checks(self) -> tuple[tuple[str, Check], ...]:
        """Every check with its secret, empty for the incident's own."""
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
        """Why a closed incident is not proven, each with its secret."""
        if self.verdict is not IncidentVerdict.CLOSED:
            return ()
        named = (f"{path}: {check.words}" if path else check.words for path, check in self.checks if not check.proves)
        return tuple(named) or ("an older version of Keyturn closed it, and kept no checks",)

    @property
    def conclusion(self) -> str:
        """The verdict in one line, with the number of things left or not proven."""
        number = len(self.unproven or self.left)
        what = "" if self.verdict is IncidentVerdict.PROVEN else f" ({number} thing{'' if number == 1 else 's'})"
        return f"{self.verdict}{what}"


NOT_CHECKED_THEN: Final = tuple(
    Check(subject, "", CheckAnswer.NOT_CHECKED) for subject in (CheckSubject.KEPT_FIELDS, CheckSubject.ELSEWHERE)
)
"""For a proof without stored checks: older versions of Keyturn checked less."""


def _event(data: Mapping[str, Any]) -> Event:
    read = {**data, "at": datetime.fromisoformat(data["at"])}
    return Event(**{**read, "step": Step(data["step"]), "result": Result(data["result"])})


def _message(data: Mapping[str, Any]) -> Message:
    moments = {name: _moment(data.get(name)) for name in ("claimed_at", "sent_at")}
    return Message(**{**data, **moments, "news": News(data["news"]), "at": datetime.fromisoformat(data["at"])})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    """Return the value without empty entries, with times as RFC 3339."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if item not in (None, (), [], {})}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
