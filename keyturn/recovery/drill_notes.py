"""What the ledger tells of a drill of restoring: one note in words, which the metrics read back."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.recovery.drilling import DrillReport

RESTORE_DRILL: Final = "restore drill"
"""What the ledger calls it."""
NOTE: Final = re.compile(
    r"(?P<backup>\S+): (?P<proven>proven|NOT proven), (?P<entries>\d+) entries, (?P<versions>\d+) versions compared,"
    r" recovery time (?P<seconds>\d+\.\d) s, recovery point (?P<point>\S+), (?P<age>\d+\.\d) s old"
)


@dataclass(frozen=True)
class DrillNote:
    """One drill: of which backup, what it came to, how long restoring took, and how old the recovery point was."""

    backup: str
    proven: bool
    entries: int
    versions: int
    seconds: float
    point: datetime
    age: timedelta

    @property
    def words(self) -> str:
        """As the ledger has it."""
        state = "proven" if self.proven else "NOT proven"
        return (
            f"{self.backup}: {state}, {self.entries} entries, {self.versions} versions compared,"
            f" recovery time {self.seconds:.1f} s, recovery point {self.point.isoformat(timespec='seconds')},"
            f" {max(0.0, self.age.total_seconds()):.1f} s old"
        )


def note_of(report: DrillReport) -> DrillNote:
    """What is told of a drill."""
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
    """The other way; None for what tells of no drill that came to its end."""
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
