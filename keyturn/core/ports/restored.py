"""The mark of a hub that was restored: from which backup, to which point, and what is still to be done.

While it is open, which is until `keyturn recover` has gone through, nobody can tell what was revoked after that point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from keyturn.core.errors import Conflict, Invalid, KeyturnError
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.hub import PROVEN, RESTORED_AT, State

RESTORING: Final = "restoring"
WHOLE: Final = "restored"
SNAPSHOT: Final = "snapshot"
"""What stands for the chain where the hub came back from a snapshot of its own: a person has said so."""


@dataclass(frozen=True)
class RestoredMark:
    """What the mark says. ``point`` is the recovery point: what was done in the lost hub after that is not in this one.

    While ``whole`` is False somebody is restoring it, or has not come to the end. ``recovered`` is when `keyturn
    recover` has gone through since; None where it has not. ``follows`` is when the restore before this one was whole,
    where this one goes on from it: what was not written since is of that one.
    """

    chain: str
    sequence: int
    point: datetime
    at: datetime
    whole: bool
    recovered: datetime | None = None
    follows: datetime | None = None

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        moments = {"point": self.point.isoformat(), "at": self.at.isoformat()}
        later = {"recovered": self.recovered, "follows": self.follows}
        more = {name: moment.isoformat() for name, moment in later.items() if moment}
        phase = WHOLE if self.whole else RESTORING
        return {"phase": phase, "chain": self.chain, "sequence": self.sequence, **moments, **more}

    @staticmethod
    def parse(data: Mapping[str, Any]) -> "RestoredMark":
        """The other way. Raises Invalid for what somebody has edited."""
        try:
            point, at = (datetime.fromisoformat(data[name]) for name in ("point", "at"))
            later = (datetime.fromisoformat(data[name]) if name in data else None for name in ("recovered", "follows"))
            whole = data["phase"] == WHOLE
            return RestoredMark(str(data["chain"]), int(data["sequence"]), point, at, whole, *later)
        except (LookupError, TypeError, ValueError):
            problem = "the mark of the hub's restoring is none: somebody has edited it"
            raise Invalid("read", RESTORED, problem, "Restore the hub anew") from None

    @property
    def backup(self) -> str:
        """The backup as `keyturn restore` is given it."""
        return f"{self.chain}/{self.sequence}"

    @property
    def source(self) -> str:
        """From what the hub came back, for people."""
        return "a snapshot of its own" if self.chain == SNAPSHOT else f"backup {self.backup}"

    @property
    def open(self) -> bool:
        """Whether what was done after the point has not been looked for yet."""
        return not self.whole or self.recovered is None

    @property
    def happened(self) -> str:
        """What has happened to the hub and is not settled yet, in words; empty where nothing is left."""
        if not self.whole:
            return f"THE HUB IS BEING RESTORED from {self.source} since {_minute(self.at)}, and is not whole"
        if self.recovered is None:
            return (
                f"THE HUB WAS RESTORED at {_minute(self.at)} from {self.source}, and what was done after"
                f" {_minute(self.point)} is not in it"
            )
        return ""

    @property
    def to_do(self) -> str:
        """What a person has to do still, in words; empty where nothing is left."""
        if not self.open:
            return ""
        first = "Run `keyturn recover` before anything else"
        again = "Run `keyturn restore` again: it goes on where it was cut off"
        return f"{self.happened}. {first if self.whole else again}"

    def doubts(self, custom: Mapping[str, str], version: int, made_at: datetime | None) -> bool:
        """Whether a secret's ``version`` is one that came with the restore, and nothing has shown since that it counts.

        ``custom`` is the secret's metadata, ``made_at`` when the hub had made the version, None where nobody knows.
        """
        if not self.open or custom.get(PROVEN) == self.proof(version):
            return False
        came_back = custom.get(RESTORED_AT, "").startswith(f"{version} ")
        return came_back or made_at is None or made_at <= self.at or not self.whole

    def proof(self, version: int) -> str:
        """What the secret's metadata says of a version once it was shown, or a person has said, that it counts."""
        return f"{version} {self.at.isoformat()}"

    @property
    def words(self) -> str:
        """How it is, in words."""
        past = f"restored at {_minute(self.at)} from {self.source}, as of {_minute(self.point)}"
        return self.to_do or f"{past}; `keyturn recover` went through at {_minute(self.recovered or self.at)}"


class MarkedHub(Protocol):
    """What the mark is read from, and written to."""

    def read_state(self, path: str) -> State | None:
        """An entry of Keyturn's own mount; None where there is none."""

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write such an entry where it is of the version ``cas`` still."""


@dataclass(frozen=True)
class Restoration:
    """Whether a hub was restored, as far as anybody could look: its mark, None where it has none; or the ``error``."""

    mark: RestoredMark | None = None
    error: KeyturnError | None = None

    @property
    def to_do(self) -> str:
        """What a person should know, in words; empty where nothing is left to be done."""
        if self.error:
            return f"could not look whether the hub was restored from a backup: {self.error.text}"
        return self.mark.to_do if self.mark else ""

    @property
    def happened(self) -> str:
        """The same without the remedy, for whoever is at it."""
        return self.mark.happened if self.mark and self.mark.whole else self.to_do

    def to_data(self) -> dict[str, Any] | None:
        """For scripts; None where the hub has no mark."""
        if self.error:
            return {"error": self.error.text}
        return {**self.mark.to_data(), "to_do": self.mark.to_do, "error": ""} if self.mark else None


def read_mark(hub: MarkedHub) -> RestoredMark | None:
    """The hub's mark; None for one without, as where it came back from a snapshot of its own. Raises Invalid."""
    state = hub.read_state(RESTORED)
    return RestoredMark.parse(state.data) if state else None


def look_at_restoration(hub: MarkedHub) -> Restoration:
    """The same for whoever tells of it: what keeps anybody from looking is told, and not raised."""
    try:
        return Restoration(read_mark(hub))
    except KeyturnError as error:
        return Restoration(error=error)


def mark_snapshot(hub: MarkedHub, point: datetime, now: datetime) -> RestoredMark:
    """Mark a hub that came back from a snapshot of its own, made at ``point``: nothing in it can tell.

    Raises Conflict for one that a restore is under way in, or that somebody else writes to at the same moment, and
    what reading and writing raise.
    """
    state = hub.read_state(RESTORED)
    if state and not RestoredMark.parse(state.data).whole:
        problem, hint = "`keyturn restore` is under way in it", "Let that come to its end: it marks the hub itself"
        raise Conflict("mark", "the hub", problem, hint)
    mark = RestoredMark(SNAPSHOT, 0, point, now, whole=True)
    hub.write_state(RESTORED, mark.to_data(), cas=state.version if state else 0)
    return mark


def mark_recovered(hub: MarkedHub, mark: RestoredMark, now: datetime) -> None:
    """Say in the hub that what it had lost was brought back, unless it was restored anew since ``mark`` was read.

    Raises what reading and writing raise, and Conflict where somebody else writes at the same moment.
    """
    state = hub.read_state(RESTORED)
    if state and RestoredMark.parse(state.data) == mark:
        hub.write_state(RESTORED, replace(mark, recovered=now).to_data(), cas=state.version)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
