"""The rotation record of one secret: open rotation, pending retirement and history.

The record is one state entry, written by compare-and-set, and so also the lock: of two workers that read version n,
only one can write n+1. It names the entries with candidates (`keyturn.rotation.candidates`) and holds no values.
Rotation numbers are a Lamport clock: see :meth:`Record.next_sequence`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

from keyturn.core.clocks import insist_on_usable
from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields, StoredFields


class Stage(StrEnum):
    """Stage of a rotation."""

    MINTING = "minting"
    LOST = "lost"
    """The mint ended CURRENT, or may have, and the answer with its successor is lost. A person makes a new one."""
    PENDING = "pending"
    ABANDONING = "abandoning"
    PROMOTED = "promoted"
    REVERTING = "reverting"
    REVERTED = "reverted"
    CUTTING = "cutting"
    """A revocation holds the secret and is ending all its credentials."""
    RETIRING = "retiring"
    """The old credential is being ended and can't come back into force."""
    RETIRED = "retired"
    ABANDONED = "abandoned"
    CUT = "cut"
    """A revocation ended everything that the rotation put, or would have put, in force."""


UNSAVED: Final = frozenset({Stage.MINTING, Stage.LOST})
"""Stages without a candidate, of which the target may have one."""

OPEN: Final = UNSAVED | {Stage.PENDING, Stage.ABANDONING, Stage.REVERTING, Stage.CUTTING}
"""Stages in which a worker holds the rotation."""

IN_FORCE: Final = frozenset({Stage.PROMOTED, Stage.REVERTED, Stage.RETIRING})
"""Stages with CURRENT in force while another credential is due to end or ending."""

CLOSED: Final = frozenset({Stage.RETIRED, Stage.ABANDONED, Stage.CUT})
"""Stages of a finished rotation."""

TRANSITIONS: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.MINTING: frozenset({Stage.PENDING, Stage.LOST, Stage.ABANDONED, Stage.CUT}),
    Stage.LOST: frozenset({Stage.PENDING, Stage.ABANDONED, Stage.CUT}),
    Stage.PENDING: frozenset({Stage.PROMOTED, Stage.ABANDONING, Stage.CUT}),
    Stage.ABANDONING: frozenset({Stage.ABANDONED, Stage.CUT}),
    Stage.PROMOTED: frozenset({Stage.RETIRING, Stage.RETIRED, Stage.REVERTING, Stage.CUT}),
    Stage.REVERTING: frozenset({Stage.REVERTED, Stage.CUT}),
    Stage.REVERTED: frozenset({Stage.RETIRING, Stage.RETIRED, Stage.CUT}),
    Stage.RETIRING: frozenset({Stage.RETIRED, Stage.CUT}),
    Stage.CUTTING: frozenset({Stage.CUT}),
    Stage.RETIRED: frozenset(),
    Stage.ABANDONED: frozenset(),
    Stage.CUT: frozenset(),
}

HISTORY_KEPT: Final = 20
"""Closed rotations kept in the record, which is rewritten several times per rotation."""

FORMAT: Final = 2
"""Highest record ``format`` that this release reads.

It increases only if an older release would do harm. Unknown fields are kept.
"""
INLINE: Final = 1
"""The format with inline values; assumed without a format."""

INCIDENT_NOTE: Final = "incident "
"""Prefix of the incident id in the note of a rotation that an incident ended."""

CUTS_KEPT: Final = 5
"""Older rotations ended by a revocation that are kept as evidence."""


