"""The ledger's revocations, retirements and promotions as it grows, and its recorded alerts."""

import threading
from collections.abc import Callable, Iterator
from typing import Final

from keyturn.access_log.detection.history import ACTIONS, SecretHistory
from keyturn.access_log.reactions.reactions import Key
from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.alerts import ALERT, AlertNote
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger

TAIL: Final = 5_000
"""Newest entries searched for alerts sent just before a process ended."""

PAUSE: Final = 2.0
"""Seconds between two reads of new entries."""


class LedgerHistory:
    """A :class:`keyturn.access_log.detection.history.History` of a growing ledger. Thread-safe."""

    def __init__(self, ledger: StoredLedger, say: Callable[[str], None]) -> None:
        self.secrets = SecretHistory()
        self._ledger = ledger
        self._say = say
        self._lock = threading.Lock()
        self._last = 0
        self._look_at = float("-inf")
        self._trouble = ""
        self._needles = [f'"action":"{action}"'.encode() for action in ACTIONS]

    def refresh(self) -> None:
        """Read the new entries. An unreadable ledger is reported once; the rules then use what is known."""
        with self._lock:
            if elapsed() < self._look_at:
                return
            self._look_at = elapsed() + PAUSE
            try:
                self._read_on()
            except KeyturnError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._say(f"error: what was revoked is not known to the rules for odd reads: {error}")
            else:
                self._trouble = ""

    def _read_on(self) -> None:
        for number, leaf in self._ledger.leaves(self._last + 1):
            if any(needle in leaf for needle in self._needles):
                self.secrets.add(parse_leaf(leaf).entry)
            self._last = number


def recorded_alerts(ledger: StoredLedger) -> Iterator[Key]:
    """Yield the alerts in the newest entries; none where the ledger can't be read."""
    needle = f'"action":"{ALERT}"'.encode()
    try:
        for _, leaf in ledger.leaves(max(1, ledger.size() - TAIL + 1)):
            if needle in leaf:
                yield _key_in(parse_leaf(leaf).entry.note)
    except (KeyturnError, ValueError):
        return


def _key_in(note: str) -> Key:
    alert = AlertNote.from_text(note)
    return alert.id, alert.stage, alert.count
