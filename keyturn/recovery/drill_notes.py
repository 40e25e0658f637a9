"""The ledger's note about a restore drill, which the metrics parse."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.recovery.drilling import DrillReport

RESTORE_DRILL: Final = "restore drill"
"""The ledger's action of a drill."""
NOTE: Final = re.compile(
    r"(?P<backup>\S+): (?P<proven>proven|NOT proven), (?P<entries>\d+) entries, (?P<versions>\d+) versions compared,"
    r" recovery time (?P<seconds>\d+\.\d) s, recovery point (?P<point>\S+), (?P<age>\d+\.\d) s old"
)


@dataclass(frozen=True)
class DrillNote:
    """A drill: its backup, result, restore time and the recovery point's age."""

    backup: str
    proven: bool
    entries: int
    versions: int
    seconds: float
    point: datetime
    age: timedelta

    @property
    def words(self) -> str:
        """The text in the ledger."""
        state = "proven" if self.proven else "NOT proven"
        return (
            f"{self.backup}: {state}, {self.entries} entries, {self.versions} versions compared,"
            f" recovery time {self.seconds:.1f} s, recovery point {self.point.isoformat(timespec='seconds')},"
            f" {max(0.0, self.age.total_seconds()):.1f} s old"
        )


def note_of(report: DrillReport) -> DrillNote:
    """The note about a drill."""
    return DrillNote(
        f"{report.chain}/{report.sequence}",
        report.proven,
        report.entries,
        report.versions,
        report.seconds,
        report.point,
        report.age,
    )


def parse_note(text: str) -> DrillNote | None:
    """The reverse; None for any other text."""
    if not (match := NOTE.match(text)):
        return None
    return DrillNote(
        match["backup"],
        match["proven"] == "proven",
        int(match["entries"]),
        int(match["versions"]),
        float(match["seconds"]),
        datetime.fromisoformat(match["point"]),
        timedelta(seconds=float(match["age"])),
    )
