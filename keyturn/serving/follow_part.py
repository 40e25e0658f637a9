"""The part that carries the hub's changes to their copies, as `keyturn follow` does by itself."""

from collections.abc import Iterable

from keyturn.client.clock import elapsed
from keyturn.serving.parts import FOLLOW, Part, PartHealth, Tenure
from keyturn.serving.site import Site
from keyturn.sync.follow import Follower


class FollowPart:
    """Two may follow at once, since a copy is written by what it holds; the lease spares the work."""

    name = FOLLOW

    def __init__(self, site: Site) -> None:
        self._site = site

    def run(self, tenure: Tenure) -> None:
        """Follow until the part ends. What fails for long is left to the schedule."""
        self._beat()
        tenure.measure = lambda: PartHealth(elapsed() - self._looked_at)
        Follower(self._site.workspace, self._site.open_changes(), self._say, self._beat).run(tenure.ended)

    def _beat(self) -> None:
        self._looked_at = elapsed()

    def _say(self, line: str) -> None:
        self._site.say(f"{self.name}: {line}")


def follow_parts(site: Site) -> Iterable[Part]:
    """There is one."""
    return [FollowPart(site)]
