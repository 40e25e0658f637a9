"""The mark of a hub that was restored: from which backup, to which point, and whether all of it is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from keyturn.core.errors import Invalid

RESTORED: Final = "restored"
"""Where it stands in Keyturn's own mount."""
RESTORING: Final = "restoring"
WHOLE: Final = "restored"


@dataclass(frozen=True)
class RestoredMark:
    """What the mark says. ``point`` is the recovery point: what was done in the lost hub after that is not in this one.

    While ``whole`` is False somebody is restoring it, or has not come to the end.
    """

    chain: str
    sequence: int
    point: datetime
    at: datetime
    whole: bool

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        moments = {"point": self.point.isoformat(), "at": self.at.isoformat()}
        return {"phase": WHOLE if self.whole else RESTORING, "chain": self.chain, "sequence": self.sequence, **moments}

    @staticmethod
    def parse(data: Mapping[str, Any]) -> "RestoredMark":
        """The other way. Raises Invalid for what somebody has edited."""
        try:
            point, at = (datetime.fromisoformat(data[name]) for name in ("point", "at"))
            return RestoredMark(str(data["chain"]), int(data["sequence"]), point, at, data["phase"] == WHOLE)
        except (LookupError, TypeError, ValueError):
            problem = "the mark of the hub's restoring is none: somebody has edited it"
            raise Invalid("read", RESTORED, problem, "Restore the hub anew") from None


class MarkedHub(Protocol):
    """What the mark is read from."""

    def read_state(self, path: str) -> Any:
        """An entry of Keyturn's own mount; None where there is none."""


def read_mark(hub: MarkedHub) -> RestoredMark | None:
    """The hub's mark; None for one that was never restored. Raises Invalid."""
    state = hub.read_state(RESTORED)
    return RestoredMark.parse(state.data) if state else None
