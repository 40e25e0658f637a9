"""The part that copies the hub's changes, like `keyturn follow`."""

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
"""Seconds between two looks for entries that wait for the ledger."""


class FollowPart:
    """Follows the hub's changes. Two may run at once, because a copy is written by its content."""

    name = FOLLOW

    def __init__(self, site: Site) -> None:
        self._site = site
        self._record_at = elapsed()
        self._trouble = ""

    def run(self, tenure: Tenure) -> None:
        """Follow until the tenure ends. Lasting failures are left to the schedule."""
        self._beat()
        tenure.measure = lambda: PartHealth(elapsed() - self._looked_at)
        Follower(self._site.workspace, self._site.open_changes(), self._say, self._beat).run(tenure.ended)

    def _beat(self) -> None:
        self._looked_at = elapsed()
        if elapsed() >= self._record_at:
            self._record_at = elapsed() + RECORDED
            self._record()

    def _record(self) -> None:
        """Append waiting entries of revocations to the ledger. A failure is reported once."""
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
    """Return the part."""
    return [FollowPart(site)]