@dataclass(frozen=True)
class Rotation:
    """One rotation attempt, without values.

    ``ends`` names the credential that retirement ends, ``before`` what a mint found at the target. ``target`` is the
    catalogue's at the start. ``urgent``: the old credential may be exposed. ``refused``: the target refused the
    candidate. ``certain``: it would refuse any other. ``canary_passed``: the first wave of consumers is healthy.
    ``in_force_at`` is the promotion or revert, by the hub's clock. ``grace_from``, the start of the grace period, is
    when the last copy was seen in sync after that. ``unknown`` holds a newer release's fields.
    """

    token: str
    sequence: int
    stage: Stage
    strategy: str
    reason: str
    holder: str
    opened_at: datetime
    base_version: int
    ends: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: int | None = None
    fingerprint: str = ""
    promoted_at: datetime | None = None
    closed_at: datetime | None = None
    acknowledged: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    note: str = ""
    target: str = ""
    urgent: bool = False
    refused: bool = False
    certain: bool = False
    canary_passed: bool = False
    in_force_at: datetime | None = None
    grace_from: datetime | None = None
    catalogue: str = ""
    """The catalogue that declared the secret; empty in older records."""
    changes_account: bool = False
    """A person allowed the move from an account that the catalogue no longer names."""
    taken_back_by_hand: bool = False
    """A person reverted it, so that is not a fault to fix."""
    reverted_version: int | None = None
    """The version that a reverted rotation had put in force; ``version`` is the one put back."""
    stores: Mapping[str, str] = field(default_factory=dict)
    """Declared stores with copies, each with the identity of its system."""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def next_step(self) -> str:
        """What an open rotation waits for: the next run, or a person who makes a credential."""
        return self.note if self.stage is Stage.LOST else "the next run continues"

    def to(self, stage: Stage, **changes: Any) -> "Rotation":
        """The rotation at the next stage. Raises Invalid for a forbidden transition."""
        if stage not in TRANSITIONS[self.stage]:
            raise Invalid("move", f"rotation {self.token}", f"{self.stage} can't become {stage}")
        return replace(self, stage=stage, **changes)

    def to_data(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return dict(self.unknown) | {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in ((n, getattr(self, n)) for n in ROTATION_TYPES)
            if value not in (None, (), {}) and value is not False
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Rotation":
        """The reverse of :meth:`to_data`. Raises ValueError, TypeError, KeyError."""
        recorded = {name: READERS[name](value) for name, value in data.items() if name in READERS}
        return Rotation(**recorded, unknown={name: data[name] for name in data.keys() - READERS.keys()})


ROTATION_TYPES: Final[Mapping[str, Any]] = {one.name: one.type for one in fields(Rotation) if one.name != "unknown"}
"""The recorded fields of a rotation and their types."""


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a moment without its time zone")
    return insist_on_usable(moment)


def _reader(kind: Any) -> Callable[[Any], Any]:
    """The JSON reader for this type, which raises ValueError, TypeError."""
    if kind in (datetime, datetime | None):
        return _moment
    if kind == tuple[str, ...]:
        return lambda value: tuple(_insist(str, item) for item in _insist(list, value))
    if kind == Mapping[str, str]:
        return lambda value: {name: _insist(str, item) for name, item in _insist(dict, value).items()}
    return Stage if kind is Stage else partial(_insist, int if kind == int | None else kind)


def _insist(kind: type, value: Any) -> Any:
    """The value, if of exactly this type. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


READERS: Final[Mapping[str, Callable[[Any], Any]]] = {name: _reader(kind) for name, kind in ROTATION_TYPES.items()}
"""Computed once: a record holds twenty rotations of twenty fields each."""


@dataclass(frozen=True)
class Record:
    """A secret's rotation record. ``version`` and ``age`` (seconds) are the hub entry's.

    ``candidate`` exists only while PENDING, ABANDONING or CUTTING. ``frozen`` is the incident that blocks scheduled
    rotations until a new credential is in force. ``rest`` are the other fields of a secret whose versions it destroyed,
    for the next candidate. ``unknown`` holds a newer release's fields. ``stored`` and ``format`` are the value paths
    and the format as read.
    """

    rotation: Rotation | None = None
    candidate: SecretFields | None = None
    history: tuple[Rotation, ...] = ()
    version: int = 0
    age: float = 0.0
    frozen: str = ""
    rest: SecretFields | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    read: tuple[tuple[Rotation, ...], str] | None = field(default=None, repr=False, compare=False)
    """The history and its stored text, reused while unchanged."""
    stored: frozenset[str] = field(default=frozenset(), compare=False)
    format: int = field(default=FORMAT, compare=False)

    @property
    def open(self) -> Rotation | None:
        """The rotation that a worker holds."""
        return self.rotation if self.rotation and self.rotation.stage in OPEN else None

    @property
    def retiring(self) -> Rotation | None:
        """The promoted rotation whose old credential works, or the reverted one whose new one does."""
        return self.rotation if self.rotation and self.rotation.stage in IN_FORCE else None

    @property
    def refusals(self) -> int:
        """Number of latest candidates in a row that the target refused."""
        if self.retiring:
            return 0
        return len(list(takewhile(lambda past: past.refused, reversed(self.history))))

    def next_sequence(self, stands: int = 0) -> int:
        """The next sequence at the target, greater than ``stands`` (last written there) and all recorded.

        A Lamport clock: it continues from the highest, so it recovers from a lost or restored record.
        """
        rotations = (*self.history, *([self.rotation] if self.rotation else []))
        return max(self.version, stands, *(past.sequence for past in rotations)) + 1

    @property
    def refused_for_certain(self) -> Rotation | None:
        """The last rotation, if the target would refuse every other candidate too."""
        return self.history[-1] if self.refusals and self.history[-1].certain else None

    def dead(self, version: int) -> bool:
        """Whether a revocation ended the hub's ``version``, which must never be in force again.

        While ``frozen``, all are: a later one may hold the same credential.
        """
        return bool(self.frozen) or any(last >= version for last in self._ended)

    def written_since(self, version: int) -> bool:
        """Whether the hub's ``version`` is newer than the incident and not Keyturn's.

        It is pushed, and otherwise ignored while ``frozen``.
        """
        return bool(self.frozen) and self.rotation is None and version > max(self._ended, default=version)

    @property
    def _ended(self) -> list[int]:
        """The highest version that each revocation ended."""
        return [past.base_version for past in self.history if past.stage is Stage.CUT]

    def tells_of(self, incident: str) -> bool:
        """Whether an incident processed this secret, as far as the record remembers."""
        notes = (past.note for past in (*self.history, *([self.rotation] if self.rotation else [])))
        return self.frozen == incident or f"{INCIDENT_NOTE}{incident}" in notes

    def having(self, rotation: Rotation, candidate: SecretFields | None = None) -> "Record":
        """Return this record with ``rotation``; a closed one moves to the history."""
        if rotation.stage in CLOSED:
            return replace(self, rotation=None, candidate=None, history=kept(*self.history, rotation))
        if rotation.stage is Stage.PROMOTED:
            return replace(self, rotation=rotation, candidate=candidate, frozen="", rest=None)
        return replace(self, rotation=rotation, candidate=candidate)

    def seized(self, cutting: Rotation, incident: str) -> "Record":
        """This record held by a revocation; the previous rotation is closed, its candidate kept to be ended."""
        over = self.rotation and self.rotation.to(Stage.CUT, closed_at=cutting.opened_at, note=cutting.note)
        history = kept(*self.history, over) if over else self.history
        return replace(self, rotation=cutting, history=history, frozen=incident)

    @property
    def outdated(self) -> bool:
        """Whether the hub stores it in the format that may contain values."""
        return bool(self.version) and self.format == INLINE

    @property
    def exposed(self) -> bool:
        """Whether the stored entry contains values, which an auditor can read."""
        return self.outdated and (self.candidate is not None or self.rest is not None)

    @property
    def emptied(self) -> "Record":
        """The record to write in place of an abandoned one."""
        return Record(version=self.version, stored=self.stored)

    def to_data(self) -> dict[str, Any]:
        """The stored form, naming the value entries. Raises TypeError for values not yet stored.

        The history is one string, since OpenBao accepts at most 1,000 strings per request.
        """
        return dict(self.unknown) | {
            "format": FORMAT,
            "rotation": self.rotation.to_data() if self.rotation else None,
            "candidate": _key(self.candidate),
            "history": self._history(),
            "frozen": self.frozen,
            "rest": _key(self.rest),
        }

    def _history(self) -> str:
        if self.read and self.read[0] is self.history:
            return self.read[1]
        return json.dumps([past.to_data() for past in self.history])

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int, age: float, stored: Callable[[str], StoredFields]) -> "Record":
        """The reverse of :meth:`to_data`. ``stored`` finds values by key.

        Raises Newer for a newer format, and ValueError, TypeError, KeyError.
        """
        if (form := _insist(int, data.get("format", INLINE))) > FORMAT:
            raise Newer(form)
        text = _insist(str, data.get("history", "[]"))
        history = tuple(Rotation.from_data(_insist(dict, past)) for past in _insist(list, json.loads(text)))
        candidate, rest = (_values(data.get(name), form, stored) for name in ("candidate", "rest"))
        return Record(
            Rotation.from_data(_insist(dict, data["rotation"])) if data.get("rotation") else None,
            candidate,
            history,
            version,
            age,
            _insist(str, data.get("frozen", "")),
            rest,
            {name: value for name, value in data.items() if name not in RECORD_FIELDS},
            (history, text),
            frozenset(values.place for values in (candidate, rest) if isinstance(values, StoredFields)),
            form,
        )


RECORD_FIELDS: Final = frozenset({"format", "rotation", "candidate", "history", "frozen", "rest"})
"""The fields of a stored record."""


def _values(data: Any, form: int, stored: Callable[[str], StoredFields]) -> SecretFields | None:
    """Values by key, or inline in format 1. Raises ValueError, TypeError."""
    if not data:
        return None
    return SecretFields(_insist(dict, data)) if form == INLINE else stored(str(UUID(_insist(str, data))))


def _key(values: SecretFields | None) -> str | None:
    """The key of stored values: the last part of their path."""
    if values is None:
        return None
    if not isinstance(values, StoredFields):
        raise TypeError("values of a record have to be stored before it")
    return values.place.rpartition("/")[2]


class Newer(Exception):
    """A record of a ``format`` that this release does not know."""

    def __init__(self, form: int) -> None:
        super().__init__(form)
        self.format = form


def kept(*history: Rotation) -> tuple[Rotation, ...]:
    """The newest rotations, and the last older ones ended by a revocation."""
    older, newest = history[:-HISTORY_KEPT], history[-HISTORY_KEPT:]
    return (*[past for past in older if past.stage is Stage.CUT][-CUTS_KEPT:], *newest)
