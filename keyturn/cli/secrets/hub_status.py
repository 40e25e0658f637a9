"""The last daily check of the hub's set-up, for `keyturn status`."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keyturn.cli.output import when
from keyturn.core.errors import KeyturnError
from keyturn.core.spans import span

if TYPE_CHECKING:
    from keyturn.rights.hub_check import HubCheck
    from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class HubStatus:
    """The last check; None if there was none. ``error`` is why it is unknown."""

    now: datetime
    check: "HubCheck | None" = None
    error: str = ""

    @property
    def problem(self) -> str:
        """Why a person should look at the set-up, or an empty string."""
        from keyturn.rights.hub_check import LATE

        check = self.check
        if self.error:
            return f"unknown whether the hub is set up as declared: {self.error}"
        if check is None:
            return (
                "nobody has looked yet whether the hub is set up as declared: `check-hub` does, and `keyturn hub plan`"
            )
        if not check.sound:
            since = f" (since {when(check.since)} UTC)" if check.since else ""
            return f"in the hub {check.words}{since}"
        if self.now - check.at > LATE:
            return f"nobody has looked for {span(self.now - check.at)} whether the hub is set up as declared"
        return ""

    @property
    def words(self) -> str:
        return self.problem or f"in the hub {self.check.words if self.check else ''}"

    def to_data(self) -> dict[str, Any]:
        return {**(self.check.to_data() if self.check else {"at": None}), "problem": self.problem}


def hub_status(workspace: "Workspace") -> HubStatus | None:
    if not workspace.catalogue.hub:
        return None
    from keyturn.rights.hub_check import last_check

    try:
        return HubStatus(workspace.hub_now(), last_check(workspace))
    except KeyturnError as error:
        return HubStatus(workspace.clock(), error=error.text)
