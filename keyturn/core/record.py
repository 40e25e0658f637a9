"""The record of one secret's rotation: what is open, what waits for retirement, and what has been.

It is one entry of the hub's state, written by compare-and-set, and therefore also the lock: of two
workers that read version n only one can write n+1. Its version at opening is the rotation's sequence
number, so that order never depends on a clock.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields


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
    RETIRED = "retired"
    ABANDONED = "abandoned"
    CUT = "cut"
    """A revocation has ended whatever it had put, or would have put, in force."""


OPEN: Final = frozenset({Stage.MINTING, Stage.PENDING, Stage.ABANDONING, Stage.REVERTING, Stage.CUTTING})
"""The stages in which somebody holds the rotation."""

IN_FORCE: Final = frozenset({Stage.PROMOTED, Stage.REVERTED})
"""The stages in which CURRENT stands, and a credential beside it waits for its end."""

CLOSED: Final = frozenset({Stage.RETIRED, Stage.ABANDONED, Stage.CUT})
"""The stages in which a rotation is over."""

TRANSITIONS: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.MINTING: frozenset({Stage.PENDING, Stage.CUT}),
    Stage.PENDING: frozenset({Stage.PROMOTED, Stage.ABANDONING, Stage.CUT}),
    Stage.ABANDONING: frozenset({Stage.ABANDONED, Stage.CUT}),
    Stage.PROMOTED: frozenset({Stage.RETIRED, Stage.REVERTING, Stage.CUT}),
    Stage.REVERTING: frozenset({Stage.REVERTED, Stage.CUT}),
    Stage.REVERTED: frozenset({Stage.RETIRED, Stage.CUT}),
    Stage.CUTTING: frozenset({Stage.CUT}),
    Stage.RETIRED: frozenset(),
    Stage.ABANDONED: frozenset(),
    Stage.CUT: frozenset(),
}

HISTORY_KEPT: Final = 20
"""Closed rotations kept in the record, which is written several times in each rotation."""

CUTS_KEPT: Final = 5
"""So many of those before that a revocation has ended: what it has ended is told by them."""


@dataclass(frozen=True)
class Rotation:
    """One attempt, in names only.

    ``ends`` names the credential that dies at retirement, ``before`` what a mint found at the target.
    ``target`` is the system that the rotation works at, as the catalogue told it at the beginning. ``urgent``
    says that the old credential may be known to others, ``refused`` that the target refused the candidate,
    ``canary_passed`` that the first wave of consumers is well.
    """

    token: str
    sequence: int
    stage: Stage
    strategy: str
    reason: str
    holder: str
    opened_at: datetime
    base_version: int
    ends: Mapping[str, str] = field(default_factory=dict)
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
    canary_passed: bool = False

    def to(self, stage: Stage, **changes: Any) -> "Rotation":
        """This rotation one stage on. Raises Invalid for a step that the table does not allow."""
        if stage not in TRANSITIONS[self.stage]:
            raise Invalid("move", f"rotation {self.token}", f"{self.stage} can't become {stage}")
        return replace(self, stage=stage, **changes)

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in ((n, getattr(self, n)) for n in self.__dataclass_fields__)
            if value not in (None, (), {}) and value is not False
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Rotation":
        """The reverse of :meth:`to_data`."""
        read = dict(data)
        for name in ("opened_at", "promoted_at", "closed_at"):
            if name in read:
                read[name] = datetime.fromisoformat(read[name])
        for name in ("acknowledged", "before"):
            read[name] = tuple(read.get(name, ()))
        return Rotation(**{**read, "stage": Stage(read["stage"])})


@dataclass(frozen=True)
class Record:
    """A secret's whole rotation record. ``version`` and ``age`` (seconds) are those of the hub's entry.

    ``candidate`` is kept only while the rotation is PENDING, ABANDONING or CUTTING. ``frozen`` names the incident that
    keeps schedules from replacing the secret, until a new credential is in force. ``rest`` are the fields beside the
    credential of a secret whose every version that incident has destroyed: the next candidate is laid over them.
    """

    rotation: Rotation | None = None
    candidate: SecretFields | None = None
    history: tuple[Rotation, ...] = ()
    version: int = 0
    age: float = 0.0
    frozen: str = ""
    rest: SecretFields | None = None

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

    def dead(self, version: int) -> bool:
        """Whether a revocation has ended what the hub's ``version`` holds: nothing may put it in force again.

        While it is ``frozen`` every version is: one that came since may hold the same credential again.
        """
        ended = (past.base_version for past in self.history if past.stage is Stage.CUT)
        return bool(self.frozen) or any(last >= version for last in ended)

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

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it, values in clear: it goes nowhere else.

        The history is one text, since OpenBao takes at most 1,000 strings in a request.
        """
        return {
            "rotation": self.rotation.to_data() if self.rotation else None,
            "candidate": self.candidate.reveal() if self.candidate else None,
            "history": json.dumps([past.to_data() for past in self.history]),
            "frozen": self.frozen,
            "rest": self.rest.reveal() if self.rest else None,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any], version: int, age: float) -> "Record":
        """The reverse of :meth:`to_data`."""
        return Record(
            Rotation.from_data(data["rotation"]) if data.get("rotation") else None,
            SecretFields(data["candidate"]) if data.get("candidate") else None,
            tuple(Rotation.from_data(past) for past in json.loads(data.get("history", "[]"))),
            version,
            age,
            data.get("frozen", ""),
            SecretFields(data["rest"]) if data.get("rest") else None,
        )


def kept(*history: Rotation) -> tuple[Rotation, ...]:
    """What the record keeps of a history: the newest, and the last of those before that a revocation has ended."""
    older, newest = history[:-HISTORY_KEPT], history[-HISTORY_KEPT:]
    return (*[past for past in older if past.stage is Stage.CUT][-CUTS_KEPT:], *newest)
