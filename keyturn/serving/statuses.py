"""The continuous parts that do not run or are behind, by their leases."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.serving.leases import SERVE, LeaseState, load_lease
from keyturn.serving.parts import ACCESS, FOLLOW, GRANTING, HUB, NUMBERS

BEHIND: Final = 120.0
"""Seconds that a part may be behind its source."""

NOBODYS: Final = LeaseState()


@dataclass(frozen=True)
class PartStatus:
    """One part by its lease; ``error`` is the reason where it is unknown."""

    part: str
    lease: LeaseState = NOBODYS
    error: str = ""

    @property
    def running(self) -> bool | None:
        """Whether a process holds it; None where unknown."""
        return None if self.error else self.lease.held

    @property
    def problem(self) -> str:
        """Why a person should look; empty where there is no problem."""
        lease = self.lease
        if self.error:
            return f"unknown whether it runs: {self.error}"
        if not lease.version:
            return "does not run, and never did: `keyturn serve` runs it"
        if not lease.held:
            return f"does not run for {span(timedelta(seconds=lease.age))}, last on {lease.host}"
        if lease.health.trouble:
            return f"on {lease.host}: {lease.health.trouble}"
        lag = lease.health.lag or 0.0
        return f"is {span(timedelta(seconds=lag))} behind, on {lease.host}" if lag > BEHIND else ""

    def to_data(self) -> dict[str, Any]:
        """Return the data for scripts."""
        return {
            "part": self.part,
            "running": self.running,
            "host": self.lease.host if self.running else "",
            "lag_seconds": self.lease.health.lag if self.running else None,
            "problem": self.problem,
        }


def part_statuses(workspace: Workspace) -> list[PartStatus]:
    """Return each part that should run: those of the catalogue, and those ever started."""
    optional = {FOLLOW, NUMBERS} if workspace.catalogue.access_logs else {FOLLOW, NUMBERS, f"{ACCESS}{HUB}"}
    granting = [GRANTING] if workspace.catalogue.access_policies else []
    parts = [*sorted(optional), *_readers(workspace), *granting]
    statuses = side_by_side(lambda part: _status(workspace, part), parts)
    return [status for status in statuses if status.part not in optional or status.lease.version or status.error]


def _readers(workspace: Workspace) -> Iterator[str]:
    """Yield the log readers; for a log per machine, those that were ever started."""
    logs = workspace.catalogue.access_logs
    yield from (f"{ACCESS}{name}" for name, settings in logs.items() if not settings.LOCAL)
    local = "|".join(re.escape(name) for name, settings in logs.items() if settings.LOCAL)
    if local:
        paths = workspace.hub.list_state(f"{SERVE}/{ACCESS.rstrip('/')}")
        begun = (path.removeprefix(f"{SERVE}/") for path in paths)
        # A part's name ends with that of its machine's spool: keyturn.wiring.access_sources.
        yield from (part for part in begun if re.fullmatch(rf"{ACCESS}(?:{local})-[0-9a-f]+", part))


def _status(workspace: Workspace, part: str) -> PartStatus:
    try:
        return PartStatus(part, load_lease(workspace.hub, part))
    except KeyturnError as error:
        return PartStatus(part, error=error.text)
