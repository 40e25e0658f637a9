"""The note of a ledger entry about an alert, from which collectors are informed.

One compact JSON object with its keys in this order, without values of secrets or their hashes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.ports.ledger import Entry
from keyturn.core.text.plain_text import visible

ALERT: Final = "alert"
"""The action of such an entry."""

ROOM: Final = 1_000
"""Maximum characters of a note: :data:`keyturn.ledger.entries.TEXT_LIMIT`."""

LONGEST: Final = 120
"""Maximum characters of one text in it."""

LEAST: Final = 8

SCALE: Final = 1000
"""Scores are in thousandths."""


@dataclass(frozen=True)
class AlertNote:
    """An alert, without values. ``score`` is in thousandths, ``why`` describes the main of ``factors``.

    ``principal`` is empty if there are several; ``principals`` is their minimum number. ``source`` is the first
    address.
    """

    id: str
    stage: str
    level: str
    score: int
    system: str
    principal: str
    principals: int
    source: str
    first: datetime
    last: datetime
    count: int
    factors: tuple[str, ...]
    why: str = ""

    def to_text(self) -> str:
        """The note, truncating long texts."""
        for longest in range(LONGEST, LEAST, -LEAST):
            if len(text := self._spelled(longest)) <= ROOM:
                return text
        return replace(self, factors=self.factors[:1])._spelled(LEAST)

    def _spelled(self, longest: int) -> str:
        data = {
            "id": self.id,
            "stage": self.stage,
            "level": self.level,
            "score": self.score,
            "system": cut(self.system, longest),
            "principal": cut(self.principal, longest),
            "principals": self.principals,
            "source": cut(self.source, longest),
            "first": self.first.astimezone(UTC).isoformat(),
            "last": self.last.astimezone(UTC).isoformat(),
            "count": self.count,
            "factors": list(self.factors),
            "why": cut(self.why, longest),
        }
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> "AlertNote":
        """The reverse of :meth:`to_text`. Raises ValueError, which quotes nothing, for malformed text."""
        try:
            return _parse(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise ValueError("the note names no alert") from None


def alert_of(entry: Entry) -> AlertNote | None:
    """The alert in a ledger entry, or None."""
    if entry.action != ALERT:
        return None
    try:
        return AlertNote.from_text(entry.note)
    except ValueError:
        return None


def cut(text: str, longest: int) -> str:
    """The text on one line, truncated."""
    spelled = visible(text)
    return spelled if len(spelled) <= longest else f"{spelled[: longest - 1]}…"


def _parse(data: Mapping[str, Any]) -> AlertNote:
    first, last = (datetime.fromisoformat(data[name]).astimezone(UTC) for name in ("first", "last"))
    read: dict[str, Any] = {name: str(data[name]) for name in ("id", "stage", "level", "system", "principal", "source")}
    read |= {name: int(data[name]) for name in ("score", "principals", "count")}
    return AlertNote(**read, first=first, last=last, factors=tuple(map(str, data["factors"])), why=str(data["why"]))
