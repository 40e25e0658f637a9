"""The revocations in a ledger, whose versions must not be served again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import Entries
from keyturn.ledger.versions import DONE, incident_of

CUT: Final = "cut"
RENAME: Final = "rename"
BEGUN: Final = tuple(f'"action":"{action}","outcome":"begun"' for action in (CUT, RENAME))
"""A cut counts once begun, since the credential has leaked."""

COUNTED: Final = tuple(words.encode() for words in (*BEGUN, *DONE))


@dataclass
class Revoked:
    """A secret's last revocation: its ``incident``, the newest ``version`` before, or 0, and those since."""

    incident: str
    version: int
    since: set[int] = field(default_factory=set)

    def covers(self, version: int) -> bool:
        """Whether a copy of this version holds the revoked value."""
        return version not in self.since and (version <= self.version or not self.version)


def revoked_secrets(ledger: Entries) -> dict[str, Revoked]:
    """The last revocation of each secret, by path. Reads the whole ledger in constant memory.

    Only the first cut of an incident counts: a later one ends the same versions again. Raises Invalid for an entry
    that Keyturn did not write.
    """
    newest: dict[str, int] = {}
    revoked: dict[str, Revoked] = {}
    counted: set[tuple[str, str]] = set()
    for entry in _counted(ledger):
        path, incident = entry.secret, incident_of(entry.note)
        if entry.action == RENAME:
            old = entry.note.removeprefix("from ")
            if old in revoked:
                revoked[path] = revoked[old]
            newest[path] = newest.get(old, 0)
        elif entry.action != CUT:
            newest[path] = entry.version
            if path in revoked:
                revoked[path].since.add(entry.version)
        elif (path, incident) not in counted and not incident.startswith("version "):
            counted.add((path, incident))
            # An entry recorded late names its own version. The entries before it in the ledger do not count.
            revoked[path] = Revoked(incident, entry.version or newest.get(path, 0))
    return revoked


def _counted(ledger: Entries) -> Iterator[Entry]:
    for _, leaf in ledger.leaves():
        if any(words in leaf for words in COUNTED):
            entry = parse_leaf(leaf).entry
            if entry.secret and (entry.outcome is Outcome.BEGUN or entry.version):
                yield entry
