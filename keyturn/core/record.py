"""The record of one secret's rotation: what is open, what waits for retirement, and what has been.

It is one entry of the hub's state, written by compare-and-set, and therefore also the lock: of two
workers that read version n only one can write n+1. It holds no value: candidates are in separate entries, which
the record names (`keyturn.rotation.candidates`). A rotation's number is a Lamport clock, so that order
never depends on a clock of the wall: see :meth:`Record.next_sequence`.
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
    """Where a rotation stands."""

    MINTING = "minting"
    PENDING = "pending"
    ABANDONING = "abandoning"
    PROMOTED = "promoted"
    REVERTING = "reverting"
    REVERTED = "reverted"
    CUTTING = "cutting"
    """A revocation holds the secret: every credential of it is being ended."""
    RETIRING = "retiring"
    """The old credential is being ended: nothing puts it in force again."""
    RETIRED = "retired"
    ABANDONED = "abandoned"
    CUT = "cut"
    """A revocation has ended whatever it had put, or would have put, in force."""


OPEN: Final = frozenset({Stage.MINTING, Stage.PENDING, Stage.ABANDONING, Stage.REVERTING, Stage.CUTTING})
"""The stages in which somebody holds the rotation."""

IN_FORCE: Final = frozenset({Stage.PROMOTED, Stage.REVERTED, Stage.RETIRING})
"""The stages in which CURRENT stands, and a credential beside it waits for its end, or is being ended."""

CLOSED: Final = frozenset({Stage.RETIRED, Stage.ABANDONED, Stage.CUT})
"""The stages in which a rotation is over."""

TRANSITIONS: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.MINTING: frozenset({Stage.PENDING, Stage.ABANDONED, Stage.CUT}),
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
"""Closed rotations kept in the record, which is written several times in each rotation."""

FORMAT: Final = 2
"""What a record's ``format`` may be at most. It grows only where an older Keyturn would do harm with a newer record; a
field that it merely does not know it keeps."""
INLINE: Final = 1
"""The format that kept values in the record itself; also of a record that states no format."""

INCIDENT_NOTE: Final = "incident "
"""What a record says of a rotation that an incident has ended, before the incident's id."""

CUTS_KEPT: Final = 5
"""So many of those before that a revocation has ended: what it has ended is told by them."""


@dataclass(frozen=True)
class Rotation:
    """One attempt, in names only.

    ``ends`` names the credential that dies at retirement, ``before`` what a mint found at the target.
    ``target`` is the system that the rotation works at, as the catalogue told it at the beginning. ``urgent``
    says that the old credential may be known to others, ``refused`` that the target refused the candidate, ``certain``
    that it would refuse every other one alike, ``canary_passed`` that the first wave of consumers is well.
    ``in_force_at`` is when it was promoted, or taken back, by the hub's clock, and ``grace_from`` when the last copy
    was seen in step after that, from which its grace counts; None until then. ``unknown`` are the fields of a newer
    Keyturn's.
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
    """The catalogue that declared the secret; empty in a record of an older release."""
    changes_account: bool = False
    """A person let it move to an account that the catalogue names, away from one that it names no more."""
    taken_back_by_hand: bool = False
    """A person has put the value before it in force again: nothing is to be mended for that."""
    reverted_version: int | None = None
    """The version that it had put in force, where it was taken back: ``version`` is that of the value put back."""
    stores: Mapping[str, str] = field(default_factory=dict)
    """The stores that the catalogue declared copies in, each with what tells its system from every other."""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to(self, stage: Stage, **changes: Any) -> "Rotation":
        """This rotation one stage on. Raises Invalid for a step that the table does not allow."""
        if stage not in TRANSITIONS[self.stage]:
            raise Invalid("move", f"rotation {self.token}", f"{self.stage} can't become {stage}")
        return replace(self, stage=stage, **changes)

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return dict(self.unknown) | {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in ((n, getattr(self, n)) for n in ROTATION_TYPES)
            if value not in (None, (), {}) and value is not False
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Rotation":
        """The reverse of :meth:`to_data`. Raises ValueError, TypeError, KeyError for what is no rotation."""
        recorded = {name: READERS[name](value) for name, value in data.items() if name in READERS}
        return Rotation(**recorded, unknown={name: data[name] for name in data.keys() - READERS.keys()})


ROTATION_TYPES: Final[Mapping[str, Any]] = {one.name: one.type for one in fields(Rotation) if one.name != "unknown"}
"""The fields of a rotation as its record keeps them, and what each holds."""


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a moment without its time zone")
    return insist_on_usable(moment)


def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a field of this type is read out of JSON. What it reads with raises ValueError, TypeError."""
    if kind in (datetime, datetime | None):
        return _moment
    if kind == tuple[str, ...]:
        return lambda value: tuple(_insist(str, item) for item in _insist(list, value))
    if kind == Mapping[str, str]:
        return lambda value: {name: _insist(str, item) for name, item in _insist(dict, value).items()}
    return Stage if kind is Stage else partial(_insist, int if kind == int | None else kind)


