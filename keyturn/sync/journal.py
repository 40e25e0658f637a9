"""A sync in the ledger: announced in advance, then one entry per finished copy."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from keyturn.core.plan import Item
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down
from keyturn.sync.apply import DELETED, Result

OFTEN: Final = 2.0
"""Seconds between writes: one per copy would cost more than the copy."""


@dataclass
class Written:
    """Records ``items`` as they finish. Thread-safe. Raises Unrecorded on entry, before any change."""

    workspace: Workspace
    items: Iterable[Item]
    _waiting: list[Entry] = field(default_factory=list)
    _wrote_at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Written":
        self._known = {(item.store, item.slot): item for item in self.items}
        if self._known:
            stores = sorted({store for store, _ in self._known})
            note = f"{len(self._known)} copies at {', '.join(stores)}"
            note_down(self.workspace, [entry(self.workspace, "sync", Outcome.BEGUN, note=note)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def settled(self, result: Result) -> None:
        """Record the result of one copy."""
        item = self._known.get((result.store, result.slot))
        line = entry(
            self.workspace,
            "delete" if result.state == DELETED else "push",
            Outcome.FAILED if result.error else Outcome.DONE,
            result.path,
            version=result.version or (item.version if item else 0),
            fingerprint=result.fingerprint or (item.fingerprint if item else ""),
            place=result.label,
            note=f"{result.kind}: {result.error}" if result.error else result.state,
        )
        with self._lock:
            self._waiting.append(line)
            late = time.monotonic() - self._wrote_at >= OFTEN
        if late:
            self._write()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._wrote_at = time.monotonic()
        note_down(self.workspace, waiting)
