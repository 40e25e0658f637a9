"""The part that carries the hub's changes to their copies, as `keyturn follow` does by itself."""

from collections.abc import Iterable
from typing import Final

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError
from keyturn.ledger.storage.waiting import record_waiting
from keyturn.serving.parts import FOLLOW, Part, PartHealth, Tenure
from keyturn.serving.site import Site
from keyturn.sync.follow import Follower
from keyturn.sync.lines import one_line

RECORDED: Final = 60.0
"""Seconds between two looks for what waits for the ledger."""


class FollowPart:
    """Two may follow at once, since a copy is written by what it holds; the lease spares the work."""

    name = FOLLOW

    def __init__(self, site: Site) -> None:
        self._site = site
        self._record_at = elapsed()
        self._trouble = ""

    def run(self, tenure: Tenure) -> None:
        """Follow until the part ends. What fails for long is left to the schedule."""
        self._beat()
        tenure.measure = lambda: PartHealth(elapsed() - self._looked_at)
        Follower(self._site.workspace, self._site.open_changes(), self._say, self._beat).run(tenure.ended)

    def _beat(self) -> None:
        self._looked_at = elapsed()
        if elapsed() >= self._record_at:
            self._record_at = elapsed() + RECORDED
            self._record()

    def _record(self) -> None:
        """Append to the ledger what revocations could not write there. What is in the way is said once."""
        workspace, before, self._trouble = self._site.workspace(), self._trouble, ""
        try:
            if appended := record_waiting(workspace.hub, workspace.ledger):
                self._say(f"entries that had waited in the hub are in the ledger: {appended}")
        except KeyturnError as error:
            self._trouble = one_line(str(error))
            if self._trouble != before:
                self._say(f"entries wait for the ledger: {self._trouble}")

    def _say(self, line: str) -> None:
        self._site.say(f"{self.name}: {line}")


def follow_parts(site: Site) -> Iterable[Part]:
    """There is one."""
    return [FollowPart(site)]