def _insist(kind: type, value: Any) -> Any:
    """The value, which is of this type. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


READERS: Final[Mapping[str, Callable[[Any], Any]]] = {name: _reader(kind) for name, kind in ROTATION_TYPES.items()}
"""Chosen once: a record has twenty rotations, of twenty fields each."""


@dataclass(frozen=True)
class Record:
    """A secret's whole rotation record. ``version`` and ``age`` (seconds) are those of the hub's entry.

    ``candidate`` is kept only while the rotation is PENDING, ABANDONING or CUTTING. ``frozen`` names the incident that
    keeps schedules from replacing the secret, until a new credential is in force. ``rest`` are the fields beside the
    credential of a secret whose every version that incident has destroyed: the next candidate is laid over them.
    ``unknown`` are the fields of a newer Keyturn's record. ``stored`` are the places of the values that it named when
    it was read, and ``format`` is the format that it had then.
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
    """A history, and the text that the hub keeps of it, which is written again as long as that history stands."""
    stored: frozenset[str] = field(default=frozenset(), compare=False)
    format: int = field(default=FORMAT, compare=False)

    @property
    def open(self) -> Rotation | None:
        """The rotation that somebody holds."""
        return self.rotation if self.rotation and self.rotation.stage in OPEN else None

    @property
    def retiring(self) -> Rotation | None:
        """The promoted rotation whose old credential still lives; one taken back, whose new one does."""
        return self.rotation if self.rotation and self.rotation.stage in IN_FORCE else None

    @property
    def refusals(self) -> int:
        """How many candidates in a row, up to the last one, the target has refused."""
        if self.retiring:
            return 0
        return len(list(takewhile(lambda past: past.refused, reversed(self.history))))

    def next_sequence(self, stands: int = 0) -> int:
        """The number of what is done next at the target, where ``stands`` was written last: greater than all before.

        A Lamport clock: it goes on from whichever is ahead, so a record that was lost or restored heals by itself.
        """
        rotations = (*self.history, *([self.rotation] if self.rotation else []))
        return max(self.version, stands, *(past.sequence for past in rotations)) + 1

    @property
    def refused_for_certain(self) -> Rotation | None:
        """The last rotation, where the target would refuse every other candidate as it refused that one's."""
        return self.history[-1] if self.refusals and self.history[-1].certain else None

    def dead(self, version: int) -> bool:
        """Whether a revocation has ended what the hub's ``version`` holds: nothing may put it in force again.

        While it is ``frozen`` every version is: one that came since may hold the same credential again.
        """
        return bool(self.frozen) or any(last >= version for last in self._ended)

    def written_since(self, version: int) -> bool:
        """Whether the hub's ``version`` came after an incident that nothing of Keyturn's has followed yet.

        Somebody else has written it: it is pushed, and nothing else is done about it while this is ``frozen``.
        """
        return bool(self.frozen) and self.rotation is None and version > max(self._ended, default=version)

    @property
    def _ended(self) -> list[int]:
        """Up to which versions of the hub's revocations have ended what was there."""
        return [past.base_version for past in self.history if past.stage is Stage.CUT]

    def tells_of(self, incident: str) -> bool:
        """Whether an incident has had this secret in its hands, as far as the record remembers."""
        notes = (past.note for past in (*self.history, *([self.rotation] if self.rotation else [])))
        return self.frozen == incident or f"{INCIDENT_NOTE}{incident}" in notes

    def having(self, rotation: Rotation, candidate: SecretFields | None = None) -> "Record":
        """This record with ``rotation`` in place; one that is closed moves into the history."""
        if rotation.stage in CLOSED:
            return replace(self, rotation=None, candidate=None, history=kept(*self.history, rotation))
        if rotation.stage is Stage.PROMOTED:
            return replace(self, rotation=rotation, candidate=candidate, frozen="", rest=None)
        return replace(self, rotation=rotation, candidate=candidate)

    def seized(self, cutting: Rotation, incident: str) -> "Record":
        """This record in the hands of a revocation; what stood in it is over, and its candidate stays to be ended."""
        over = self.rotation and self.rotation.to(Stage.CUT, closed_at=cutting.opened_at, note=cutting.note)
        history = kept(*self.history, over) if over else self.history
        return replace(self, rotation=cutting, history=history, frozen=incident)

    @property
    def outdated(self) -> bool:
        """Whether the hub keeps it in the format that may hold values."""
        return bool(self.version) and self.format == INLINE

    @property
    def exposed(self) -> bool:
        """Whether that entry holds values, which an auditor can read."""
        return self.outdated and (self.candidate is not None or self.rest is not None)

    @property
    def emptied(self) -> "Record":
        """What is written over this record where it is given up."""
        return Record(version=self.version, stored=self.stored)

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it: it names the entries that hold values. Raises TypeError for values that have none.

        The history is one text, since OpenBao takes at most 1,000 strings in a request.
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
        """The reverse of :meth:`to_data`; one without a format is older. ``stored`` finds values by their key.

        Raises Newer for a newer format, ValueError, TypeError, KeyError for what is no record.
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
"""The fields of a record as the hub keeps it."""


def _values(data: Any, form: int, stored: Callable[[str], StoredFields]) -> SecretFields | None:
    """Values by their key, or as format 1 kept them. Raises ValueError, TypeError."""
    if not data:
        return None
    return SecretFields(_insist(dict, data)) if form == INLINE else stored(str(UUID(_insist(str, data))))


def _key(values: SecretFields | None) -> str | None:
    """How a record names values: by the last part of their place."""
    if values is None:
        return None
    if not isinstance(values, StoredFields):
        raise TypeError("values of a record have to be stored before it")
    return values.place.rpartition("/")[2]


class Newer(Exception):
    """A record of a ``format`` that this Keyturn does not know."""

    def __init__(self, form: int) -> None:
        super().__init__(form)
        self.format = form


def kept(*history: Rotation) -> tuple[Rotation, ...]:
    """What the record keeps of a history: the newest, and the last of those before that a revocation has ended."""
    older, newest = history[:-HISTORY_KEPT], history[-HISTORY_KEPT:]
    return (*[past for past in older if past.stage is Stage.CUT][-CUTS_KEPT:], *newest)
