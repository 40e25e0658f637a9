"""The mark of a restored hub: backup, recovery point and remaining work.

Until `keyturn repair recover` has succeeded, revocations after that point are unknown.
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
"""Chain name for a hub restored from its own snapshot, as a person reported."""


@dataclass(frozen=True)
class RestoredMark:
    """The mark's content. ``point`` is the recovery point: the hub lacks everything later.

    Without ``whole`` a restore is running or incomplete. ``recovered`` is when `keyturn repair recover` succeeded.
    ``follows`` is when the previous restore was complete, if this one continues from it: what was not written since
    belongs to that one.
    """

    chain: str
    sequence: int
    point: datetime
    at: datetime
    whole: bool
    recovered: datetime | None = None
    follows: datetime | None = None

    def to_data(self) -> dict[str, Any]:
        """The stored form."""
        moments = {"point": self.point.isoformat(), "at": self.at.isoformat()}
        later = {"recovered": self.recovered, "follows": self.follows}
        more = {name: moment.isoformat() for name, moment in later.items() if moment}
        phase = WHOLE if self.whole else RESTORING
        return {"phase": phase, "chain": self.chain, "sequence": self.sequence, **moments, **more}

    @staticmethod
    def parse(data: Mapping[str, Any]) -> "RestoredMark":
        """The reverse of :meth:`to_data`. Raises Invalid for malformed data."""
        try:
            point, at = (datetime.fromisoformat(data[name]) for name in ("point", "at"))
            later = (datetime.fromisoformat(data[name]) if name in data else None for name in ("recovered", "follows"))
            whole = data["phase"] == WHOLE
            return RestoredMark(str(data["chain"]), int(data["sequence"]), point, at, whole, *later)
        except (LookupError, TypeError, ValueError):
            problem = "the mark of the hub's restore can't be read: it was edited by hand"
            raise Invalid("read", RESTORED, problem, "Restore the hub again") from None

    @property
    def backup(self) -> str:
        """The backup's name as `keyturn backup restore` takes it."""
        return f"{self.chain}/{self.sequence}"

    @property
    def source(self) -> str:
        """The source of the restore, for people."""
        return "its own snapshot" if self.chain == SNAPSHOT else f"backup {self.backup}"

    @property
    def open(self) -> bool:
        """Whether changes after the point have not been recovered yet."""
        return not self.whole or self.recovered is None

    @property
    def happened(self) -> str:
        """Unresolved events of the restore, for people; empty if none."""
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
        """What a person still has to do; empty if nothing."""
        if not self.open:
            return ""
        first = "Run `keyturn repair recover` before anything else"
        again = "Run `keyturn backup restore` again: it continues where it stopped"
        return f"{self.happened}. {first if self.whole else again}"

    def doubts(self, custom: Mapping[str, str], version: int, made_at: datetime | None) -> bool:
        """Whether ``version`` came with the restore and is not proven to count.

        ``custom`` is the secret's metadata; ``made_at`` is None if unknown.
        """
        if not self.open or custom.get(PROVEN) == self.proof(version):
            return False
        came_back = custom.get(RESTORED_AT, "").startswith(f"{version} ")
        return came_back or made_at is None or made_at <= self.at or not self.whole

    def proof(self, version: int) -> str:
        """The metadata text of a version proven or confirmed to count."""
        return f"{version} {self.at.isoformat()}"

    @property
    def words(self) -> str:
        """The state, for people."""
        past = f"restored at {_minute(self.at)} from {self.source}, as of {_minute(self.point)}"
        return self.to_do or f"{past}; `keyturn repair recover` went through at {_minute(self.recovered or self.at)}"


class MarkedHub(Protocol):
    """The hub calls that read and write the mark."""

    def read_state(self, path: str) -> State | None:
        """Return an entry of Keyturn's mount; None if absent."""

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write an entry if its version is still ``cas``."""


@dataclass(frozen=True)
class Restoration:
    """Whether a hub was restored: its mark, None without one; or the check's ``error``."""

    mark: RestoredMark | None = None
    error: KeyturnError | None = None

    @property
    def to_do(self) -> str:
        """What a person should know; empty if nothing is left to do."""
        if self.error:
            return f"could not look whether the hub was restored from a backup: {self.error.text}"
        return self.mark.to_do if self.mark else ""

    @property
    def happened(self) -> str:
        """The same without the remedy, for the person already working on it."""
        return self.mark.happened if self.mark and self.mark.whole else self.to_do

    def to_data(self) -> dict[str, Any] | None:
        """Return JSON-ready data; None without a mark."""
        if self.error:
            return {"error": self.error.text}
        return {**self.mark.to_data(), "to_do": self.mark.to_do, "error": ""} if self.mark else None


def read_mark(hub: MarkedHub) -> RestoredMark | None:
    """The hub's mark; None without one, as after a restore from its own snapshot. Raises Invalid."""
    state = hub.read_state(RESTORED)
    return RestoredMark.parse(state.data) if state else None


def look_at_restoration(hub: MarkedHub) -> Restoration:
    """The restoration state for reports; errors are returned, not raised."""
    try:
        return Restoration(read_mark(hub))
    except KeyturnError as error:
        return Restoration(error=error)


def mark_snapshot(hub: MarkedHub, point: datetime, now: datetime) -> RestoredMark:
    """Mark a hub restored from its own snapshot of time ``point``, which it can't detect itself.

    Raises Conflict during a restore or concurrent write, and read and write errors.
    """
    state = hub.read_state(RESTORED)
    if state and not RestoredMark.parse(state.data).whole:
        problem, hint = (
            "`keyturn backup restore` is under way in it",
            "Let that come to its end: it marks the hub itself",
        )
        raise Conflict("mark", "the hub", problem, hint)
    mark = RestoredMark(SNAPSHOT, 0, point, now, whole=True)
    hub.write_state(RESTORED, mark.to_data(), cas=state.version if state else 0)
    return mark


def mark_recovered(hub: MarkedHub, mark: RestoredMark, now: datetime) -> None:
    """Record a completed recovery, unless the hub was restored again since ``mark``.

    Raises read and write errors, and Conflict on a concurrent write.
    """
    state = hub.read_state(RESTORED)
    if state and RestoredMark.parse(state.data) == mark:
        hub.write_state(RESTORED, replace(mark, recovered=now).to_data(), cas=state.version)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
