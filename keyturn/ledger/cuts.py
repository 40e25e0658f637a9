"""What a ledger tells of revocations: which versions of a secret are not to be served again, whoever holds them yet."""

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
"""A cut counts from where it began: what was to be ended has leaked, however far that came."""

COUNTED: Final = tuple(words.encode() for words in (*BEGUN, *DONE))


@dataclass
class Revoked:
    """The last revocation of a secret: its ``incident``, the newest ``version`` told before it, those told since.

    ``version`` is 0 where none was told before it.
    """

    incident: str
    version: int
    since: set[int] = field(default_factory=set)

    def covers(self, version: int) -> bool:
        """Whether what a copy holds of this version is what was revoked."""
        return version not in self.since and (version <= self.version or not self.version)


def revoked_secrets(ledger: Entries) -> dict[str, Revoked]:
    """The last revocation of each secret that had one, by path. It reads the whole ledger, in constant memory.

    Of one incident only its first cut counts: a later one ends again what that was about, and spares what came since.
    Raises Invalid for an entry that Keyturn has not written.
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
            # One that was recorded late is about what it says itself, not about what came before it in the ledger.
            revoked[path] = Revoked(incident, entry.version or newest.get(path, 0))
    return revoked


def _counted(ledger: Entries) -> Iterator[Entry]:
    for _, leaf in ledger.leaves():
        if any(words in leaf for words in COUNTED):
            entry = parse_leaf(leaf).entry
            if entry.secret and (entry.outcome is Outcome.BEGUN or entry.version):
                yield entry
