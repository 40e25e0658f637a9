"""The ledger's entries on killed tokens: their SHA-256, never their value."""

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from keyturn.cli.failures import say_last
from keyturn.cli.output import note, note_error
from keyturn.core.ports.ledger import Entry
from keyturn.core.ports.ledger import Outcome as Progress
from keyturn.tokens.ending import LeakedToken, TokenOutcome, TokenResult

if TYPE_CHECKING:
    from keyturn.rotation.state.context import Workspace

ACTION: Final = "kill"
FAILED: Final = (TokenResult.FAILED, TokenResult.BY_HAND)
SETTLED: Final = (TokenResult.PROVEN, TokenResult.ENDED, *FAILED)
NOWHERE: Final = "NOT RECORDED: there is no hub, and KEYTURN_LEDGER is not set. Keep this output"


class KillRecord:
    """Writes entries to the hub's ledger; without a hub, to this machine's spool, which the next process writes there.

    Without a hub and a ledger in the environment, nothing is written, and the last line says so.
    """

    def __init__(self, workspace: "Workspace | None", reason: str) -> None:
        self._workspace = workspace
        self._reason = reason

    def begin(self, tokens: Sequence[LeakedToken]) -> None:
        """Write that these are about to be ended."""
        self._append([self._entry(token, Progress.BEGUN, self._reason) for token in tokens])

    def keep(self, outcomes: Iterable[tuple[LeakedToken, TokenOutcome]]) -> None:
        """Write what became of tokens that a request or a person ends."""
        settled = [(token, outcome) for token, outcome in outcomes if outcome.result in SETTLED]
        entries = []
        for token, outcome in settled:
            words = "; ".join(filter(None, (f"{outcome.result}: {outcome.why}", self._reason)))
            progress = Progress.FAILED if outcome.result in FAILED else Progress.DONE
            entries.append(self._entry(token, progress, words))
        self._append(entries)

    def _entry(self, token: LeakedToken, progress: Progress, words: str) -> Entry:
        from keyturn.rotation.state.journal import UNNAMED, entry, remark_of_process

        place, words = urlsplit(token.address).netloc or token.format.service, f"{token.name}: {words}".rstrip(": ")
        if self._workspace:
            return entry(self._workspace, ACTION, progress, fingerprint=token.digest, place=place, note=words)
        return Entry(
            datetime.now(UTC),
            UNNAMED,
            ACTION,
            progress,
            fingerprint=token.digest,
            place=place,
            note=words,
            run=remark_of_process(),
            host=socket.gethostname(),
        )

    def _append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        if self._workspace:
            self._workspace.ledger.append(entries)
            return
        from keyturn.wiring.ledger import hubless_ledger, spool_file

        ledger = hubless_ledger(os.environ, lambda _, why: note_error(f"NOT RECORDED: {why}"))
        if ledger is None:
            if entries[0].outcome is not Progress.BEGUN:
                say_last(NOWHERE)
            return
        ledger.append(entries)
        if entries[0].outcome is not Progress.BEGUN:
            note(f"recorded in {spool_file(os.environ)}, until a process with the hub writes it to the ledger")
