"""Notification state of one secret: version, acknowledged and pending consumers.

Rotations keep this in their record. This covers versions written by a person or another tool.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyturn.core.ports.hub import SecretInfo


@dataclass(frozen=True)
class Silence:
    """A consumer that has not acknowledged: since when (RFC 3339), error class and text."""

    since: str
    kind: str
    error: str


@dataclass(frozen=True)
class Heard:
    """One secret's state. ``made_at`` (RFC 3339) identifies ``version``, since numbers repeat after a removal.

    ``fingerprint`` is empty if unchecked. ``rotated``: a rotation put it in force and notifies itself. Otherwise
    ``waiting`` are pending and ``told`` acknowledged; both are empty for a version older than the first check.
    ``canary_told_at`` is the first wave's last acknowledgement, ``canary_well`` its health after the pause. ``holder``
    notifies since ``held_at``, under ``claim``. Times are the hub's.
    """

    version: int = 0
    made_at: str = ""
    fingerprint: str = ""
    rotated: bool = False
    told: tuple[str, ...] = ()
    waiting: Mapping[str, Silence | None] = field(default_factory=dict)
    canary_told_at: str = ""
    canary_well: bool = False
    holder: str = ""
    held_at: str = ""
    claim: str = ""

    def of(self, info: SecretInfo | None) -> bool:
        """Whether it describes the newest version: same number and creation time."""
        return info is not None and info.version == self.version and made_at(info) == self.made_at

    def after(self, answers: Mapping[str, Silence | None], now: str) -> "Heard":
        """The state after attempts at ``now``: None for an acknowledgement, else the failure.

        A continuing failure keeps its start.
        """
        silent = {name: goes_on(self.waiting.get(name), silence, now) for name, silence in answers.items() if silence}
        acknowledged = sorted({*self.told, *(name for name, silence in answers.items() if silence is None)})
        waiting = {
            name: silent.get(name, silence) for name, silence in self.waiting.items() if name not in acknowledged
        }
        return replace(self, told=tuple(acknowledged), waiting=waiting)

    def owing(self, consumers: Iterable[str]) -> "Heard":
        """The state without consumers that left the catalogue."""
        declared = set(consumers)
        return replace(self, waiting={name: silence for name, silence in self.waiting.items() if name in declared})

    def held(self, holder: str, claim: str, now: str) -> "Heard":
        """The state held by ``holder``."""
        return replace(self, holder=holder, claim=claim, held_at=now)

    def released(self) -> "Heard":
        """The state without a holder."""
        return replace(self, holder="", claim="", held_at="")

    def to_data(self) -> dict[str, Any]:
        """The stored form, without empty fields."""
        waiting = {name: vars(silence) if silence else None for name, silence in self.waiting.items()}
        plain = {**vars(self), "told": list(self.told), "waiting": waiting}
        return {name: value for name, value in plain.items() if value}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Heard":
        """The reverse of :meth:`to_data`. Raises TypeError, ValueError, AttributeError for malformed data."""
        waiting = {name: Silence(**silence) if silence else None for name, silence in data.get("waiting", {}).items()}
        heard = Heard(**{**data, "told": tuple(data.get("told", ())), "waiting": waiting})
        for moment in (heard.made_at, heard.canary_told_at, heard.held_at):
            if moment:
                datetime.fromisoformat(moment)
        return replace(heard, version=int(heard.version))


def goes_on(before: Silence | None, now: Silence, at: str) -> Silence:
    """The failure, with the start of an earlier one of the same class."""
    return replace(now, since=before.since if before and before.kind == now.kind else at)


def made_at(info: SecretInfo) -> str:
    """The newest version's creation time, RFC 3339; empty if none."""
    return info.newest.created_at.isoformat() if info.newest else ""
