"""What the consumers of one secret have heard of: which version, who has acknowledged it, and who is still to be told.

A rotation keeps that in its own record. This is about every other version: one that a person, or another tool, wrote.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyturn.core.ports.hub import SecretInfo


@dataclass(frozen=True)
class Silence:
    """A consumer that was tried and has not acknowledged: since when (RFC 3339), the class of the error, its words."""

    since: str
    kind: str
    error: str


@dataclass(frozen=True)
class Heard:
    """One secret. ``version`` was made at ``made_at`` (RFC 3339): numbers are used again once a secret was removed.

    ``fingerprint`` is that of its value, empty where nobody has looked. ``rotated`` says that a rotation put that value
    in force, and tells of it itself. Otherwise ``waiting`` are those to be told of it still, and ``told`` those who
    have acknowledged it: nobody in either where it was there before anybody looked. ``canary_told_at`` is when the last
    of the first wave acknowledged, ``canary_well`` that it was well after the pause. ``holder`` tells them now, since
    ``held_at``, under the name ``claim``; all moments are the hub's.
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
        """Whether it is about the newest version: that number, made at that moment."""
        return info is not None and info.version == self.version and made_at(info) == self.made_at

    def after(self, answers: Mapping[str, Silence | None], now: str) -> "Heard":
        """The same once these were tried at ``now``: None for who acknowledged, else how it failed.

        A silence that goes on for the same reason keeps its beginning.
        """
        silent = {name: goes_on(self.waiting.get(name), silence, now) for name, silence in answers.items() if silence}
        acknowledged = sorted({*self.told, *(name for name, silence in answers.items() if silence is None)})
        waiting = {
            name: silent.get(name, silence) for name, silence in self.waiting.items() if name not in acknowledged
        }
        return replace(self, told=tuple(acknowledged), waiting=waiting)

    def owing(self, consumers: Iterable[str]) -> "Heard":
        """The same without those that the catalogue names no more, whom nobody will tell."""
        declared = set(consumers)
        return replace(self, waiting={name: silence for name, silence in self.waiting.items() if name in declared})

    def held(self, holder: str, claim: str, now: str) -> "Heard":
        """The same, in the hands of ``holder``."""
        return replace(self, holder=holder, claim=claim, held_at=now)

    def released(self) -> "Heard":
        """The same, held by nobody."""
        return replace(self, holder="", claim="", held_at="")

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it; what is empty is left out."""
        waiting = {name: vars(silence) if silence else None for name, silence in self.waiting.items()}
        plain = {**vars(self), "told": list(self.told), "waiting": waiting}
        return {name: value for name, value in plain.items() if value}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Heard":
        """From what the hub keeps. Raises TypeError, ValueError, AttributeError for what it can't be."""
        waiting = {name: Silence(**silence) if silence else None for name, silence in data.get("waiting", {}).items()}
        heard = Heard(**{**data, "told": tuple(data.get("told", ())), "waiting": waiting})
        for moment in (heard.made_at, heard.canary_told_at, heard.held_at):
            if moment:
                datetime.fromisoformat(moment)
        return replace(heard, version=int(heard.version))


def goes_on(before: Silence | None, now: Silence, at: str) -> Silence:
    """A silence, which began when one of the same class did."""
    return replace(now, since=before.since if before and before.kind == now.kind else at)


def made_at(info: SecretInfo) -> str:
    """When the hub made the newest version, RFC 3339; empty where there is none."""
    return info.newest.created_at.isoformat() if info.newest else ""
